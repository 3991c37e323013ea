"""Vocabulary mask of a policy (NLPO), made by a copy of it that is refreshed at intervals."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from grue.policies.distribution import NotNormalized, TokenDistribution
from grue.policies.mask_ops import top_k_mask, top_p_mask

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from grue.policies.config import MaskablePolicyArgs


class Mask:
    """Vocabulary mask of a policy, and the policy's distribution within it."""

    def __init__(
        self,
        policy: PreTrainedModel,
        args: MaskablePolicyArgs,
        always: Collection[int],
        *,
        normalized: bool = True,
    ) -> None:
        """Copy the policy as the first mask model.

        Args:
            policy: before it is trained.
            args: kind and size of the mask.
            always: ids of special tokens, which are always allowed.
            normalized: if true, probabilities within the mask sum to one.
        """
        self._args = args
        self.normalized = normalized
        """If true, probabilities within the mask sum to one."""
        self._always = torch.tensor(sorted(always), dtype=torch.long, device=policy.device)
        self._trained = [name for name, p in policy.named_parameters() if p.requires_grad]
        self.model: PreTrainedModel | None = None
        """Mask model; None if the policy's own logits make the mask."""
        if args.mask_type != "topk":
            self.model = copy.deepcopy(policy)
            self.model.requires_grad_(False).eval()

    def allowed(self, scores: Tensor) -> Tensor:
        """Return the mask [N, V] of the allowed tokens, from the logits [N, V] of the mask model.

        Without a mask model the logits are the policy's own.
        """
        size = self._args.top_mask
        assert size is not None, "checked with the keys"
        if self._args.mask_type == "learned_top_p":
            mask = top_p_mask(scores, size, self._args.min_tokens_to_keep)
        else:
            mask = top_k_mask(scores, int(size))
        return mask.index_fill(-1, self._always, True)

    def distribution(self, logits: Tensor, allowed: Tensor) -> TokenDistribution:
        """Return the distribution of logits [..., V] within packed masks [..., ceil(V / 8)]."""
        return (TokenDistribution if self.normalized else NotNormalized)(logits, allowed)

    @torch.no_grad()
    def refresh(self, policy: PreTrainedModel) -> None:
        """Refresh the mask model: copy the policy's present weights."""
        new = dict(policy.named_parameters())
        for name, parameter in self._own().items():
            parameter.copy_(new[name])

    def state_dict(self) -> dict[str, Tensor]:
        """Return the mask model's weights that training changes."""
        return self._own()

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load saved weights."""
        for name, parameter in self._own().items():
            parameter.copy_(state[name])

    def _own(self) -> dict[str, Tensor]:
        if self.model is None:
            return {}
        parameters = dict(self.model.named_parameters())
        return {name: parameters[name] for name in self._trained}

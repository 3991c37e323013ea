"""Actor and critic: a policy with a critic and a frozen reference model."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.training.seeding import seeded
from grue.models.heads import head_in_float32
from grue.models.precision import exactly
from grue.models.vocabulary import check_vocabulary
from grue.policies.distribution import TokenDistribution, divided
from grue.policies.output_head import passing_states, product_head
from grue.policies.policy import Policy
from grue.policies.sequences import Sequences
from grue.policies.vocabulary_blocks import Head

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Evaluation:
    """Outputs of actor and critic before each output token."""

    logits: Tensor
    """[N, T, V] logits in float32, divided by the temperature."""
    values: Tensor
    """[N, T] values in units of the reward."""


class Critic(nn.Module):
    """Critic: a linear head on the last hidden states of a trunk."""

    def __init__(
        self, trunk: PreTrainedModel | None, hidden_size: int, *, zero: bool = False
    ) -> None:
        """Make the head. ``trunk`` is the critic's own language model; None shares the policy's.

        If ``zero`` is true, the head has a bias and starts at zero, as in arXiv 1909.08593.
        """
        super().__init__()
        self.trunk = trunk
        self.head = nn.Linear(hidden_size, 1, bias=zero)
        if zero:
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

    def forward(self, sequences: Sequences, policy_states: Tensor | None) -> Tensor:
        """Return [N, T] values; a shared trunk needs ``policy_states`` [N, T, H]."""
        if self.trunk is not None:
            states = sequences.states(self.trunk)
        else:
            assert policy_states is not None
            states = policy_states
        with exactly(states.device):
            values: Tensor = self.head(states.float()).squeeze(-1)
        return values


class ActorCritic:
    """Policy, critic and reference of one run, all without dropout.

    The reference is a frozen copy of the policy. If the policy trains adapters (LoRA), it is the
    policy without them, which costs no memory.
    """

    def __init__(
        self,
        policy: Policy,
        critic: Critic | None,
        *,
        temperature: float = 1.0,
        ref_temperature: float = 1.0,
    ) -> None:
        """Set the temperatures that divide the logits of policy and reference: those of sampling.

        Logits of policy, reference and mask are in float32. Without a critic all values are zero.
        """
        head_in_float32(policy.model)
        if policy.mask is not None and policy.mask.model is not None:
            head_in_float32(policy.mask.model)
        self.policy = policy
        self.critic = None if critic is None else critic.to(policy.device)
        self.temperature = temperature
        self.ref_temperature = ref_temperature
        self._modules: list[nn.Module] = [policy.model, *([] if critic is None else [critic])]
        for module in self._modules:
            module.eval()
        self._reference: PreTrainedModel | None = None
        if not hasattr(policy.model, "disable_adapter"):
            self._reference = copy.deepcopy(policy.model)
            self._reference.requires_grad_(False)
        self.head = product_head(policy.model)
        """Output layer of the policy if logits are its product alone, otherwise None; and so they
        are of the reference, a copy."""

    @contextlib.contextmanager
    def updating(self) -> Iterator[None]:
        """Switch to training mode for updates, where activations are checkpointed.

        Models are loaded without dropout, so that the mode changes nothing else.
        """
        for module in self._modules:
            module.train()
        try:
            yield
        finally:
            for module in self._modules:
                module.eval()

    def evaluate(self, sequences: Sequences) -> Evaluation:
        """Return logits and values of the sequences; gradients flow."""
        with self.policy.autocast():
            logits, values = self._logits_and_values(sequences)
        return Evaluation(divided(logits, self.temperature), values)

    def evaluate_head(self, sequences: Sequences) -> tuple[Head, Tensor]:
        """Return what makes the logits [N, T, V], and values [N, T]; gradients flow.

        The policy must have a `head`.
        """
        assert self.head is not None, "logits are a product"
        with self.policy.autocast(), passing_states(self.head):
            states, values = self._logits_and_values(sequences)
        return Head(divided(states, self.temperature), self.head.weight), values

    def _logits_and_values(self, sequences: Sequences) -> tuple[Tensor, Tensor]:
        shared = self.critic is not None and self.critic.trunk is None
        logits, states = sequences.logits_and_states(self.policy.model, with_states=shared)
        if self.critic is None:
            return logits, torch.zeros(logits.shape[:2], device=logits.device)
        return logits, self.critic(sequences, states)

    def values(self, sequences: Sequences) -> Tensor:
        """Return [N, T] the critic's values alone; gradients flow to its own weights.

        They are zero without a critic.
        """
        if self.critic is None:
            return torch.zeros_like(sequences.outputs.ids, dtype=torch.float32)
        states, head = None, self.head
        with self.policy.autocast():
            if self.critic.trunk is None:
                passing = contextlib.nullcontext() if head is None else passing_states(head)
                with torch.no_grad(), passing:
                    _, states = sequences.logits_and_states(self.policy.model, with_states=True)
            values: Tensor = self.critic(sequences, states)
        return values

    def distribution(self, logits: Tensor, allowed: Tensor | None) -> TokenDistribution:
        """Return the policy's distribution from its logits [..., V].

        ``allowed`` [..., ceil(V / 8)] is the packed vocabulary mask; None allows all tokens.
        """
        if allowed is None:
            return TokenDistribution(logits)
        assert self.policy.mask is not None, "it said what is allowed"
        return self.policy.mask.distribution(logits, allowed)

    @torch.no_grad()
    def reference_logits(self, sequences: Sequences) -> Tensor:
        """Return [N, T, V] logits of the reference, in float32, divided by the temperature."""
        with self._as_reference() as model, self.policy.autocast():
            logits = sequences.logits(model)
        return divided(logits, self.ref_temperature)

    @torch.no_grad()
    def reference_head(self, sequences: Sequences) -> Head:
        """Return what makes the reference's logits [N, T, V]; the policy must have a `head`."""
        with self._as_reference() as model, self.policy.autocast():
            head: Any = model.get_output_embeddings()
            with passing_states(head):
                states = sequences.logits(model)
        return Head(divided(states, self.ref_temperature), head.weight)

    @contextlib.contextmanager
    def _as_reference(self) -> Iterator[PreTrainedModel]:
        """Yield the reference, which may be the policy without adapters."""
        if self._reference is not None:
            yield self._reference
            return
        adapted: Any = self.policy.model
        with adapted.disable_adapter():
            yield self.policy.model

    def named_parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Trained modules: the policy's weights or adapters, and the critic's."""
        for prefix, module in zip(("policy", "critic"), self._modules, strict=False):
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    yield f"{prefix}.{name}", parameter

    def parameters(self) -> list[nn.Parameter]:
        """Trained parameters."""
        return [parameter for _, parameter in self.named_parameters()]

    def state_dict(self) -> dict[str, Tensor]:
        """Return the trained weights, by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load saved weights in place.

        Raises:
            KeyError: one is missing.
        """
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(state[name])


def make_critic(
    policy: Policy,
    kind: str,
    *,
    seed: int,
    load: Callable[[str], PreTrainedModel] | None = None,
    zero_head: bool = False,
) -> Critic:
    """Return the critic of a policy.

    Args:
        policy: before it is trained.
        kind: ``copy`` for a trunk of its own that begins as the policy's, ``shared`` for a head on
            the policy's trunk, otherwise the name of another language model.
        seed: of the head's weights.
        load: ``load(name)`` gives that language model.
        zero_head: if true, the head has a bias and starts at zero.
    """
    trunk: PreTrainedModel | None = None
    if kind == "copy":
        trunk = copy.deepcopy(policy.model)
        if (base := getattr(trunk, "get_base_model", None)) is not None:  # of adapters
            trunk = base()
    elif kind != "shared":
        assert load is not None, "another model is loaded"
        trunk = load(kind)
        check_vocabulary(trunk, policy.tokenizer)
    if trunk is not None:
        _freeze_unused_head(trunk)
    config = (policy.model if trunk is None else trunk).config
    with seeded(seed):
        return Critic(trunk, _hidden_size(config), zero=zero_head)


def _hidden_size(config: Any) -> int:
    """Return the width of the last hidden states."""
    return int(getattr(config, "hidden_size", None) or config.d_model)


def _freeze_unused_head(trunk: PreTrainedModel) -> None:
    """Freeze the output layer of a critic's trunk, because a critic reads hidden states."""
    head = trunk.get_output_embeddings()
    tied = trunk.get_input_embeddings().weight
    if head is not None and head.weight is not tied:
        head.requires_grad_(False)

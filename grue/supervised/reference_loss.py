"""Loss on references of labelled training inputs, beside the loss of rewards."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
from torch import Tensor

from common.machine.devices import sent
from grue.algorithms.args.supervised_loss import SupervisedLossArgs
from grue.policies.policy import Policy
from grue.supervised.rank_batches import OWN, WHOLE, Batch, OwnPart, items_of
from grue.supervised.rows import Rows, collate, make_rows
from grue.tasks.sources.subset import subset
from grue.tasks.task import Sample


class ReferenceLoss:
    """Mean of -log pi over the tokens of drawn references, however a batch is cut.

    Labels are the references and the end after them; prompts are read and not learned.
    """

    def __init__(self, policy: Policy, samples: Sequence[Sample], args: SupervisedLossArgs) -> None:
        """Make the rows of the labelled inputs.

        Raises:
            UserError: no labelled input has a reference.
        """
        self._policy, self._args = policy, args
        labelled = _labelled(samples, args)
        self.num_labelled = len(labelled)
        """Number of labelled inputs."""
        self._rows = _rows(policy, labelled, args)
        pad_token = policy.tokenizer.pad_token_id or 0
        self._own_part = OwnPart(
            partial(collate, pad_token=pad_token), shifted=not policy.is_encoder_decoder
        )

    def losses(self, draw: np.random.Generator, micro_batch_size: int | None) -> Iterator[Tensor]:
        """Yield [] this rank's parts of the loss of a new batch, which sum to it."""
        order = draw.permutation(len(self._rows))[: self._args.sft_batch_size]
        rows = [self._rows[int(number)] for number in order]
        size = micro_batch_size or len(rows)
        parts = [self._own_part(rows[start : start + size]) for start in range(0, len(rows), size)]
        num_items = items_of(parts)
        for part in parts:
            yield self._mean(part) * (part[OWN] / num_items)

    def _mean(self, part: Batch) -> Tensor:
        """Return [] the mean loss over the labels of a part, by the model itself."""
        tensors = {
            name: sent(value, self._policy.device)
            for name, value in part.items()
            if name not in (OWN, WHOLE)
        }
        with self._policy.autocast():
            loss: Tensor = self._policy.model(**tensors).loss
        return loss


def _labelled(samples: Sequence[Sample], args: SupervisedLossArgs) -> list[Sample]:
    """Return the labelled inputs among all."""
    chosen = subset(len(samples), fraction=None, count=args.sft_samples, seed=args.sft_seed)
    return [samples[row] for row in chosen]


def _rows(policy: Policy, samples: Sequence[Sample], args: SupervisedLossArgs) -> Rows:
    """Return the rows of labelled inputs, with the texts that the policy puts around them."""
    longest = policy.tokenizer.model_max_length
    return make_rows(
        [
            replace(sample, prompt=f"{policy.prefix}{sample.prompt}{policy.suffix}")
            for sample in samples
        ],
        policy.tokenizer,
        "seq2seq" if policy.is_encoder_decoder else "causal",
        limit=min(policy.longest or longest, longest),
        join_with_blank=args.sft_join_with_blank,
        append_eos=True,
        mask_prompt=True,
    )

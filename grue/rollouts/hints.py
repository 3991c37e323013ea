"""Hints: the beginning of a reference before an output (GHPO, arXiv 2507.10628).

A group in which no output is right is drawn again with a hint at the end of its prompt. The loss
has the drawn tokens alone; rewards read hint and output as one text.
"""

from __future__ import annotations

from collections.abc import Sequence

from common.errors import UserError
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.rollouts.partial_rollout import PendingRollout
from grue.rollouts.resampling import deviating
from grue.rollouts.settings import RolloutSettings
from grue.tasks.inputs import Inputs


class Hints:
    """First tokens of the inputs' first references."""

    def __init__(
        self,
        policy: Policy,
        inputs: Inputs,
        prompts: Sequence[Tokens],
        settings: RolloutSettings,
    ) -> None:
        """Check that there are references, if the settings ask for hints.

        Raises:
            UserError: an input has none.
        """
        bare = [sample for sample in inputs.samples if not any(sample.references)]
        if bare and settings.groups.hint_share is not None:
            raise UserError(
                f"'alg.args.zero_std_groups' = 'hint': {len(bare)} of {len(inputs)} training "
                f"inputs have no reference to take a hint from, such as {bare[0].prompt[:60]!r}; "
                "take data with references, or another value"
            )
        self._policy = policy
        self._inputs = inputs
        self._prompts = prompts
        self._settings = settings
        self._most = policy.lengths(settings.generation).most

    def of(self, progress: float, row: int) -> Tokens:
        """Return the first tokens of the reference of the input at ``row``.

        They are a share of them that falls with the ``progress`` of the run, from 0 to 1, rounded
        down and never all, and no more than leave the model's positions for the longest output.
        """
        share = self._settings.groups.hint_share
        assert share is not None
        reference = next(filter(None, self._inputs.samples[row].references))
        tokens: Tokens = self._policy.tokenizer(
            reference, add_special_tokens=False, verbose=False
        ).input_ids
        number = min(int(share * (1 - progress) * len(tokens)), len(tokens) - 1)
        if self._policy.longest is not None:
            number = min(number, self._policy.longest - self._most - len(self._prompts[row]))
        return tokens[: max(number, 0)]


def hopeless(drawn: PendingRollout, settings: RolloutSettings) -> list[int]:
    """Return the numbers of the silent groups without a right output."""
    is_right = drawn.are_right(settings.groups)
    silent = ~deviating(drawn, settings).numpy()
    rows_of_groups: Sequence[list[int]] = drawn.rows_of_groups()
    return [
        group
        for group, rows in enumerate(rows_of_groups)
        if silent[group] and not is_right[rows].any()
    ]

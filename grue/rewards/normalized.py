"""Reward on a common scale: (r + shift) * scale, by constants that were measured before."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

from common.config.base import INPUT_FILE
from common.errors import UserError
from common.files.documents import json_object
from grue.rewards.of_reward import OfReward, OfRewardArgs
from grue.rewards.reward import REWARDS, Rewards
from grue.texts import Texts


class NormalizedArgs(OfRewardArgs):
    """Keys of a normalised reward."""

    constants: Annotated[str, INPUT_FILE]
    """JSON file with a ``shift`` and a ``scale`` by the names of rewards, such as
    ``"@teacher.normalization"``."""
    name: str
    """Name of the reward in that file."""


@REWARDS.register("normalized")
class Normalized(OfReward[NormalizedArgs]):
    """(r + shift) * scale of a reward r, as in arXiv 2503.15477."""

    Args = NormalizedArgs

    def prepare(self) -> None:
        """Check the other reward, and that the file has the constants."""
        super().prepare()
        self._constants  # noqa: B018  read now, so that a wrong file is told before any run

    def changed(self, rewards: Rewards, texts: Texts) -> Rewards:
        """Return [N] normalised rewards."""
        shift, scale = self._constants
        return (rewards + shift) * scale

    @functools.cached_property
    def _constants(self) -> tuple[float, float]:
        """Return shift and scale.

        Raises:
            UserError: the file cannot be read, or lacks the reward or one of its constants.
        """
        args = self.args
        try:
            found = json_object(Path(args.constants).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UserError(f"'constants' = '{args.constants}': cannot be read: {error}") from error
        if args.name not in found:
            known = ", ".join(found) or "none"
            raise UserError(f"'name' = '{args.name}': '{args.constants}' has no constants of that "
                            f"name; known: {known}")  # fmt: skip
        try:
            return float(found[args.name]["shift"]), float(found[args.name]["scale"])
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"'{args.constants}': '{args.name}' needs the numbers 'shift' and "
                            "'scale'") from error  # fmt: skip

"""Normalization of rewards: gain and bias for a chosen mean and std on a reference policy.

The rewards are those of outputs of the untrained language model, complete and unfiltered, as in
arXiv 1909.08593.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from common import distributed
from common.errors import UserError
from grue.models.config import ModelOptions, TokenizerConfig
from grue.models.loading import load_model, load_tokenizer
from grue.policies.policy import Policy, by_length
from grue.random_streams import Occasion, generator
from grue.rl.tolerance import TOLERANCE

if TYPE_CHECKING:
    from grue.experiments.reward_model.config import NormalizeConfig
    from grue.tasks.task import Sample


def gain_and_bias(
    rewards: NDArray[np.float64], mean: float = 0.0, std: float = 1.0
) -> tuple[float, float]:
    """Return the g and b for which ``g rewards + b`` have this mean and std (ddof 0).

    Args:
        rewards: [N] rewards with gain 1 and bias 0.
        mean: target mean, in units of the normalised reward.
        std: target std, likewise.

    Raises:
        UserError: all rewards are equal up to rounding, or one is not finite.
    """
    least = rewards.min()
    found = rewards.mean(), (rewards - least).std()
    are_equal = rewards.max() - least <= TOLERANCE * np.abs(rewards).max()
    if not np.isfinite(found).all() or are_equal:
        raise UserError(
            f"'normalize': {len(rewards)} outputs of the reference policy have rewards of mean "
            f"{found[0]:g} and standard deviation {found[1]:g}, which no gain brings to "
            f"{std:g}; draw longer or more outputs ('normalize.generation_kwargs', "
            "'normalize.num_samples')"
        )
    gain = std / found[1]
    return float(gain), float(mean - gain * found[0])


def reference_outputs(
    config: NormalizeConfig, samples: Sequence[Sample], *, seed: int, device: torch.device
) -> tuple[list[str], list[str]]:
    """Return [N] prompts, drawn from those of samples, and [N] outputs of the reference policy.

    A prompt is drawn again only if there are fewer than N. Ranks share the batches.
    """
    tokenizer = load_tokenizer(
        TokenizerConfig(model_name=config.model_name, revision=config.revision)
    )
    model = load_model(
        config.model_name, config.model_type, ModelOptions(), seed=seed, revision=config.revision
    )
    policy = Policy(model, tokenizer, device)
    policy.prefix, policy.suffix = config.prompt_prefix, config.prompt_suffix
    settings = config.generation_kwargs
    draw = generator(Occasion.NORMALIZATION, seed)
    rounds = range(0, config.num_samples, len(samples))
    order = [row for _ in rounds for row in draw.permutation(len(samples)).tolist()]
    chosen = [samples[row] for row in order[: config.num_samples]]
    encoded = policy.read(chosen, settings, config.max_prompt_length)
    outputs = [""] * len(chosen)
    batches = list(by_length([len(ids) for ids in encoded], config.batch_size))
    own: list[tuple[int, str]] = []
    for rows in distributed.round_robin(batches):
        found = policy.drawn(
            [encoded[row] for row in rows], 1, settings, inputs=rows,
            occasion=Occasion.NORMALIZATION, seed=seed,
        )  # fmt: skip
        texts = policy.decode([outputs_of[0] for outputs_of in found])
        own += zip(rows, texts, strict=True)
    for row, text in distributed.all_gather(own):
        outputs[row] = settings.processed(text)
    return [sample.prompt for sample in chosen], outputs

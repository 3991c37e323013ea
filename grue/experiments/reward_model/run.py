"""Training of a reward model on a task's preferences."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from common import distributed
from common.errors import UserError
from common.experiment import Context
from common.run.summary import write_summary
from common.training.seeding import undisturbed
from grue.experiments.model_card import model_card
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.examples import Examples, make_examples
from grue.experiments.reward_model.module import Row, collate, load_module
from grue.experiments.reward_model.normalization import gain_and_bias, reference_outputs
from grue.experiments.reward_model.objectives import make_objective
from grue.models.loading import load_tokenizer
from grue.rl import reward_stats
from grue.runs.evaluation_times import EvaluationTimes
from grue.runs.model_folder import save_model
from grue.scorers.classifier import Classifier
from grue.scorers.reward_model import FILE, RewardModel, RewardSpec
from grue.supervised.arguments import check_count
from grue.supervised.run import TrainerRun, Training
from grue.tasks.inputs import load_inputs, tell_of_fewer
from grue.tasks.task import Split

log = logging.getLogger(__name__)

_LOW_STD = 1e-2
"""Reward std below which a prompt counts as low, in units of the reward."""


def run(config: RewardModelConfig, context: Context) -> float | None:
    """Train; the score is the validation accuracy, or for ratings the correlation."""
    return RewardModelRun(config, context).run()


class RewardModelRun(TrainerRun[RewardModelConfig]):
    """A run that trains a reward model."""

    def given_arguments(self) -> Mapping[str, Any]:
        """Return the Trainer's arguments as the configuration gives them."""
        return given_arguments(self.config)

    def load_data(self) -> None:
        """Read the examples of both splits."""
        config = self.config
        self.objective = make_objective(config.alg.loss)
        self.data = {
            split: load_examples(config, split, seed=self.context.seed) for split in config.splits
        }
        for split, found in self.data.items():
            tell_of_fewer(config.datapool, {split: found.num_choices})
        self.normalization: dict[str, dict[str, float]] = {}

    def build_model(self) -> None:
        """Make the model with a new layer, and leave out the examples that it cannot read."""
        config = self.config
        tokenizer = load_tokenizer(config.tokenizer)
        self.module = load_module(config.alg, tokenizer, self.objective, seed=self.context.seed)
        self.module.to(self.device)
        self.classifier = Classifier(
            self.module.model,
            tokenizer,
            batch_size=config.eval_batch_size,
            max_length=config.tokenizer.max_length,
        )
        self.classifier.mixed_precision = config.alg.mixed_precision
        self.spec = replace(spec_of(config), max_length=self.classifier.max_length)
        self.data = {split: self._readable(split, found) for split, found in self.data.items()}
        check_count(len(self.data["train"]), config.alg.training_args)
        self.times = EvaluationTimes({"val": self.data["val"].num_choices})

    def measure_start(self) -> None:
        """Normalise before training, if so configured, and evaluate.

        Rewards of the reference policy's outputs get the mean and std of the labels.
        """
        normalize = self.config.normalize
        if normalize is not None and normalize.before:
            self._normalize("before", *self.objective.scale(self.data["train"].targets))
        super().measure_start()

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Normalise after training, if so configured; save the model and the summary.

        Rewards of the reference policy's outputs get mean 0 and std 1.

        Returns:
            The score, None where it is undefined.
        """
        normalize = self.config.normalize
        if normalize is not None and normalize.after:
            self._normalize("after", 0.0, 1.0)
        return self._save(found)

    def watched_model(self) -> nn.Module:
        """Return the model with its loss."""
        return self.module

    def tell_of_evaluations(self, count: int) -> None:
        """Tell how long so many evaluations, and the last one, will take."""
        self.times.tell_of_rest({"val": count + 1})

    def training(self) -> Training:
        """Return the module, and the encoded texts with their targets."""
        data = self.data["train"]
        encoded = self.classifier.encode(data.texts)
        rows: list[Row] = [
            {"texts": [encoded[place] for place in places], "target": float(target)}
            for places, target in zip(data.responses, data.targets, strict=True)
        ]
        pad_token = self.classifier.tokenizer.pad_token_id or 0
        collator = functools.partial(collate, pad_token=pad_token)
        return Training(self.module, rows, collator, self.config.alg.optimizer)

    def _readable(self, split: Split, found: Examples) -> Examples:
        """Return the split's examples, without those that are too long if so configured."""
        if self.config.too_long == "drop":
            whole = len(found)
            found = found.without(np.array(self.classifier.are_too_long(found.texts)))
            log.info("%s: %d of %d examples are left out, a text is longer than %d tokens", split,
                     whole - len(found), whole, self.classifier.max_length)  # fmt: skip
        else:
            self.classifier.tell_of_cut(found.texts, split)
        if not len(found):
            raise UserError(
                f"'datapool': the split '{split}' has no examples"
                + (" that are short enough" if self.config.too_long == "drop" else "")
            )
        return found

    @torch.no_grad()
    def measure(self) -> dict[str, float]:
        """Return loss, accuracy, calibration and reward std per prompt on the validation split."""
        data = self.data["val"]
        own = data.texts[distributed.shard_slice(len(data.texts))]
        with self.times.measured("val"), undisturbed(self.gpu_ids):
            logits = np.array(distributed.all_gather(list(self.classifier.logits(own))))  # [N n, C]
        outputs = self.module.outputs(torch.from_numpy(logits[data.responses]))
        targets = torch.from_numpy(data.targets)
        size = self.config.eval_batch_size
        batches = zip(outputs.split(size), targets.split(size), strict=True)
        losses = [self.objective.loss(*batch) for batch in batches]
        found = {
            "loss": float(torch.cat(losses).mean()),
            **self.objective.measures(outputs, targets),
            **self._reward_std(logits),
        }
        return {f"val/{name}": value for name, value in found.items()}

    def _reward_std(self, logits: np.ndarray[Any, Any]) -> dict[str, float]:
        """Return the deviation of rewards of the responses to one prompt, if there are several."""
        num_responses = self.data["val"].num_responses
        if num_responses < 2:
            return {}
        rewards = self._reward_model().moments_of_logits(logits)[0].reshape(-1, num_responses)
        found = reward_stats.summary(
            rewards, ddof=1, zero_tol=None, low_std=_LOW_STD, group_sizes=()
        )
        names = ("reward_std/per_input_mean", "reward_std/between_inputs")
        return {name: found[name] for name in names if found[name] is not None}

    def _normalize(self, moment: str, mean: float, std: float) -> None:
        """Set gain and bias by the reference policy's outputs."""
        prompts, outputs = self._reference_outputs
        own = distributed.shard_slice(len(prompts))
        rewards = self._reward_model(scaled=False).moments(prompts[own], outputs[own])[0]
        rewards = np.array(distributed.all_gather(list(rewards)))
        gain, bias = gain_and_bias(rewards, mean, std)
        self.module.set_scale(gain, bias)
        self.normalization[moment] = {
            "mean": float(rewards.mean()), "std": float(rewards.std()), "gain": gain, "bias": bias
        }  # fmt: skip
        log.info("normalised %s training: rewards of %d outputs had mean %.4g and std %.4g",
                 moment, len(rewards), rewards.mean(), rewards.std())  # fmt: skip

    @functools.cached_property
    def _reference_outputs(self) -> tuple[list[str], list[str]]:
        assert self.config.normalize is not None
        datapool = self.config.normalize.datapool or self.config.datapool
        inputs = load_inputs(datapool, "train", seed=self.context.seed)
        return reference_outputs(
            self.config.normalize, inputs.samples, seed=self.context.seed, device=self.device
        )

    def _reward_model(self, *, scaled: bool = True) -> RewardModel:
        """Return the model as a scorer, with its gain and bias or with 1 and 0."""
        gain, bias = self.module.scale() if scaled else (1.0, 0.0)
        return RewardModel(self.classifier, replace(self.spec, gain=gain, bias=bias))

    def score_name(self, found: Mapping[str, float]) -> str:
        """Return the metric that is the score, whatever is found."""
        return f"val/{self.objective.score}"

    def _save(self, found: Mapping[str, float]) -> float | None:
        name = self.score_name(found)
        measured = found[name]
        score = measured if math.isfinite(measured) else None
        if not distributed.is_main():
            return score
        alg = self.config.alg
        card = model_card(alg.model_name, self.config.datapool.id, alg, found)
        spec = self._reward_model().spec
        save_model(self.folder, self.classifier, card, {FILE: spec.as_json()})
        write_summary(self.folder, score, name, last=dict(found), normalization=self.normalization)
        return score


def spec_of(config: RewardModelConfig) -> RewardSpec:
    """Return the model's inputs and reward formula, from the keys."""
    ratings = config.alg.loss.id == "probabilistic"
    return RewardSpec("ratings" if ratings else "score", config.separator)


def load_examples(config: RewardModelConfig, split: Split, *, seed: int) -> Examples:
    """Return the examples of a split, and log no messages about its inputs.

    Raises:
        UserError: prompts are chat messages.
    """
    samples = load_inputs(config.datapool, split, seed=seed).samples
    if any(sample.messages is not None for sample in samples):
        raise UserError(
            "'datapool.args.chat_template' = true: a reward model is trained on prompts as plain "
            "text; leave it out, or give 'prompt_prefix' and 'prompt_suffix'"
        )
    return make_examples(samples, make_objective(config.alg.loss), spec_of(config))


def given_arguments(config: RewardModelConfig) -> dict[str, Any]:
    """Return the Trainer's arguments of the configuration."""
    precision = config.alg.mixed_precision
    return config.alg.training_args | ({} if precision == "no" else {precision: True})

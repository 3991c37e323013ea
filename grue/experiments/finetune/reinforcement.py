"""Reinforcement finetuning run: rollouts and updates in turn, with evaluations between them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import torch

from common import distributed
from common.experiment import Context
from common.run.folder import write_text
from common.training import checkpoint
from common.training.seeding import random_state, restore_random_state
from grue.algorithms import find
from grue.algorithms.algorithm import Algorithm
from grue.algorithms.critic_free import CriticFree
from grue.experiments.finetune.base import FinetuneRun
from grue.experiments.finetune.build_models import make_actor_critic
from grue.experiments.finetune.config import ReinforcementConfig
from grue.experiments.finetune.reinforcement_state import why_unfit_state
from grue.experiments.finetune.reward_metric import REWARD, RewardMetric
from grue.experiments.finetune.rollout_messages import RolloutMessages
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.metrics.metric import Metric
from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.random_streams import Occasion, seed_of
from grue.rl.kl import KlController
from grue.rl.nan_checks import check_measured, check_tensors
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.partial_rollout import FailedRollout
from grue.rollouts.samples import sample_lines
from grue.rollouts.statistics import elapsed
from grue.supervised.reference_loss import ReferenceLoss

log = logging.getLogger(__name__)

FAILED_ROLLOUT = "failed_rollout.jsonl"
"""File of prompts, outputs and known rewards of a rollout whose reward failed."""


class ReinforcementRun(FinetuneRun[ReinforcementConfig, dict[str, Any]]):
    """Run of ``n_iters`` rollouts and updates, with evaluations at intervals.

    All random numbers of an iteration follow from the run's seed and the iteration's number. Users'
    own parts may use the global generators, whose states are in the checkpoints.
    """

    unit = "iteration"

    def __init__(self, config: ReinforcementConfig, context: Context) -> None:
        super().__init__(config, context)
        self.alg = alg = config.alg
        self.env = config.env
        adaptive = alg.kl_div.adaptive_kl
        target = alg.kl_div.target_kl if adaptive is None else adaptive.target
        self.controller = KlController(alg.kl_div.coeff, target)
        self._messages = RolloutMessages()
        self._num_labels = 0
        """Number of the labelled inputs of the supervised loss."""

    @property
    def model_name(self) -> str:
        """Name of the model that is finetuned."""
        return self.alg.policy.args.model_name

    def build_model(self) -> None:
        """Load the policy, and make its critic, the algorithm and what collects rollouts."""
        self.reward = self.config.reward_fn.build()
        super().build_model()
        alg, seed = self.alg, self.context.seed
        algorithm_class = find(alg.id)
        self.actor_critic = make_actor_critic(
            self.policy, alg, seed=seed, with_critic=alg.rollout_spec.needs_values
        )
        self.algorithm: Algorithm[Any] = algorithm_class(self.actor_critic, alg)
        if isinstance(self.algorithm, CriticFree) and self.algorithm.args.sft_coeff > 0:
            loss = ReferenceLoss(self.policy, self.train_inputs.samples, self.algorithm.args)
            self.algorithm.supervised, self._num_labels = loss, loss.num_labelled
        self.rollouts = Rollouts(
            self.actor_critic,
            self.train_inputs,
            self.reward,
            rollout_settings(self.env, alg, group_by=self.config.train_evaluation.group_by),
            seed=seed,
            doing=self.doing,
        )

    def metrics(self) -> list[tuple[str, Metric[Any]]]:
        """Return the metrics of evaluations, and the run's reward if it is to be measured."""
        found = super().metrics()
        if self.config.train_evaluation.measure_reward:
            found.append((REWARD, RewardMetric(self.reward)))
        return found

    @property
    def num_steps(self) -> int:
        """Iterations of the whole run: fewer than ``n_iters`` where enough outputs are drawn."""
        evaluation = self.config.train_evaluation
        most, drawn = evaluation.max_samples, self.rollouts.draw.num_drawn
        return evaluation.n_iters if most is None or drawn < most else self.steps_done

    @property
    def progress(self) -> float:
        """Share of the run that is done, by iterations or by outputs drawn, between 0 and 1."""
        evaluation, done = self.config.train_evaluation, self.steps_done
        by_iterations, most = done / evaluation.n_iters, evaluation.max_samples
        return (
            by_iterations
            if most is None
            else max(by_iterations, self.rollouts.draw.num_drawn / most)
        )

    # Evaluations.

    def measure_start(self) -> None:
        """Evaluate the policy before training, and tell how long later evaluations will take."""
        super().measure_start()
        evaluation = self.config.train_evaluation
        every = evaluation.eval_every
        num_left = (self.num_steps - 1) // every - self.steps_done // every
        self.tell_of_evaluations(num_left, evaluation.splits_on_the_way)

    def evaluate_start(self) -> dict[str, float]:
        """Return the metrics of all splits before training.

        Its label is the published one, unless that of iteration 1 is the same.
        """
        evaluation = self.config.train_evaluation
        may_be_one = evaluation.n_iters == 1 or evaluation.max_samples is not None
        is_taken = evaluation.eval_every == 1 or may_be_one
        return self.evaluate_everywhere("before_training" if is_taken else "epoch_0")

    def evaluate_on_the_way(self) -> dict[str, float]:
        """Return the metrics of some splits, every ``eval_every`` iterations but the last."""
        evaluation, found = self.config.train_evaluation, dict[str, float]()
        if self.steps_done % evaluation.eval_every == 0 and self.has_steps_left():
            for split in evaluation.splits_on_the_way:
                found |= self.evaluate(split, f"epoch_{self.steps_done - 1}")
        return found

    def evaluate_end(self) -> dict[str, float]:
        """Return the metrics of all splits after training."""
        return self.evaluate_everywhere(f"epoch_{self.num_steps - 1}")

    def prompt_limits(self, settings: GenerationConfig) -> tuple[int | None, Side]:
        """Return the prompt limits of rollouts: RL4LMs ignores ``tokenizer.max_length`` here."""
        return self.env.args.max_prompt_length, self.alg.policy.args.prompt_truncation_side

    # An iteration.

    def step(self) -> dict[str, float]:
        """Collect a rollout and make an update of it; return what was measured."""
        coefficient, iteration = self.controller.coefficient, self.steps_done
        self.algorithm.set_learning_rate(iteration, self.progress)
        rollout, found = self._collect(coefficient)
        if iteration % self.config.train_evaluation.eval_every == 0:
            for line in sample_lines(rollout, self.policy, coefficient):
                log.info("iteration %d, %s", iteration + 1, line)
        self._messages.tell_of_unused(rollout)
        self._adapt_coefficient(found, len(rollout))
        seed = seed_of(Occasion.UPDATE, self.context.seed, iteration)
        generator = torch.Generator().manual_seed(seed)
        with self.doing("updating"), self.actor_critic.updating():
            found |= self.algorithm.update(rollout, coefficient, generator)
        found |= self.algorithm.stepper.report()
        self._check_finite(found, rollout)
        self._messages.tell_of_silence(iteration + 1, found)
        self.steps_done += 1
        if self.rollouts.settings.whole_outputs:
            longest = self.rollouts.policy.lengths(self.rollouts.settings.generation).most
            found |= elapsed(self.steps_done, len(rollout), longest)
        found["elapsed/samples"] = self.rollouts.draw.num_drawn
        hinted = self.rollouts.draw.hinted
        if self._num_labels or hinted:
            found["elapsed/labels"] = self._num_labels + len(hinted)
        log.info("iteration %d of %d: reward %.4f, KL per token %.4f", self.steps_done,
                 self.num_steps, found["rollout_info/ep_rew"],
                 found["rollout_info/kl_div_mean"])  # fmt: skip
        return found

    def _collect(self, coefficient: float) -> tuple[Rollout, dict[str, float]]:
        """Return a rollout and its metrics; one whose reward failed is kept in a file."""
        try:
            with self._dropping_out():
                return self.rollouts.collect(self.steps_done, coefficient, self.progress)
        except FailedRollout as error:
            if distributed.is_main():
                lines = (json.dumps(row) + "\n" for row in error.rows())
                write_text(self.folder.path / FAILED_ROLLOUT, "".join(lines))
            raise

    @torch.no_grad()
    def _check_finite(self, found: dict[str, float], rollout: Rollout) -> None:
        """Check the measurements and weights after an update.

        Weights may be finite and yet so large that the policy's outputs are not, so it is evaluated
        on an output of the rollout.

        Raises:
            UserError: a loss, a norm of gradients or a weight is NaN or infinite.
        """
        when = f"iteration {self.steps_done + 1}"
        advice = "lower 'alg.args.learning_rate', or the size of rewards"
        if self.saved_step is not None:
            advice += (
                f"; checkpoints/{checkpoint.LAST} keeps the finite weights after "
                f"{self.saved_step} iterations"
            )
        check_measured(found, when, advice)
        said = self.actor_critic.evaluate(rollout.sequences.rows(slice(1)))
        totals = {"the policy's logits": said.logits.logsumexp(-1), "values": said.values}
        check_tensors(self.actor_critic.state_dict() | totals, when, advice)

    def _adapt_coefficient(self, found: dict[str, float], num_outputs: int) -> None:
        """Adapt the coefficient to the KL of the rollout's tokens, or of its outputs."""
        adaptive = self.alg.kl_div.adaptive_kl
        if adaptive is None:
            self.controller.update(found["rollout_info/kl_div_mean"])
        else:
            self.controller.update(found["objective/kl"], num_outputs / adaptive.horizon)

    @contextlib.contextmanager
    def _dropping_out(self) -> Iterator[None]:
        """Enable the policy's dropout around rollouts and updates, if configured.

        An iteration's dropout follows from the run's seed and the iteration's number; each rank has
        its own.
        """
        if not self.alg.rollout_spec.dropout:
            yield
            return
        of_rank = () if distributed.is_main() else (distributed.rank(),)
        torch.manual_seed(seed_of(Occasion.DROPOUT, self.context.seed, self.steps_done, *of_rank))
        with self.actor_critic.updating():
            yield

    # The state.

    @property
    def may_save_soon(self) -> bool:
        """True every ``save_every`` iterations."""
        return self.steps_done % self.config.train_evaluation.save_every == 0

    def save_state(self) -> None:
        """Write the last checkpoint, and keep the one before it."""
        state = {
            "iteration": self.steps_done,
            "rollouts": self.rollouts.draw.state_dict(),
            "weights": self.actor_critic.state_dict(),
            "algorithm": self.algorithm.state_dict(),
            "controller": self.controller.state_dict(),
            "random": random_state(self.gpu_ids),
        }
        checkpoint.save_last(self.folder.checkpoints, state)

    def load_last_state(self) -> dict[str, Any] | None:
        """Return the last good checkpoint."""
        return checkpoint.load_last(
            self.folder.checkpoints,
            lambda state: why_unfit_state(state, self.algorithm, self.actor_critic),
        )

    def lost_record(self, state: dict[str, Any]) -> str | None:
        """Return which rows are lost of the start and of the iterations before ``state``."""
        return self.tracker.lost_rows(range(state["iteration"] + 1))

    def load_state(self, state: dict[str, Any]) -> None:
        """Put weights, algorithm, KL coefficient and generators where they were saved."""
        self.steps_done = state["iteration"]
        self.actor_critic.load_state_dict(state["weights"])
        self.algorithm.load_state_dict(state["algorithm"])
        settings = self.rollouts.settings
        used = self.steps_done * settings.num_envs * settings.samples_per_input
        self.rollouts.draw.load_state_dict(state.get("rollouts", {"num_drawn": used}))
        self.controller.load_state_dict(state["controller"])
        restore_random_state(state["random"], self.gpu_ids)

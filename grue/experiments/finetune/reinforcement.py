"""A run of reinforcement finetuning: rollouts and updates in turn, evaluations between them."""

from __future__ import annotations

import contextlib
import json
import logging
from collections.abc import Iterator
from typing import Any

import torch
from pydantic import ConfigDict, FiniteFloat, NonNegativeInt, TypeAdapter, with_config
from typing_extensions import TypedDict

from common import distributed
from common.errors import Interrupted
from common.experiment import Context
from common.machine.devices import run_gpus
from common.run.folder import write_text
from common.run.records import why_unfit
from common.training import checkpoint
from common.training.pace import Pace
from common.training.seeding import random_state, restore_random_state, seed_everything
from common.training.training_state import OptimizerState, taking
from grue.algorithms import find
from grue.algorithms.algorithm import Algorithm
from grue.algorithms.config import ReinforcementAlg
from grue.experiments.finetune.assembly import make_actor_critic
from grue.experiments.finetune.base import FinetuneRun, load_policy
from grue.experiments.finetune.config import ReinforcementConfig
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.random_streams import Occasion, seed_of
from grue.rl.finite import check_measured, check_tensors
from grue.rl.kl import KlController
from grue.rollouts.batch import Rollout
from grue.rollouts.collector import Rollouts
from grue.rollouts.pending import FailedRollout
from grue.rollouts.samples import sample_lines
from grue.rollouts.statistics import elapsed

log = logging.getLogger(__name__)

FAILED_ROLLOUT = "failed_rollout.jsonl"
"""Prompts, outputs and rewards, as far as known, of a rollout whose reward failed."""

_MUCH = 0.1
"""Share of a rollout's tokens that is worth a word where no update uses it."""


@with_config(ConfigDict(extra="allow"))
class _Algorithm(TypedDict):
    optimizer: OptimizerState


class _Controller(TypedDict):
    coefficient: FiniteFloat


@with_config(ConfigDict(strict=True))
class _State(TypedDict):
    """What a run goes on from."""

    iteration: NonNegativeInt
    weights: dict[str, Any]
    algorithm: _Algorithm
    controller: _Controller
    random: dict[str, Any]


_STATE = TypeAdapter(_State)
_LATER_KEYS = {"descent"}
"""Of an algorithm's state: checkpoints that were made before them lack them, and do without."""


class ReinforcementRun(FinetuneRun):
    """Rollout, update, and now and then an evaluation and a checkpoint, ``n_iters`` times.

    All random numbers of an iteration follow from the run's seed and the iteration's number. What a
    part from outside the project draws, a checkpoint's states of the global generators fix.
    """

    def __init__(
        self, config: ReinforcementConfig, alg: ReinforcementAlg, context: Context
    ) -> None:
        name = alg.policy.args.model_name
        super().__init__(config, context, load_policy(config, context), name)
        self.alg = alg
        self.env = config.env
        algorithm_class = find(alg.id)
        self.actor_critic = make_actor_critic(
            self.policy, alg, seed=context.seed, with_critic=alg.rollout_spec.needs_values
        )
        self.algorithm: Algorithm[Any] = algorithm_class(self.actor_critic, alg)
        adaptive = alg.kl_div.adaptive_kl
        target = alg.kl_div.target_kl if adaptive is None else adaptive.target
        self.controller = KlController(alg.kl_div.coeff, target)
        self.rollouts = Rollouts(
            self.actor_critic,
            self.train_inputs,
            config.reward_fn.build(),
            rollout_settings(self.env, alg),
            seed=context.seed,
        )
        self.iteration = 0
        self._saved_iteration: int | None = None
        self._pace = Pace()
        self._has_told = False
        self._gpu_ids = run_gpus(context.gpu_ids)

    def run(self) -> float | None:
        """Make what is left of the run."""
        seed_everything(self.context.seed)
        evaluation, num_iterations = self.config.train_evaluation, self._num_iterations
        assert evaluation.eval_every, "checked with the keys"
        self._restore()
        self.tracker.begin(self.iteration)
        try:
            if not self.tracker.has_start():
                self.tracker.add(0, 0.0, self.evaluate_everywhere(self._label_of_start))
            self.tell_of_evaluations(self._num_evaluations_left, evaluation.splits_on_the_way)
            while self.iteration < num_iterations:
                found = self._iterate()
                done = self.iteration
                is_last = done == num_iterations
                if done % evaluation.eval_every == 0 and not is_last:
                    for split in evaluation.splits_on_the_way:
                        found |= self.evaluate(split, f"epoch_{done - 1}")
                self.tracker.add(done, done, found)
                self.context.progress(done, num_iterations)
                self._save()
            found = self.evaluate_everywhere(f"epoch_{num_iterations - 1}")
            self.tracker.add(self.iteration, self.iteration, found)
            return self.finish(found)
        finally:
            self.close()

    def _iterate(self) -> dict[str, float]:
        """Return one rollout and one update; gives what was measured."""
        coefficient = self.controller.coefficient
        try:
            with self._dropping_out():
                rollout, found = self.rollouts.collect(self.iteration, coefficient)
        except FailedRollout as error:
            if distributed.is_main():
                lines = (json.dumps(row) + "\n" for row in error.rows())
                write_text(self.folder.path / FAILED_ROLLOUT, "".join(lines))
            raise
        if self.iteration % (self.config.train_evaluation.eval_every or 1) == 0:
            for line in sample_lines(rollout, self.policy, coefficient):
                log.info("iteration %d, %s", self.iteration + 1, line)
        self._tell_of_unused(rollout)
        self._adapt_coefficient(found, len(rollout))
        self.algorithm.set_learning_rate(self.iteration / self._num_iterations)
        seed = seed_of(Occasion.UPDATE, self.context.seed, self.iteration)
        generator = torch.Generator().manual_seed(seed)
        with self.actor_critic.updating():
            found |= self.algorithm.update(rollout, coefficient, generator)
        found |= self.algorithm.stepper.report()
        self._check_finite(found, rollout)
        self.iteration += 1
        if self.rollouts.settings.whole_outputs:
            longest = self.rollouts.policy.lengths(self.rollouts.settings.generation).most
            found |= elapsed(self.iteration, len(rollout), longest)
        log.info("iteration %d of %d: reward %.4f, KL per token %.4f", self.iteration,
                 self._num_iterations, found["rollout_info/ep_rew"],
                 found["rollout_info/kl_div_mean"])  # fmt: skip
        return found

    def _tell_of_unused(self, rollout: Rollout) -> None:
        """Say once that many outputs are drawn and not used."""
        num_drawn = sum(map(len, rollout.outputs))
        unused = int((rollout.num_used == 0).sum())
        if self._has_told or not unused or rollout.num_tokens > (1 - _MUCH) * num_drawn:
            return
        self._has_told = True
        log.warning(
            "%d of the rollout's %d outputs are not used: %d tokens are drawn, and updates take "
            "'alg.args.n_steps' x outputs at a time = %d of them; raise 'alg.args.n_steps', or "
            "lower 'env.n_envs'", unused, len(rollout), num_drawn, rollout.num_tokens,
        )  # fmt: skip

    @torch.no_grad()
    def _check_finite(self, found: dict[str, float], rollout: Rollout) -> None:
        """Check what the update has measured and made.

        Weights may be finite and yet so large that the policy says nothing: it is asked of an
        output of the rollout.

        Raises:
            UserError: a loss, a norm of gradients or a weight is NaN or infinite.
        """
        when = f"iteration {self.iteration + 1}"
        advice = "lower 'alg.args.learning_rate', or the size of rewards"
        if self._saved_iteration is not None:
            advice += (
                f"; checkpoints/{checkpoint.LAST} keeps the finite weights after "
                f"{self._saved_iteration} iterations"
            )
        check_measured(found, when, advice)
        said = self.actor_critic.evaluate(rollout.sequences.rows(slice(1)))
        totals = {"the policy's logits": said.logits.logsumexp(-1), "values": said.values}
        check_tensors(self.actor_critic.state_dict() | totals, when, advice)

    def _adapt_coefficient(self, found: dict[str, float], num_outputs: int) -> None:
        """Move the coefficient by the KL of the rollout's tokens, or of its outputs."""
        adaptive = self.alg.kl_div.adaptive_kl
        if adaptive is None:
            self.controller.update(found["rollout_info/kl_div_mean"])
        else:
            self.controller.update(found["objective/kl"], num_outputs / adaptive.horizon)

    @property
    def _num_iterations(self) -> int:
        count = self.config.train_evaluation.n_iters
        assert count, "checked with the keys"
        return count

    @property
    def _label_of_start(self) -> str:
        """The published label of the evaluation before training, unless iteration 1 takes it."""
        taken = self.config.train_evaluation.eval_every == 1 or self._num_iterations == 1
        return "before_training" if taken else "epoch_0"

    @property
    def _num_evaluations_left(self) -> int:
        """Evaluations on the way that are still to come."""
        every = self.config.train_evaluation.eval_every
        assert every, "checked with the keys"
        return (self._num_iterations - 1) // every - self.iteration // every

    @contextlib.contextmanager
    def _dropping_out(self) -> Iterator[None]:
        """Around rollouts: the policy drops activations if so configured, there and in the update.

        The noise of an iteration, too, follows from the run's seed and the iteration's number; each
        rank has its own.
        """
        if not self.alg.rollout_spec.dropout:
            yield
            return
        of_rank = () if distributed.is_main() else (distributed.rank(),)
        torch.manual_seed(seed_of(Occasion.DROPOUT, self.context.seed, self.iteration, *of_rank))
        with self.actor_critic.updating():
            yield

    def _save(self) -> None:
        """Write a checkpoint where one is due, after the last iteration, or before the run stops.

        Raises:
            Interrupted: a stop was asked for; a checkpoint is written.
        """
        stop = distributed.any_rank(self.context.stop_requested())
        is_last = self.iteration == self._num_iterations
        in_turn = self.iteration % self.config.train_evaluation.save_every == 0
        if (stop or is_last or self._pace.is_due(soon=in_turn)) and distributed.is_main():
            with self._pace.writing():
                checkpoint.save_last(self.folder.checkpoints, self._state())
            self._saved_iteration = self.iteration
        if stop and self.iteration < self._num_iterations:
            raise Interrupted(f"stopped on request after iteration {self.iteration}")

    def _state(self) -> dict[str, Any]:
        return {
            "iteration": self.iteration,
            "weights": self.actor_critic.state_dict(),
            "algorithm": self.algorithm.state_dict(),
            "controller": self.controller.state_dict(),
            "random": random_state(self._gpu_ids),
        }

    def _restore(self) -> None:
        """Go on from the last good checkpoint, if there is one."""
        state = checkpoint.load_last(self.folder.checkpoints, self._unfit)
        seen = () if state is None else range(state["iteration"] + 1)
        if self.tracker.forgets_run(seen) or state is None:
            return
        with taking(self.folder.checkpoints / checkpoint.LAST):
            self.iteration = self._saved_iteration = state["iteration"]
            self.actor_critic.load_state_dict(state["weights"])
            self.algorithm.load_state_dict(state["algorithm"])
            self.controller.load_state_dict(state["controller"])
            restore_random_state(state["random"], self._gpu_ids)

    def _unfit(self, state: dict[str, Any]) -> str | None:
        """What keeps the run from going on from ``state``; None where nothing does."""
        problem = why_unfit(state, _STATE)
        if problem is not None:
            return problem
        lost = self.algorithm.state_dict().keys() - state["algorithm"].keys()
        if lost - _LATER_KEYS:
            return f"'algorithm' lacks {', '.join(sorted(lost))}"
        return checkpoint.misfit(self.actor_critic, state["weights"])

    def prompt_limits(self, settings: GenerationConfig) -> tuple[int | None, Side]:
        """As in rollouts: RL4LMs ignores ``tokenizer.max_length`` here."""
        return self.env.args.max_prompt_length, self.alg.policy.args.prompt_truncation_side

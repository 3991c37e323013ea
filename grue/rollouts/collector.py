"""Collector of rollouts: batches of prompts in, outputs with all data of an update out.

Each batch takes one cached generation of outputs. One forward pass over the whole sequences then
computes all log-probabilities and values.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from common import distributed
from common.errors import UserError
from common.machine.devices import gpus_of_device, sent
from common.training.seeding import seeded, undisturbed
from grue.parts.token_numbers import pad_stack
from grue.policies.actor_critic import ActorCritic
from grue.policies.prompt_encoder import Tokens
from grue.policies.sequences import Sequences
from grue.random_streams import Occasion, seed_of, uniforms
from grue.rl.advantages import estimate_advantages
from grue.rl.token_positions import first_tokens
from grue.rollouts.batch import Rollout
from grue.rollouts.drawing import Batch, draw_outputs
from grue.rollouts.group_statistics import group_statistics
from grue.rollouts.groups import groups_of, kept_outputs
from grue.rollouts.hints import Hints
from grue.rollouts.input_draw import InputDraw
from grue.rollouts.partial_rollout import FailedRollout, PendingRollout
from grue.rollouts.scoring import Scored, score_outputs
from grue.rollouts.settings import RolloutSettings
from grue.rollouts.statistics import rollout_statistics
from grue.rollouts.token_rewards import standardize, task_rewards
from grue.rollouts.token_values import TokenValues, token_values
from grue.tasks.inputs import Inputs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.rewards.reward import Reward


Doing = Callable[[str], AbstractContextManager[None]]


class Rollouts:
    """Sampler of inputs and outputs of a policy, which also rewards them."""

    def __init__(
        self,
        actor_critic: ActorCritic,
        inputs: Inputs,
        reward: Reward[Any],
        settings: RolloutSettings,
        *,
        seed: int,
        doing: Doing = lambda what: nullcontext(),
    ) -> None:
        """Set what is sampled; ``doing`` returns a block in which what it names is done."""
        self.actor_critic = actor_critic
        self.policy = actor_critic.policy
        self.inputs = inputs
        self.reward = reward
        self.settings, self.seed, self._doing = settings, seed, doing
        limit, side = settings.prompt_limit, settings.prompt_side
        self._prompts = self.policy.read(
            inputs.samples, settings.generation, limit, side, level=logging.WARNING
        )
        self._truncation = self.policy.truncation(settings.generation)
        self._hints = Hints(self.policy, inputs, self._prompts, settings)
        self.draw = InputDraw(len(inputs), settings, seed=seed)

    def collect(
        self, iteration: int, kl_coefficient: float, progress: float = 0.0
    ) -> tuple[Rollout, dict[str, float]]:
        """Return the rollout of an iteration, and its statistics.

        Equal weights, seed, iteration, share of the run that is done and state of `draw` give the
        same rollout.

        Raises:
            FailedRollout: the reward fails, or returns numbers that are not finite.
        """
        sample = functools.partial(self._sample, iteration)
        hint_of = functools.partial(self._hints.of, progress)
        drawn = draw_outputs(sample, self.draw.batches(iteration), self.settings, hint_of)
        self.draw.record(drawn)
        found = kept_outputs(drawn, self.settings)
        sequences = self.policy.sequences(found.prompts, found.outputs)
        bits = found.joined_mask_bits(sequences.outputs.ids.shape[1])
        evaluated = token_values(self.actor_critic, found, sequences, bits, self.settings)
        in_rewards = kl_coefficient if self.settings.kl_in_reward else 0.0
        rollout, penalty = self._rewarded(found, sequences, bits, evaluated, in_rewards)
        rollout = rollout.with_groups(groups_of(drawn, found, self.settings, self._task_rewards))
        statistics = rollout_statistics(
            rollout, penalty, kl_coefficient, self.settings.samples_per_input, self._truncation
        )
        reward, part = self.reward, self.settings.groups.silent_by
        largest = reward.largest if part is None else reward.largest_of(reward.args, part)
        of_groups = group_statistics(drawn, found, self.settings, largest)
        return rollout, statistics | drawn.part_means() | of_groups | self.draw.statistics()

    def _rewarded(
        self,
        found: PendingRollout,
        sequences: Sequences,
        bits: Tensor | None,
        evaluated: TokenValues,
        kl_coefficient: float,
    ) -> tuple[Rollout, Tensor]:
        """Return the rollout with rewards and advantages, and [N, T] the KL part of its rewards.

        ``kl_coefficient`` is that of the penalty in the rewards, in reward per nat.
        """
        settings = self.settings
        response_mask = sequences.outputs.mask.bool()
        task = self._of_host(self._task_rewards(found, response_mask.shape[1]))
        penalty = -kl_coefficient * evaluated.kl * response_mask
        num_used = found.first(None if settings.whole_outputs else settings.num_tokens)
        host_train_mask = first_tokens(num_used, response_mask.shape[1])
        train_mask = sent(host_train_mask, response_mask.device)
        standardized = standardize(task, host_train_mask) if settings.standardize_rewards else task
        pg_kl_penalty = -kl_coefficient * evaluated.pg_kl * response_mask
        rewards = standardized + penalty
        estimates = estimate_advantages(
            rewards, standardized, penalty, pg_kl_penalty, evaluated.values, response_mask,
            train_mask, gamma=settings.gamma, gae_lambda=settings.gae_lambda,
        )  # fmt: skip
        rollout = Rollout(
            prompts=found.prompts,
            outputs=found.outputs,
            num_used=num_used,
            longest=self.policy.lengths(settings.generation).most,
            sequences=sequences,
            response_mask=response_mask,
            log_probs=evaluated.log_probs,
            ref_log_probs=evaluated.ref_log_probs,
            kl=evaluated.kl,
            values=evaluated.values,
            task_rewards=task,
            rewards=rewards,
            advantages=estimates.advantages,
            returns=estimates.returns,
            kl_advantages=estimates.kl_advantages,
            task_advantages=estimates.task_advantages,
            vocab_mask_bits=bits,
            reward_stds=self._of_host(np.concatenate(found.stds)) if found.stds else None,
        )
        return rollout, penalty

    def _task_rewards(self, found: PendingRollout, width: int) -> np.ndarray[Any, Any]:
        """Return [N, T] the task's rewards of outputs, for T = ``width``."""
        return task_rewards(found, width, self.settings, self._truncation, end=self.policy.ids.end)

    def _sample(self, iteration: int, found: PendingRollout, batch: Batch) -> None:
        """Sample and score the outputs of a batch of an iteration."""
        settings, num_samples, rows = self.settings, batch.num_samples, batch.rows
        stream = iteration, batch.attempt
        prompts = batch.behind([self._prompts[row] for row in rows])
        own = distributed.shard_slice(len(rows))
        numbers = batch.places(settings.num_envs)[own]
        with self._doing("sampling"):
            drawn = self._draw(prompts[own], numbers, num_samples, stream)
        outputs, inputs = drawn.outputs, [row for row in rows for _ in range(num_samples)]
        whole = batch.whole(outputs)
        texts = self.inputs.texts(self.policy.scored_texts(whole, settings.generation), inputs)
        found.prompts += [prompt for prompt in prompts for _ in range(num_samples)]
        found.outputs += outputs
        found.groups += [group for group in batch.groups for _ in range(num_samples)]
        found.inputs += inputs
        found.vocab_mask_bits += drawn.vocab_mask_bits
        found.log_probs += drawn.log_probs
        found.texts.append(texts)
        mine = slice(own.start * num_samples, own.stop * num_samples)
        # A reward that draws random numbers moves nothing that training draws.
        seed = seed_of(Occasion.REWARD, self.seed, *stream, distributed.rank())
        on_device = undisturbed(gpus_of_device(self.policy.device))
        with self._doing("scoring"), on_device, seeded(seed):
            scores = self._score(found, texts[mine], whole[mine])
        found.scores.append(pad_stack(batch.without_hints(scores)))

    def _draw(
        self,
        prompts: Sequence[Tokens],
        numbers: Sequence[int],
        num_samples: int,
        stream: Sequence[int],
    ) -> PendingRollout:
        """Return the outputs that all ranks draw, without scores; this rank does for ``prompts``.

        ``numbers`` are the prompts' places in the rollout, which fix their random numbers.
        """
        settings, own = self.settings, PendingRollout()
        if prompts:
            most = self.policy.lengths(settings.generation).most
            draws = uniforms(
                Occasion.ROLLOUT, self.seed, numbers, num_samples, most, numbers=stream
            )
            keeps = not settings.recompute_log_probs
            samples = self.policy.masked_sample(
                prompts, draws, settings.generation,
                log_probs_at=self.actor_critic.temperature if keeps else None,
            )  # fmt: skip
            own.outputs = [output for of_input in samples.outputs for output in of_input]
            own.vocab_mask_bits = [] if samples.allowed is None else [samples.allowed]
            own.log_probs = [] if samples.log_probs is None else [samples.log_probs]
        bits, log_probs = (
            distributed.all_gather_tensors(of, self.policy.device)
            for of in (own.vocab_mask_bits, own.log_probs)
        )
        return PendingRollout(
            outputs=distributed.all_gather(own.outputs),
            vocab_mask_bits=bits,
            log_probs=[of_output for of_batch in log_probs for of_output in of_batch],
        )

    def _score(self, found: PendingRollout, own: Texts, outputs: Sequence[Tokens]) -> list[Any]:
        """Return all ranks' rewards of a batch, and add their parts or stds to the rollout.

        ``own`` are the texts of the batch that this rank scores, and ``outputs`` their tokens.

        Raises:
            FailedRollout: the reward fails, on any rank.
        """
        failures: list[str] = []
        cause: BaseException | None = None
        scored: list[Scored] = []
        try:
            if len(own):
                scored = score_outputs(self.reward, own, outputs, self.policy, self.settings)
        except UserError as error:
            failures.append(str(error))
            cause = error.__cause__
        for failure in distributed.all_gather(failures):
            raise FailedRollout(failure, found) from cause
        scores, further = zip(*distributed.all_gather(scored), strict=True)
        if self.settings.with_reward_stds:
            found.stds.append(np.concatenate(further))
        elif names := self.reward.part_names:
            found.parts.append(dict(zip(names, np.transpose(further), strict=True)))
        return list(scores)

    def _of_host(self, values: np.ndarray[Any, Any]) -> Tensor:
        """Return numbers on the policy's device, in float32."""
        return sent(torch.from_numpy(values).float(), self.policy.device)

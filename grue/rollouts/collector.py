"""Collector of rollouts: batches of prompts in, outputs with all data of an update out.

Each batch takes one cached generation of outputs. One forward pass over the whole sequences then
computes all log-probabilities and values.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from common import distributed
from common.errors import UserError
from common.machine.devices import gpus_of_device, sent
from common.training.seeding import seeded, undisturbed
from grue.policies.actor_critic import ActorCritic
from grue.policies.prompt_encoder import Tokens
from grue.policies.sequences import Sequences
from grue.random_streams import Occasion, generator, seed_of, uniforms
from grue.rl.advantages import estimate_advantages
from grue.rl.token_positions import first_tokens
from grue.rollouts.batch import Rollout
from grue.rollouts.group_statistics import group_statistics
from grue.rollouts.partial_rollout import FailedRollout, PendingRollout, pad_stack
from grue.rollouts.resampling import chosen_groups, is_short
from grue.rollouts.scoring import score_outputs
from grue.rollouts.settings import RolloutSettings
from grue.rollouts.statistics import rollout_statistics
from grue.rollouts.token_rewards import standardize, task_rewards
from grue.rollouts.token_values import TokenValues, token_values
from grue.tasks.inputs import Inputs
from grue.texts import Texts

if TYPE_CHECKING:
    from grue.rewards.reward import Reward


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
    ) -> None:
        self.actor_critic = actor_critic
        self.policy = actor_critic.policy
        self.inputs = inputs
        self.reward = reward
        self.settings = settings
        self.seed = seed
        limit, side = settings.prompt_limit, settings.prompt_side
        self._prompts = self.policy.read(
            inputs.samples, settings.generation, limit, side, level=logging.WARNING
        )
        self._truncation = self.policy.truncation(settings.generation)

    def collect(self, iteration: int, kl_coefficient: float) -> tuple[Rollout, dict[str, float]]:
        """Return the rollout of an iteration, and its statistics.

        Equal weights, seed and iteration give the same rollout, whatever was collected before.

        Raises:
            FailedRollout: the reward fails, or returns numbers that are not finite.
        """
        drawn = self._draw_outputs(iteration)
        found = chosen_groups(drawn, self.settings)
        sequences = self.policy.sequences(found.prompts, found.outputs)
        bits = found.joined_mask_bits(sequences.outputs.ids.shape[1])
        evaluated = token_values(self.actor_critic, found, sequences, bits, self.settings)
        in_rewards = kl_coefficient if self.settings.kl_in_reward else 0.0
        rollout, penalty = self._rewarded(found, sequences, bits, evaluated, in_rewards)
        statistics = rollout_statistics(
            rollout, penalty, kl_coefficient, self.settings.samples_per_input, self._truncation
        )
        of_groups = group_statistics(drawn, found, self.settings, self.reward.largest)
        return rollout, statistics | drawn.part_means() | of_groups

    def _draw_outputs(self, iteration: int) -> PendingRollout:
        """Sample and score outputs, batch by batch, until there are enough tokens."""
        found = PendingRollout()
        draw = generator(Occasion.INPUTS_OF_ROLLOUT, self.seed, iteration)
        number = 0
        while is_short(found, self.settings, number):
            self._sample(found, self._rows(iteration, draw), stream=[iteration, number])
            number += 1
        return found

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
        task = self._of_host(
            task_rewards(
                found, response_mask.shape[1], settings, self._truncation, end=self.policy.ids.end
            )
        )
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

    def _rows(self, iteration: int, draw: np.random.Generator) -> list[int]:
        """Return the positions of the inputs of a batch."""
        size, count = self.settings.num_envs, len(self.inputs)
        if self.settings.inputs_in_order:
            return [row % count for row in range(iteration * size, (iteration + 1) * size)]
        rows: list[int] = draw.integers(count, size=size).tolist()
        return rows

    def _sample(self, found: PendingRollout, rows: Sequence[int], stream: Sequence[int]) -> None:
        """Sample and score outputs for the inputs at ``rows``."""
        settings, num_samples = self.settings, self.settings.samples_per_input
        prompts = [self._prompts[row] for row in rows]
        own = distributed.shard_slice(len(rows))
        drawn = self._draw(prompts[own], range(len(rows))[own], stream)
        outputs = drawn.outputs
        texts = self.inputs.texts(
            self.policy.scored_texts(outputs, settings.generation),
            [row for row in rows for _ in range(num_samples)],
        )
        found.prompts += [prompt for prompt in prompts for _ in range(num_samples)]
        found.outputs += outputs
        found.vocab_mask_bits += drawn.vocab_mask_bits
        found.log_probs += drawn.log_probs
        found.texts.append(texts)
        mine = slice(own.start * num_samples, own.stop * num_samples)
        # A reward that draws random numbers moves nothing that training draws.
        seed = seed_of(Occasion.REWARD, self.seed, *stream, distributed.rank())
        with undisturbed(gpus_of_device(self.policy.device)), seeded(seed):
            self._score(found, texts[mine], outputs[mine])

    def _draw(
        self, prompts: Sequence[Tokens], numbers: range, stream: Sequence[int]
    ) -> PendingRollout:
        """Return the outputs that all ranks draw, without scores; this rank does for ``prompts``.

        ``numbers`` are the positions of the prompts in the batch, which fix their random numbers.
        """
        settings, own = self.settings, PendingRollout()
        if prompts:
            most = self.policy.lengths(settings.generation).most
            draws = uniforms(
                Occasion.ROLLOUT, self.seed, numbers, settings.samples_per_input, most,
                numbers=stream,
            )  # fmt: skip
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

    def _score(self, found: PendingRollout, own: Texts, outputs: Sequence[Tokens]) -> None:
        """Add the rewards of a batch, with their parts or stds, to the pending rollout.

        ``own`` are the texts of the batch that this rank scores, and ``outputs`` their tokens.

        Raises:
            FailedRollout: the reward fails, on any rank.
        """
        with_stds, failures = self.settings.with_reward_stds, []
        cause: BaseException | None = None
        scores: np.ndarray[Any, Any] = np.zeros((0, 2) if with_stds else 0)
        try:
            if len(own):
                scores = score_outputs(self.reward, own, outputs, with_stds=with_stds)
        except UserError as error:
            failures.append(str(error))
            cause = error.__cause__
        for failure in distributed.all_gather(failures):
            raise FailedRollout(failure, found) from cause
        of_batch = pad_stack(distributed.all_gather(list(scores)))
        if with_stds:
            of_batch, stds = of_batch.T
            found.stds.append(stds)
        elif names := self.reward.part_names:
            of_batch, *parts = of_batch.T
            found.parts.append(dict(zip(names, parts, strict=True)))
        found.scores.append(of_batch)

    def _of_host(self, values: np.ndarray[Any, Any]) -> Tensor:
        """Return numbers on the policy's device, in float32."""
        return sent(torch.from_numpy(values).float(), self.policy.device)

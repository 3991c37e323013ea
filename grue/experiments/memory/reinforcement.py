"""GPU memory of reinforcement finetuning: its updates, and the evaluation of its rollouts."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from common.machine.memory import Moment, Term
from common.machine.memory_trace import as_on_a_gpu, held
from grue import policies
from grue.algorithms import find
from grue.algorithms.args import ActorCriticArgs, CriticFreeArgs, ReinforceArgs
from grue.algorithms.config import ReinforcementAlg
from grue.algorithms.policy_gradient import PolicyGradient
from grue.algorithms.trpo import Trpo
from grue.experiments.finetune.build_models import make_actor_critic
from grue.experiments.finetune.config import ReinforcementConfig
from grue.experiments.finetune.rollout_settings import rollout_settings
from grue.experiments.memory.training import SINGLE, STAYS, Keys, Logits, update
from grue.models.loading import load_model, load_tokenizer
from grue.policies.actor_critic import ActorCritic
from grue.policies.config import CRITICS
from grue.policies.distribution import TokenDistribution
from grue.policies.fused_head import FusedDistributions, log_probs_of
from grue.policies.policy import Policy
from grue.rl.kl import kl_full
from grue.rl.losses import policy_gradient_loss
from grue.rollouts.minibatch import Minibatch
from grue.rollouts.settings import RolloutSettings

_VECTORS = 7
"""Number of vectors of all weights that TRPO holds at a time: the ascent, four of the conjugate
gradient, a product and its parts."""
_VECTORS_OF_LOSSES = 80
"""Number of values per token that an algorithm's own losses and measurements hold, at most."""
_PER_TOKEN = ("log_probs", "ref_log_probs", "values", "returns", "advantages",
              "kl_advantages", "task_advantages")  # fmt: skip
"""Names of the float32 values per token of a minibatch."""


def has_named_critic(alg: ReinforcementAlg) -> bool:
    """Return whether the critic is a language model with a name of its own."""
    return alg.rollout_spec.needs_values and alg.policy.critic not in CRITICS


def of_reinforcement(config: ReinforcementConfig, num_ranks: int) -> tuple[Policy, list[Moment]]:
    """Return the policy, and the moments of an iteration.

    Raises:
        NotImplementedError: the form of the algorithm's updates is unknown.
    """
    # 1. Everything the run holds, without numbers.
    own = _without_numbers(config.alg)
    args, kind = own.policy.args, find(own.id)
    if not issubclass(kind, PolicyGradient):
        raise NotImplementedError(f"'{own.id}' is no PolicyGradient")
    model = load_model(
        args.model_name, own.model_type, own.policy, seed=0, dropout=False, revision=args.revision
    )
    policy: Policy = policies.find(own.policy.id)(model, load_tokenizer(config.tokenizer), "meta")
    actor_critic = make_actor_critic(policy, own, seed=0, with_critic=own.rollout_spec.needs_values)
    algorithm: PolicyGradient[Any] = kind(actor_critic, own)
    # 2. The largest minibatch, and a pass over it.
    settings = rollout_settings(config.env, own)
    sizes, keys = _Sizes.of(algorithm, settings, num_ranks), _keys(own)
    trained = nn.ModuleList([policy.model, *_critic(actor_critic)])
    vocabulary = int(model.config.vocab_size)
    of_update = update(
        _weights(policy, actor_critic), trained, algorithm.optimizer,
        lambda: _pass(algorithm, sizes), keys,
        logits=None if algorithm.is_fused else
        Logits(sizes.rows * sizes.new, sizes.fewest_tokens, vocabulary),
        half_copies=own.policy.mixed_precision != "no",
    )  # fmt: skip
    if isinstance(algorithm, Trpo):
        of_update = _with_vectors(of_update, model, keys)
    # 3. Without gradients, a rollout is looked at in larger parts.
    stays = [term for term in of_update.terms if term.name in STAYS]
    rows = min(2 * settings.minibatch_tokens // sizes.new or 1, sizes.outputs_of_rank)
    said = _said_of_rollout(actor_critic, settings, rows, sizes)
    looked_at = Term("logits and activations", said, 0, keys.batch, keys.advice)
    return policy, [of_update, Moment("a rollout's log-probabilities", (*stays, looked_at))]


def _without_numbers(alg: ReinforcementAlg) -> ReinforcementAlg:
    """Return the same keys with weights that are not loaded, and a plain optimizer step."""
    args = alg.policy.args
    options = {**args.optimizer_kwargs, "fused": False}
    own = {"init": "random", "args": args.model_copy(update={"optimizer_kwargs": options})}
    return alg.model_copy(update={"policy": alg.policy.model_copy(update=own)})


@dataclass(frozen=True)
class _Sizes:
    """Rows and tokens of the largest minibatch of a rank."""

    rows: int
    prompt: int
    """Number of tokens of a prompt."""
    new: int
    """Number of tokens of an output."""
    fewest_tokens: int
    """Number of trained tokens, whatever the outputs are."""
    outputs_of_rank: int
    """Number of outputs of a rollout, of all ranks."""

    @classmethod
    def of(
        cls, algorithm: PolicyGradient[Any], settings: RolloutSettings, num_ranks: int
    ) -> _Sizes:
        """Return the sizes for the algorithm's minibatches of rollouts with these settings."""
        args, spec = algorithm.args, algorithm.alg.rollout_spec
        tokens = settings.minibatch_tokens
        most = settings.generation.max_new_tokens
        assert most is not None, "the settings of rollouts say it"
        prompt = int(min(settings.prompt_limit, (algorithm.policy.longest or math.inf) - most))
        at_a_time = settings.num_envs * settings.samples_per_input
        outputs = at_a_time * math.ceil(settings.num_tokens / (at_a_time * most))
        if isinstance(args, ReinforceArgs) and args.log_prob_of == "sequence":
            prompt, most = 1, prompt + most - 1
        rows = min(_rows(algorithm, tokens, most), spec.micro_batch_size or outputs)
        if algorithm.outputs_in_pass(most) is not None:
            fewest = 1
        elif spec.num_minibatches is not None:  # minibatches are equal parts of outputs
            fewest = rows * _fewest(settings)
        elif settings.whole_outputs:
            fewest = min(tokens, outputs * _fewest(settings))
        else:
            fewest = min(tokens, settings.num_tokens)
        if spec.micro_batch_size is not None:
            of_output = 1 if algorithm.unit == "tokens" else _fewest(settings)
            fewest = min(fewest, rows * of_output)
        return cls(
            rows=math.ceil(min(rows, outputs) / num_ranks),
            prompt=max(prompt, 1),
            new=most,
            fewest_tokens=fewest // num_ranks,
            outputs_of_rank=math.ceil(outputs / num_ranks),
        )


def _rows(algorithm: PolicyGradient[Any], tokens: int, most: int) -> int:
    """Return the number of outputs of ``most`` tokens in a minibatch of ``tokens``."""
    fixed = algorithm.outputs_in_pass(most)
    if fixed is not None:
        return fixed
    if algorithm.unit == "tokens":
        return tokens
    return math.ceil(tokens / most)


def _fewest(settings: RolloutSettings) -> int:
    """Return the number of tokens that every output has.

    For encoder-decoder models the smallest length includes the start token.
    """
    generation = settings.generation
    most = generation.max_new_tokens or 1
    return most if generation.ignore_eos else max(1, min(generation.min_length - 1, most))


def _minibatch(policy: Policy, sizes: _Sizes) -> Minibatch:
    """Return outputs of the largest length, whose tokens are all trained."""
    sequences = _sequences(policy, sizes.rows, sizes)
    ids = sequences.outputs.ids
    width = math.ceil(int(policy.model.config.vocab_size) / 8)
    known: dict[str, Any] = {name: torch.zeros(ids.numel()) for name in _PER_TOKEN}
    return Minibatch(
        sequences=sequences,
        rows=torch.arange(sizes.rows),
        loss_mask=torch.ones(ids.shape, dtype=torch.bool, device="cpu"),
        places=torch.arange(ids.numel()),
        tokens=ids.flatten(),
        **known,
        vocab_mask_bits=torch.zeros(ids.numel(), width, dtype=torch.uint8) if policy.mask else None,
    )


def _sequences(policy: Policy, rows: int, sizes: _Sizes) -> Any:
    return policy.sequences([[0] * sizes.prompt] * rows, [[0] * sizes.new] * rows)


def _pass(algorithm: PolicyGradient[Any], sizes: _Sizes) -> None:
    """Make the forward and backward pass of an update's first step, which is the largest."""
    batch = _minibatch(algorithm.policy, sizes)
    of_losses = torch.zeros(_VECTORS_OF_LOSSES, len(batch))
    with algorithm.actor_critic.updating():
        now = algorithm.evaluate(batch)
        penalty = algorithm.kl_loss(now, 1.0)
        args = algorithm.args
        if isinstance(args, ActorCriticArgs | ReinforceArgs | CriticFreeArgs):
            estimated = (
                isinstance(args, ActorCriticArgs) and args.enforce_token_entropy_reg_estimate
            )
            entropy_loss = algorithm.entropy_loss(now, weight=args.ent_coef, estimated=estimated)
            penalty = penalty + args.ent_coef * entropy_loss
        algorithm.regularizer_gradient_share(now, penalty)
        algorithm.kl_estimates(now)
        loss = policy_gradient_loss(now.log_probs, batch.advantages)
        (loss + penalty + now.values.mean()).backward()
    del of_losses  # until here, as in an update


@torch.no_grad()
def _said_of_rollout(
    actor_critic: ActorCritic, settings: RolloutSettings, rows: int, sizes: _Sizes
) -> int:
    """Return the peak bytes while policy and reference compute log-probabilities of the outputs."""
    with as_on_a_gpu() as trace:
        sequences = _sequences(actor_critic.policy, rows, sizes)
        if actor_critic.head is not None:
            _look_at_states(actor_critic, sequences, is_exact=settings.kl_estimator == "full")
        else:
            _look_at_logits(actor_critic, sequences, is_exact=settings.kl_estimator == "full")
    return trace.peak


def _look_at_states(actor_critic: ActorCritic, sequences: Any, *, is_exact: bool) -> None:
    """Compute log-probabilities, and the exact KL if asked for, as a rollout does."""
    tokens = sequences.outputs.ids.flatten()
    reference = actor_critic.reference_head(sequences).at(_flat)
    log_probs_of(reference, tokens)
    policy = actor_critic.evaluate_head(sequences)[0].at(_flat)
    FusedDistributions(policy, tokens, reference=reference if is_exact else None)


def _flat(values: torch.Tensor) -> torch.Tensor:
    return values.flatten(0, 1)


def _look_at_logits(actor_critic: ActorCritic, sequences: Any, *, is_exact: bool) -> None:
    """Compute the same from the logits of a model that has no layer for them alone."""
    ids = sequences.outputs.ids
    logits = actor_critic.evaluate(sequences).logits
    TokenDistribution(logits).log_prob(ids)
    if not is_exact:
        del logits
    ref_logits = actor_critic.reference_logits(sequences)
    TokenDistribution(ref_logits).log_prob(ids)
    if is_exact:
        kl_full(logits, ref_logits)


def _critic(actor_critic: ActorCritic) -> Iterator[nn.Module]:
    if actor_critic.critic is not None:
        yield actor_critic.critic


def _weights(policy: Policy, actor_critic: ActorCritic) -> int:
    """Return the bytes of policy, critic, reference, and mask model."""
    has_adapters = hasattr(policy.model, "disable_adapter")
    masks = [policy.mask.model] if policy.mask and policy.mask.model is not None else []
    reference = 0 if has_adapters else held(policy.model)
    return held(policy.model, *_critic(actor_critic), *masks) + reference


def _with_vectors(moment: Moment, model: nn.Module, keys: Keys) -> Moment:
    """Return TRPO's update: vectors of all trained weights, and a copy of the policy.

    The copy is for the line search. The policy has no gradients in addition.
    """
    num_trained = sum(w.numel() for w in model.parameters() if w.requires_grad)
    vector = SINGLE * num_trained
    advice = f"take a smaller '{keys.model}'"
    kept = [t for t in moment.terms if t.name != "gradients"]
    vectors = Term("vectors of the natural gradient", _VECTORS * vector, 4 * vector, keys.model,
                   advice)  # fmt: skip
    copy = Term("copy of the policy", held(model), 0, keys.model, advice)
    return Moment(moment.name, (*kept, vectors, copy))


def _keys(alg: ReinforcementAlg) -> Keys:
    spec = alg.rollout_spec
    in_parts = "alg.args.micro_batch_size"
    if spec.micro_batch_size is not None or isinstance(alg.args, CriticFreeArgs):
        batch, advice = in_parts, f"lower '{in_parts}'"
    elif spec.num_minibatches is not None:
        batch, advice = "alg.args.nminibatches", f"raise 'alg.args.nminibatches', set '{in_parts}'"
    elif spec.minibatch_tokens is not None and not _is_fixed(alg):
        batch, advice = "alg.args.batch_size", f"lower 'alg.args.batch_size', set '{in_parts}'"
    else:
        batch, advice = (
            "env.args.max_prompt_length",
            f"lower 'env.args.max_prompt_length', set '{in_parts}'",
        )
    if not alg.policy.gradient_checkpointing:
        advice += ", set 'alg.policy.gradient_checkpointing'"
    adapters = None if alg.policy.lora or _is_fixed(alg) else "alg.policy.lora"
    return Keys("alg.policy.args.model_name", adapters, batch, advice)


def _is_fixed(alg: ReinforcementAlg) -> bool:
    """Return whether the algorithm itself defines the size of its passes."""
    kind: type[PolicyGradient[Any]] = find(alg.id)
    return kind.outputs_in_pass(1) is not None

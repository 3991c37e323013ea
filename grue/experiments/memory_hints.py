"""Advice for text runs that do not fit into GPU memory, as phrases with keys and values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from grue.algorithms.config import ReinforcementAlg
from grue.models.config import ModelOptions, TrainedModelOptions
from grue.supervised.config import TRAINER_BATCH

_HALF = ("bf16", "fp16")


def smaller(key: str, value: int) -> str:
    """Return the advice to lower a number."""
    return f"lower '{key}' ({value})"


def of_batches(training_args: Mapping[str, Any]) -> Iterator[str]:
    """Yield the advice of smaller batches of the Trainer, with equal updates."""
    key = "per_device_train_batch_size"
    size = training_args.get(key, TRAINER_BATCH)
    if size != 1:
        same = "raise 'gradient_accumulation_steps' by the same factor"
        yield f"{smaller(f'alg.training_args.{key}', size)} and {same}"


def of_narrow_training(training_args: Mapping[str, Any]) -> Iterator[str]:
    """Yield the advice of narrower products in the Trainer."""
    if not any(training_args.get(kind) for kind in _HALF):
        yield "set 'alg.training_args.bf16' to true"


def of_narrow_products(options: TrainedModelOptions, key: str) -> Iterator[str]:
    """Yield the advice of narrower products of a model whose options are at ``key``."""
    if options.mixed_precision == "no" and options.dtype == "float32":
        yield f"set '{key}.mixed_precision' to 'bf16'"


def of_adapters(options: ModelOptions, key: str) -> Iterator[str]:
    """Yield the advice of adapters, which save the gradients and moments of the weights."""
    if options.lora is None:
        yield f"train adapters instead of all weights ('{key}.lora')"


def of_reinforcement(alg: ReinforcementAlg) -> Iterator[str]:
    """Yield the advice of smaller minibatches, and of other options of the policy."""
    spec = alg.rollout_spec
    if spec.minibatch_tokens is not None:
        yield smaller("alg.args.batch_size", spec.minibatch_tokens)
    if not alg.policy.gradient_checkpointing and not spec.dropout:
        yield "set 'alg.policy.gradient_checkpointing' to true"
    yield from of_adapters(alg.policy, "alg.policy")
    if not alg.args.single_process_fp32:
        yield from of_narrow_products(alg.policy, "alg.policy")

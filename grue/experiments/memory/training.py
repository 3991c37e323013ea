"""GPU memory of the largest update of each kind of training, by one pass on the meta device."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from common.machine.memory import Moment, Term
from common.machine.memory_trace import as_on_a_gpu, held, state_of
from grue.algorithms.optimizers import OPTIMIZERS
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.classifier.run import load_model as load_classifier
from grue.experiments.finetune.config import SupervisedConfig
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.module import load_module
from grue.experiments.reward_model.objectives import make_objective
from grue.models.config import Optimizer
from grue.models.loading import load_model, load_tokenizer, recompute_activations
from grue.policies.policy import Policy
from grue.scorers.inputs import longest_input, usable_padding
from grue.supervised.arguments import training_arguments

UNLIMITED = 10**6
"""Number above which a tokenizer's maximum length means that it has none."""
WEIGHTS, OPTIMISER = "weights", "optimiser"
STAYS = (WEIGHTS, OPTIMISER)
"""Terms that are present at every moment of a run."""
SINGLE, _HALF = 4, 2
"""Bytes of a float32, and of the narrower types."""
_OF_THE_DEVICE = ("tf32", "torch_compile", "torch_compile_backend", "torch_compile_mode")
_BATCH = "alg.training_args.per_device_train_batch_size"
_RESPONSES = {"scalar_rating": 1, "best_of_n": 4}
"""Number of texts of an example by loss, two for all others; of the best of n as in arXiv
1909.08593."""


@dataclass(frozen=True)
class Keys:
    """Configuration keys that the memory of an update depends on."""

    model: str
    adapters: str | None
    """Key of the adapters; None if there are some already, or cannot be."""
    batch: str
    advice: str
    """Advice for smaller passes."""


@dataclass(frozen=True)
class Logits:
    """Logits of the whole vocabulary for a minibatch."""

    num_tokens: int
    """Largest number of tokens with logits."""
    fewest_tokens: int
    """Number of tokens at least, whatever the data are."""
    vocabulary: int
    stay: bool = True
    """If true, they are kept until the gradients are computed."""


def update(
    weights: int,
    trained: nn.Module,
    optimizer: torch.optim.Optimizer,
    make_pass: Callable[[], None],
    keys: Keys,
    *,
    logits: Logits | None = None,
    half_copies: bool = False,
) -> Moment:
    """Return the terms of an update.

    Args:
        weights: bytes of all models.
        trained: module with the trained weights.
        optimizer: optimizer of its weights.
        make_pass: makes a forward and backward pass over the largest batch.
        keys: keys to name in messages.
        logits: logits of language models.
        half_copies: if true, products have half the width, and the weights have copies of that
            width.
    """
    with as_on_a_gpu() as trace:
        make_pass()
    with torch.device("cpu"):  # where it counts its steps, and reads how many there were
        optimizer.step()
    moments = state_of(optimizer)
    gradients = sum(p.grad.nbytes for p in trained.parameters() if p.grad is not None)
    smaller = f"take a smaller '{keys.model}'"
    adapters = smaller if keys.adapters is None else f"train adapters ('{keys.adapters}')"
    terms = [
        Term(WEIGHTS, weights, weights, keys.model, smaller),
        Term(OPTIMISER, moments, moments, keys.adapters or keys.model, adapters),
        Term("gradients", gradients, gradients, keys.adapters or keys.model, adapters),
    ]
    if half_copies:
        copies = held(trained) * _HALF // SINGLE
        terms.append(Term("narrow copies of weights", copies, 0, keys.model, smaller))
    size = 0
    if logits is not None:
        per_token = SINGLE * logits.vocabulary
        size, least = logits.num_tokens * per_token, logits.fewest_tokens * per_token
        if not logits.stay:  # then their place is taken by gradients
            least = max(least - gradients, 0)
        terms.append(Term("logits of a minibatch", size, least, keys.batch, keys.advice))
    rest = max(trace.peak - gradients - size, 0)
    terms.append(Term("activations", rest, 0, keys.batch, keys.advice))
    return Moment("an update", tuple(terms))


def of_supervised(config: SupervisedConfig, num_ranks: int) -> tuple[Policy, Moment]:
    """Return the policy, and an update of supervised finetuning."""
    alg, tokenizer = config.alg, load_tokenizer(config.tokenizer)
    options = alg.policy.model_copy(update={"init": "random"})
    model = load_model(
        alg.model_name, alg.model_type, options, seed=0, dropout=False, revision=alg.revision
    )
    policy = Policy(model, tokenizer, "meta")
    arguments = _arguments(alg.training_args)
    rows = _rows(arguments, num_ranks)
    longest = min(policy.longest or UNLIMITED, tokenizer.model_max_length)
    ids = torch.zeros(rows, _width(longest), dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}
    logits = Logits(ids.numel(), rows, int(model.config.vocab_size), stay=False)
    lora = None if alg.policy.lora else "alg.policy.lora"
    return policy, _of_trainer(model, batch, arguments, lora, logits=logits)


def of_reward_model(config: RewardModelConfig, num_ranks: int) -> Moment:
    """Return an update of a reward model."""
    alg, tokenizer = config.alg, load_tokenizer(config.tokenizer)
    own = alg.model_copy(update={"init": "random", "dropout": False})
    module = load_module(own, tokenizer, make_objective(alg.loss), seed=0)
    usable_padding(module.model, tokenizer)
    precision = {} if alg.mixed_precision == "no" else {alg.mixed_precision: True}
    arguments = _arguments(alg.training_args | precision)
    rows = _rows(arguments, num_ranks)
    width = min(config.tokenizer.max_length or UNLIMITED, longest_input(module.model, tokenizer))
    ids = torch.zeros(rows * _RESPONSES.get(alg.loss.id, 2), _width(width), dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "targets": torch.zeros(rows)}
    lora = None if alg.lora else "alg.lora"
    return _of_trainer(module, batch, arguments, lora, optimizer=alg.optimizer)


def of_classifier(config: ClassifierConfig, num_ranks: int) -> Moment:
    """Return an update of a classifier with two labels; more labels take little more memory."""
    alg, tokenizer = config.alg, load_tokenizer(config.tokenizer)
    own = alg.model_copy(update={"init": "random"})
    model = load_classifier(own, tokenizer, (0, 1), seed=0)
    usable_padding(model, tokenizer)
    arguments = _arguments(alg.training_args)
    rows = _rows(arguments, num_ranks)
    width = min(config.tokenizer.max_length or UNLIMITED, longest_input(model, tokenizer))
    ids = torch.zeros(rows, _width(width), dtype=torch.long)
    batch = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids[:, 0]}
    return _of_trainer(model, batch, arguments, None)


def _of_trainer(
    model: nn.Module,
    batch: dict[str, Tensor],
    arguments: TrainingArguments,
    adapters: str | None,
    *,
    logits: Logits | None = None,
    optimizer: Optimizer = "adamw",
) -> Moment:
    """Return an update by the transformers Trainer, of a model that returns its loss of a batch."""
    inner: Any = getattr(model, "model", model) if "targets" in batch else model
    _without_dropout(model)
    if arguments.gradient_checkpointing:
        recompute_activations(inner)
    model.train()

    def make_pass() -> None:
        own = {name: tensor.clone() for name, tensor in batch.items()}  # these count too
        model(**own)["loss"].backward()

    kind, settings = Trainer.get_optimizer_cls_and_kwargs(arguments)
    kind = kind if optimizer == "adamw" else OPTIMIZERS[optimizer]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    unfused = {name: value for name, value in settings.items() if name != "fused"}
    return update(
        held(model), model, kind(trained, **unfused), make_pass,
        Keys("alg.model_name", adapters, _BATCH, f"lower '{_BATCH}'"),
        logits=logits, half_copies=arguments.bf16 or arguments.fp16,
    )  # fmt: skip


def _without_dropout(model: nn.Module) -> None:
    """Disable dropout, whose masks would count four bytes per number instead of a GPU's one."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0


def _arguments(given: Mapping[str, Any]) -> TrainingArguments:
    """Return the Trainer's arguments without those that make the library search for a GPU."""
    asked = {name: value for name, value in given.items() if name not in _OF_THE_DEVICE}
    return training_arguments(asked, Path(), seed=0, device=torch.device("cpu"))


def _rows(arguments: TrainingArguments, num_ranks: int) -> int:
    """Return the number of examples in a rank's part of a batch."""
    return math.ceil(arguments.per_device_train_batch_size / num_ranks)


def _width(longest: int) -> int:
    """Return the tokens of a row; without any limit, the one that it has at least."""
    return longest if longest < UNLIMITED else 1

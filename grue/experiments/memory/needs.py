"""GPU memory needs of each kind of text run, estimated before the runs start.

Models are built from their configurations on the meta device, where tensors have shapes alone, and
make one pass there over the run's largest possible batch. Weights, gradients, optimiser state and
activations are therefore those of the run, for any architecture.

An estimate assumes that every prompt and output has its largest length, and that a minibatch holds
as many such outputs as fit: many short ones may take more. Not counted are the models of rewards,
metrics and normalisation, CUDA's own memory (about half a GiB per process), dropout's masks,
prompts while they are read in sampling, and a rollout's values per token. In mixed precision,
activations count as float32, which is too much, and weights have a half-width copy.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from common.config.run import RunConfig
from common.machine.memory import Moment, Need, Term, by_counts
from common.machine.memory_trace import MemoryTrace, held
from common.plan.run import Run
from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.extract.config import ExtractAlg, ExtractConfig
from grue.experiments.finetune.config import (
    FinetuneConfig,
    ReinforcementConfig,
    SupervisedConfig,
)
from grue.experiments.memory import training
from grue.experiments.memory.gradients import of_gradients
from grue.experiments.memory.reinforcement import has_named_critic, of_reinforcement
from grue.experiments.reward_model.config import RewardModelConfig
from grue.models.loading import load_model, load_tokenizer
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy
from grue.runs.config import TextConfig

if TYPE_CHECKING:
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

_DRAWING = 5
"""Number of copies of a row's logits in float32 during sampling: logits, their softmax, and its
cumulative sums, which are twice as wide."""


def needs(runs: Sequence[Run]) -> list[Need | None]:
    """Return the need of each run; None if its models are missing or cannot be measured so."""
    known: dict[str, Need | None] = {}
    found = []
    for run in runs:
        key = by_counts([type(run.config).__name__, run.num_ranks, _sizes(run.config)])
        if key not in known:
            known[key] = _need(run.config, run.num_ranks)
        found.append(known[key])
    return found


def _sizes(config: RunConfig) -> dict[str, object]:
    """Return the keys that memory may depend on."""
    names = {"tokenizer", "env", "alg", "evaluation", "train_evaluation", "eval_batch_size"}
    return config.model_dump(mode="json", include=names)


def _need(config: RunConfig, num_ranks: int) -> Need | None:
    assert isinstance(config, TextConfig)
    if config.tokenizer is None:
        return None  # a server has the model
    if not all(_is_at_hand(name, revision) for name, revision in _names(config)):
        return None
    try:
        with torch.device("meta"):
            return list(_moments(config, num_ranks))
    except Exception as error:  # of any model's own code, on a device that it was not made for
        log.info("the memory that a run needs is unknown: %s", error)
        return None


def _names(config: TextConfig) -> Iterator[tuple[str, str | None]]:
    """Yield hub ids or folders of tokenizer and models, and their revisions."""
    assert config.tokenizer is not None
    yield config.tokenizer.model_name, config.tokenizer.revision
    if isinstance(config, ReinforcementConfig):
        policy = config.alg.policy
        yield policy.args.model_name, policy.args.revision
        if has_named_critic(config.alg):
            yield policy.critic, policy.critic_revision
    else:
        alg = config.alg  # type: ignore[attr-defined]  # all that train have it
        yield alg.model_name, alg.revision


def _is_at_hand(name: str, revision: str | None) -> bool:
    """Return whether a model's configuration is here: in its folder, or in the hub's cache."""
    from huggingface_hub import try_to_load_from_cache

    if name.startswith("@"):
        return False
    if Path(name).is_dir():
        return (Path(name) / "config.json").is_file()
    return isinstance(try_to_load_from_cache(name, "config.json", revision=revision), str)


def _moments(config: TextConfig, num_ranks: int) -> Iterator[Moment]:
    if isinstance(config, RewardModelConfig):
        yield training.of_reward_model(config, num_ranks)
    elif isinstance(config, ClassifierConfig):
        yield training.of_classifier(config, num_ranks)
    elif isinstance(config, ExtractConfig):
        yield from _of_extraction(config)
    elif isinstance(config, FinetuneConfig):
        yield from _of_finetuning(config, num_ranks)


def _of_extraction(config: ExtractConfig) -> Iterator[Moment]:
    """Yield the moments of sampling, and of the gradients of what is sampled."""
    alg, evaluation = config.alg, config.evaluation
    assert isinstance(alg, ExtractAlg) and config.tokenizer is not None
    options = alg.policy.model_copy(update={"init": "random"})
    model = load_model(alg.model_name, alg.model_type, options, seed=0, revision=alg.revision)
    policy = Policy(model, load_tokenizer(config.tokenizer), "meta")
    weights = Term("weights", held(model), held(model), "alg.model_name",
                   "take a smaller 'alg.model_name'")  # fmt: skip
    settings = alg.generation_kwargs
    by_library = evaluation.sampler == "generate"
    rows = evaluation.eval_batch_size * evaluation.num_samples_per_input if by_library else 1
    limit = "tokenizer.max_length", config.tokenizer.max_length
    decoding = _decoding(policy, settings, limit, "evaluation.eval_batch_size", rows)
    yield Moment("sampling", (weights, *decoding))
    if evaluation.gradients:
        yield of_gradients(config, policy, weights)


def _of_finetuning(config: FinetuneConfig, num_ranks: int) -> Iterator[Moment]:
    """Yield the moments of an update and of the evaluations between updates."""
    evaluation = config.train_evaluation
    if isinstance(config, SupervisedConfig):
        policy, update = training.of_supervised(config, num_ranks)
        moments, limit = [update], ("tokenizer.max_length", config.tokenizer.max_length)
    else:
        assert isinstance(config, ReinforcementConfig), "every configuration is of one kind"
        policy, moments = of_reinforcement(config, num_ranks)
        limit = "env.args.max_prompt_length", config.env.args.max_prompt_length
    yield from moments
    settings = config.evaluation_settings
    assert settings is not None, "checked with the keys"
    stays = [term for term in moments[0].terms if term.name in training.STAYS]
    outputs = evaluation.eval_batch_size * evaluation.num_samples_per_input
    rows = outputs * settings.num_beams if settings.num_beams > 1 else 1
    decoding = _decoding(policy, settings, limit, "train_evaluation.eval_batch_size", rows)
    yield Moment("an evaluation", (*stays, *decoding))


def _decoding(
    policy: Policy,
    settings: GenerationConfig,
    limit: tuple[str, int | None],
    batch_key: str,
    rows: int,
) -> Iterator[Term]:
    """Yield cache and logits of as many rows.

    The project's own decoding generates as many rows at a time as fit into memory, so that one is
    needed; the library's generates all.

    Args:
        policy: policy on the meta device.
        settings: generation settings of outputs.
        limit: the key that limits prompts, and its value.
        batch_key: the key with the number of prompts that are read together.
        rows: number of outputs that are generated at a time, whatever memory there is.
    """
    most = policy.lengths(settings).most
    prompt = policy.prompt_limit(limit[1], most)
    if prompt >= training.UNLIMITED:
        return
    key = batch_key if rows > 1 else limit[0]
    models = [policy.model, *([policy.mask.model] if policy.mask and policy.mask.model else [])]
    cache = sum(cache_bytes(policy, model, rows, prompt, most) for model in models)
    logits = _DRAWING * training.SINGLE * rows * int(policy.model.config.vocab_size)
    yield Term("cache of keys and values", cache, 0, key, f"lower '{key}'")
    yield Term("logits of rows", logits, 0, key, f"lower '{key}'")


@torch.no_grad()
def cache_bytes(policy: Policy, model: PreTrainedModel, rows: int, prompt: int, new: int) -> int:
    """Return the bytes of the cache for prompts and outputs of these numbers of tokens."""
    before = torch.zeros(rows, prompt, dtype=torch.long)
    after = torch.zeros(rows, new, dtype=torch.long)
    if policy.is_encoder_decoder:
        inputs = {"input_ids": before, "decoder_input_ids": after}
    else:
        inputs = {"input_ids": torch.cat([before, after], 1)}
    model.eval()  # as when outputs are drawn; in training, checkpointed activations have no cache
    with MemoryTrace() as trace:
        found = model(**inputs, use_cache=True)
        cache = next(found[name] for name in ("cache", "past_key_values") if name in found)
        del found
        size: int = trace.live()
        del cache
    return size

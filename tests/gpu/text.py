"""Language models with random weights on a chosen device, and reinforcement runs of them."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from common.config.resolve import resolve
from common.experiment import Context
from common.run.folder import RunFolder
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.experiments.new_model.tokenizer import words
from grue.models.loading import dropouts
from grue.policies.policy import Policy
from grue.policies.prompt_encoder import Tokens
from grue.random_streams import seed_of
from grue.rollouts.batch import Rollout
from tests.grue.conftest import TEXTS, WIDTH, causal_model, encoder_decoder, nested, spread
from tests.grue.test_reinforcement import reinforcement

KINDS = ("gpt2", "llama", "t5", "bart")
"""Architectures: two causal ones, with learned and with rotary positions, two with an encoder."""
COEFFICIENT = 0.1
"""Of the KL penalty, in reward per nat."""
_TEXTS = [*TEXTS, "very cat dog cow hen fox"]
_LARGE = {"width": 256, "num_layers": 4}
_SMALL = {"width": WIDTH, "num_layers": 2}
_SEED = 5
AnyT = TypeVar("AnyT")


@functools.cache
def tokenizer() -> PreTrainedTokenizerFast:
    """So few words that an output often ends before its greatest length."""
    return words(iter(_TEXTS), 32, 64)


def model_of(kind: str, *, full: bool) -> Any:
    """A model on the CPU whose distributions are far from uniform; ``full`` makes it larger."""
    sizes: dict[str, Any] = _LARGE if full else _SMALL
    vocabulary = len(tokenizer())
    if kind == "gpt2":
        return causal_model(vocabulary, **sizes)
    if kind == "llama":
        return _llama(vocabulary, **sizes)
    return encoder_decoder(kind, vocabulary, **sizes)


def _llama(vocabulary: int, *, width: int, num_layers: int) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary, hidden_size=width, intermediate_size=2 * width,
        num_hidden_layers=num_layers, num_attention_heads=width // 16,
        num_key_value_heads=width // 32, max_position_embeddings=64, bos_token_id=0, eos_token_id=0,
        initializer_range=spread(width),
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


def policy_of(kind: str, device: torch.device | str, *, full: bool) -> Policy:
    """A model on the device with its tokenizer; its weights are the same on every device."""
    return Policy(model_of(kind, full=full), tokenizer(), device)


def prompts_of(policy: Policy, count: int) -> list[Tokens]:
    """Prompts of one to seven tokens, none beside one of its own length."""
    tokens = 2 * policy.encode([" ".join(_TEXTS)], 32)[0]
    return [tokens[row : row + 1 + 3 * row % 7] for row in range(count)]


def save(folder: Path, kind: str, *, full: bool) -> Path:
    """A model with its tokenizer, in Hugging Face layout; it drops nothing in training."""
    model = model_of(kind, full=full)
    model.config.update(dict.fromkeys(dropouts(model.config), 0.0))
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)
    return folder


def like(value: AnyT, example: AnyT) -> AnyT:
    """A dataclass, or a tensor, with each of its tensors where the example has its own."""
    if isinstance(value, Tensor) and isinstance(example, Tensor):
        return value.to(example.device)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: like(getattr(value, name), getattr(example, name)) for name in names}
        return dataclasses.replace(value, **fields)
    return value


def in_double(model: Any) -> Any:
    """A copy of a model on the CPU, in float64."""
    return copy.deepcopy(model).cpu().double()


def gpu_ids(device: torch.device) -> tuple[int, ...]:
    """What a run on the device is given."""
    return () if device.type == "cpu" else (device.index or 0,)


def run_on(
    device: torch.device, folder: Path, model: Path, algorithm: str = "ppo", **changes: Any
) -> ReinforcementRun:
    """A reinforcement run before its first iteration; ``changes`` as in `reinforcement`."""
    folder.mkdir(parents=True)
    keys = nested(reinforcement(model, algorithm, **changes))
    for name in ("experiment", "id"):
        keys.pop(name, None)
    config, problems = resolve(FinetuneConfig, keys)
    assert config is not None and not problems, [str(problem) for problem in problems]
    context = Context(RunFolder(folder), seed=_SEED, gpu_ids=gpu_ids(device))
    return ReinforcementRun(config, context).set_up()  # type: ignore[arg-type]


@dataclass(frozen=True)
class Update:
    """What an update has measured and moved."""

    metrics: dict[str, float]
    first_log_ratios: Tensor | None
    """[M] of the first minibatch's tokens; None for algorithms that compare whole policies."""
    before: Tensor
    """[P] the trained weights on the CPU."""
    after: Tensor

    @property
    def way(self) -> Tensor:
        """[P]"""
        return self.after - self.before


def update(run: ReinforcementRun, rollout: Rollout, coefficient: float = COEFFICIENT) -> Update:
    """One update of a run's algorithm with a rollout, which may be another run's."""
    algorithm, ratios = run.algorithm, []
    evaluate = getattr(algorithm, "evaluate", None)

    def noting(batch: Any) -> Any:
        assert evaluate is not None
        found = evaluate(batch)
        ratios.append(found[1].detach() - batch.log_probs)
        return found

    if evaluate is not None:
        algorithm.evaluate = noting  # type: ignore[attr-defined]
    before = weights_of(run)
    with run.actor_critic.updating():
        generator = torch.Generator().manual_seed(seed_of(_SEED, 0))
        metrics = algorithm.update(rollout, coefficient, generator)
    metrics |= algorithm.stepper.report()
    return Update(metrics, ratios[0] if ratios else None, before, weights_of(run))


def weights_of(run: ReinforcementRun) -> Tensor:
    """[P] a copy of what is trained, on the CPU."""
    return torch.cat([w.detach().cpu().flatten() for w in run.actor_critic.parameters()])


def equal_share(outputs: Sequence[Any], others: Sequence[Any]) -> float:
    """Share of outputs that are equal, one by one."""
    return sum(a == b for a, b in zip(outputs, others, strict=True)) / len(outputs)

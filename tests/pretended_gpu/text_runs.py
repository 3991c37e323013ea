"""Text runs on the pretended GPU: reinforcement finetuning, extraction, evaluation."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch

from common.config.resolve import resolve
from grue.experiments.extract.config import ExtractConfig
from grue.experiments.extract.run import Extraction
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.finetune.reinforcement import ReinforcementRun
from grue.policies.generation_config import GenerationConfig
from tests.gpu.controlled import context
from tests.grue.conftest import TEXTS, byte_pairs, causal_model, encoder_decoder, nested
from tests.grue.parts import EVEN, OVERLAP
from tests.grue.test_extract import extraction
from tests.grue.test_reinforcement import MASKED, reinforcement
from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.waits import Waits

Kind = Callable[[PretendedGpu, Path], dict[str, Waits]]
Keys = dict[str, Any]

SAMPLED = {"do_sample": True, "top_k": 0, "max_new_tokens": 6}
_SHAPED = {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2, "suppress_tokens": [3, 4],
           "exponential_decay_length_penalty": [3, 1.1]}  # fmt: skip
_PPO = {"alg__args__n_steps": 6, "alg__args__batch_size": 16, "alg__args__n_epochs": 1}
_TRPO = {"alg__args__n_steps": 6, "alg__args__batch_size": 16, "alg__args__n_critic_updates": 1}
_HUMAN = {"alg__args__nminibatches": 1, "alg__args__n_epochs": 1, "env__n_envs": 16}

_GROUPS = {"alg__args__num_samples_per_input": 2, "alg__args__num_minibatches": 1}
_DAPO = {**_GROUPS, "alg__args__overlong_buffer": 2, "alg__args__max_resamples": 1}

_BASELINES = ("none", "running_mean", "cumulative_mean", "leave_one_out", "group_standardized")
_ALGORITHMS: dict[str, tuple[str, Keys]] = {
    "ppo": ("ppo", _PPO),
    "ppo, shared critic": ("ppo", {**_PPO, "alg__policy__critic": "shared"}),
    "ppo, lora": ("ppo", {**_PPO, "alg__policy__lora": {"r": 2}}),
    "ppo, exact KL": ("ppo", {**_PPO, "alg__kl_div__placement": "loss",
                              "alg__kl_div__analytic_kl_reward": True}),
    **{
        f"ppo, {kind}": ("ppo", {**_PPO, "alg__policy__mixed_precision": kind})
        for kind in ("bf16", "fp16")
    },
    "ppo, recomputed": ("ppo", {**_PPO, "alg__policy__gradient_checkpointing": True}),
    "ppo, tokens": ("ppo", {**_PPO, "alg__compatibility": ["minibatches_of_tokens"]}),
    "nlpo": ("nlpo", {**_PPO, **MASKED}),
    "a2c": ("a2c", {"alg__args__n_steps": 6}),
    "ppo_human_preferences": ("ppo_human_preferences", _HUMAN),
    **{
        f"reinforce, {baseline}": ("reinforce", {"alg__args__baseline": baseline})
        for baseline in _BASELINES
    },
    "grpo": ("grpo", {**_GROUPS, "alg__args__micro_batch_size": 3}),
    "grpo, dropped": ("grpo", {**_GROUPS, "alg__args__zero_std_groups": "drop"}),
    "grpo, virtual best": ("grpo", {**_GROUPS, "alg__args__zero_std_groups": "virtual_best"}),
    "grpo, entropy shaped": ("grpo", {**_GROUPS, "alg__args__zero_std_groups": "entropy_shaped",
                                      "reward_fn__id": EVEN}),
    "dapo": ("dapo", _DAPO),
    "rloo": ("rloo", _GROUPS),
    "reinforce_plus_plus": ("reinforce_plus_plus", {"alg__args__num_minibatches": 1}),
    "gspo": ("gspo", _GROUPS),
    "rejection_sampling": ("rejection_sampling", {}),
}  # fmt: skip
_OF_ONE_MODEL = (
    "ppo, tokens",
    "ppo, fp16",
    "grpo, dropped",
    "grpo, virtual best",
    "grpo, entropy shaped",
    "dapo",
    "rloo",
    "reinforce_plus_plus",
    *(f"reinforce, {baseline}" for baseline in _BASELINES if baseline != "leave_one_out"),
)
"""What does alike whatever the model is."""
_SMALLER: dict[str, Keys] = {
    "ppo": {"alg__args__batch_size": 8},
    "nlpo": {"alg__args__batch_size": 8},
    "ppo_human_preferences": {"alg__args__nminibatches": 2},
    "grpo": {"alg__args__num_minibatches": 2},
}
"""Changes that make more minibatches of a rollout, by name."""


def saved_model(folder: Path, kind: str) -> Path:
    """A tiny model with random weights and its tokenizer, in Hugging Face layout."""
    if not folder.exists():
        tokenizer = byte_pairs(iter(TEXTS * 3), 300, 64)
        size = len(tokenizer)
        model: Any = causal_model(size) if kind == "gpt2" else encoder_decoder(kind, size)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def resolved(kind: Any, keys: Keys) -> Any:
    """The configuration of flat keys."""
    own = {key: value for key, value in keys.items() if key not in ("id", "experiment")}
    config, problems = resolve(kind, nested(own))
    assert config is not None, [str(problem) for problem in problems]
    return config


def _run(folder: Path, kind: str, algorithm: str, changes: Keys) -> ReinforcementRun:
    model = saved_model(folder.parent / kind, kind)
    settings = {"train_evaluation__n_iters": 1, "train_evaluation__eval_every": 1,
                "env__n_envs": 4}  # fmt: skip
    keys = reinforcement(model, algorithm, **{**settings, **changes})
    if kind != "gpt2":
        keys["alg.policy.id"] = keys["alg.policy.id"].replace("causal_lm", "seq2seq_lm")
    config = resolved(FinetuneConfig, keys)
    return ReinforcementRun(config, context(folder, DEVICE)).set_up()


def iteration(gpu: PretendedGpu, folder: Path, *, kind: str, name: str) -> dict[str, Waits]:
    """A rollout and an update, and an update with more minibatches if there can be."""
    algorithm, changes = _ALGORITHMS[name]
    found: dict[str, Waits] = {}
    for label, more in (("", {}), (", small minibatches", _SMALLER.get(name))):
        if more is None:
            continue
        run = _run(folder / f"run{label}", kind, algorithm, {**changes, **more})
        with gpu.counting() as found[f"rollout{label}"]:
            rollout, _ = run.rollouts.collect(0, 0.1)
        with gpu.counting() as waits, run.actor_critic.updating():
            run.algorithm.optimizer.register_step_post_hook(partial(_one_more, waits))
            run.algorithm.update(rollout, 0.1, torch.Generator().manual_seed(0))
        found[f"update{label}"] = waits
    return found


def _one_more(waits: Waits, *_: object) -> None:
    waits.steps += 1


def trust_region(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """TRPO but for its natural gradient: forward-mode derivatives do not know the device."""
    run = _run(folder / "run", kind, "trpo", _TRPO)
    rollout, _ = run.rollouts.collect(0, 0.1)
    algorithm: Any = run.algorithm
    with gpu.counting() as waits, run.actor_critic.updating():
        batches = list(rollout.sequential_batches(4))
        ascent, objective, _ = algorithm._ascent(batches, 0.1)
        algorithm._line_search(batches, 1e-3 * ascent, objective, 0.1)
        algorithm._fit_critic(rollout, torch.Generator().manual_seed(0))
    return {"update": waits}


def whole(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """A run with evaluations that ends, and goes on from its checkpoint."""
    found: dict[str, Waits] = {}
    for number in (1, 2):
        changes = {**_PPO, "train_evaluation__n_iters": number}
        run = _run(folder / "run", kind, "ppo", changes)
        with gpu.counting() as found[f"to iteration {number}"]:
            run.proceed()
        assert run.steps_done == number
    return found


def decoding(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """Outputs of 1 and of 33 tokens, and of up to 33; ``steps`` are the longest one's tokens."""
    run = _run(folder / "run", kind, "ppo", _PPO)
    prompts = run.policy.encode(TEXTS * 10, 10)
    found: dict[str, Waits] = {}
    for least, most in ((1, 1), (33, 33), (0, 33)):
        keys = {**SAMPLED, "temperature": 10.0, "max_new_tokens": most, "min_length": least}
        with gpu.counting() as waits:
            outputs = run.policy.outputs(
                prompts, GenerationConfig.model_validate(keys), inputs=range(len(prompts)), seed=0
            )
        waits.steps = max(map(len, outputs))
        found[f"{least} to {most} tokens"] = waits
    assert min(map(len, outputs)) < waits.steps, "some end early"
    return found


def shaping(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """Outputs of 5 and of 15 tokens, whose scores the library's processors change."""
    run = _run(folder / "run", kind, "ppo", _PPO)
    prompts = run.policy.encode(TEXTS, 10)
    found: dict[str, Waits] = {}
    for length in (5, 15):
        keys = {**SAMPLED, **_SHAPED, "max_new_tokens": length, "min_length": length}
        with gpu.counting() as found[f"{length} tokens"]:
            run.policy.outputs(
                prompts, GenerationConfig.model_validate(keys), inputs=range(len(prompts)), seed=0
            )
    return found


def extracting(gpu: PretendedGpu, folder: Path, *, kind: str, sampler: str) -> dict[str, Waits]:
    """Ten inputs in two batches and in five; ``steps`` are batches."""
    model = saved_model(folder.parent / kind, kind)
    found: dict[str, Waits] = {}
    for batches, size in ((2, 5), (5, 2)):
        keys = extraction(model, evaluation__eval_batch_size=size, evaluation__sampler=sampler)
        keys["alg.model_type"] = "causal" if kind == "gpt2" else "seq2seq"
        config = resolved(ExtractConfig, keys)
        run = Extraction(config, context(folder / str(batches), DEVICE)).set_up()
        with gpu.counting() as waits:
            run.proceed()
        waits.steps = batches
        found[f"{batches} batches"] = waits
    return found


def evaluating(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """Metrics of samples and of beams."""
    beams = {"num_beams": 2, "do_sample": False, "max_new_tokens": 6}
    found: dict[str, Waits] = {}
    for name, settings in (("sampled", SAMPLED), ("beams", beams)):
        changes = {**_PPO, "train_evaluation__generation_kwargs": settings}
        run = _run(folder / name, kind, "ppo", changes)
        with gpu.counting() as found[name]:
            measured = run.evaluate("val", name)
        assert any(OVERLAP.split(":")[-1].lower() in key for key in measured)
    return found


def kinds_of(kind: str) -> dict[str, Kind]:
    """Everything that is done with a model of a kind, by name."""
    names = [name for name in _ALGORITHMS if kind == "gpt2" or name not in _OF_ONE_MODEL]
    return {
        **{f"{kind}: {name}": partial(iteration, kind=kind, name=name) for name in names},
        f"{kind}: trpo": partial(trust_region, kind=kind),
        f"{kind}: whole": partial(whole, kind=kind),
        f"{kind}: decoding": partial(decoding, kind=kind),
        f"{kind}: shaping": partial(shaping, kind=kind),
        f"{kind}: evaluating": partial(evaluating, kind=kind),
        **{
            f"{kind}: extracting, {sampler}": partial(extracting, kind=kind, sampler=sampler)
            for sampler in ("own", "generate")
        },
    }


KINDS: dict[str, Kind] = {**kinds_of("gpt2"), **kinds_of("t5")}

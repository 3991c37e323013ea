"""One iteration of PPO and of leave-one-out REINFORCE at the size of the published IMDB runs.

GPT-2 of 124 million weights with a critic and a reference of its own; 1,536 tokens in outputs of
48. PPO makes five passes in minibatches of about 64 tokens, REINFORCE one step, with four outputs
per prompt. Against bare loops of the same work, which measure and reward nothing, and TRL's
trainers.

The utilisation counts 6 operations per weight and token for the passes that are learned from, of
policy and critic, and no attention; the phases are timed with a wait for the device around each.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.benchmarks.text_models import random_gpt2
from tests.benchmarks.text_ppo import BareLeaveOneOut, BareLoop, Iteration, Sizes
from tests.benchmarks.timing import medians_in_turns, seconds_of
from tests.gpu.findings import Findings, LeftOut
from tests.gpu.peaks import peak

pytestmark = pytest.mark.gpu

_STEPS = "steps"
_GPT2, _SMALL = (12, 768, 12), (1, 32, 2)
_PPO = Sizes(prompts=32, tokens=48, prompt_tokens=32, minibatch=64, epochs=5)
_REINFORCE = Sizes(prompts=8, tokens=48, prompt_tokens=32, minibatch=10**6, epochs=1, samples=4)
_FEW = {"tokens": 4, "prompt_tokens": 3}
_SMALL_PPO = Sizes(prompts=4, minibatch=8, epochs=2, **_FEW)
_SMALL_REINFORCE = Sizes(prompts=2, minibatch=10**6, epochs=1, samples=2, **_FEW)


def _sizes(algorithm: str, *, full: bool) -> Sizes:
    if algorithm == "ppo":
        return _PPO if full else _SMALL_PPO
    return _REINFORCE if full else _SMALL_REINFORCE


@contextmanager
def _phases(iteration: Iteration, device: torch.device) -> Iterator[dict[str, float]]:
    """Seconds by phase of what is made in the block, and how many steps it takes."""
    found: dict[str, float] = defaultdict(float)
    policy, rollouts, algorithm = (
        iteration.rollouts.policy, iteration.rollouts, iteration.algorithm,
    )  # fmt: skip

    def timed(phase: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **options: Any) -> Any:
            results: list[Any] = []
            found[phase] += seconds_of(lambda: results.append(work(*args, **options)), device)
            return results[0]

        return run

    step = algorithm.step

    def counted(max_grad_norm: float | None) -> torch.Tensor:
        found[_STEPS] += 1
        return step(max_grad_norm)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(algorithm, "step", counted)
        patched.setattr(policy, "masked_sample", timed("decoding", policy.masked_sample))
        patched.setattr(rollouts, "reward", timed("rewards", rollouts.reward))
        patched.setattr(rollouts, "collect", timed("collecting", rollouts.collect))
        patched.setattr(algorithm, "update", timed("update", algorithm.update))
        yield found
    found["scoring pass"] = found.pop("collecting") - found["decoding"] - found["rewards"]


@pytest.mark.parametrize("algorithm", ["ppo", "reinforce"])
def test_iteration(algorithm: str, device: torch.device, full: bool, findings: Findings) -> None:
    model, sizes, rounds = (_GPT2 if full else _SMALL), _sizes(algorithm, full=full), 2
    policy = random_gpt2(*model, device=device)
    iteration = Iteration(policy, algorithm, sizes)
    bare = (BareLoop if algorithm == "ppo" else BareLeaveOneOut)(
        random_gpt2(*model, device=device), sizes
    )
    seconds = medians_in_turns({"own": iteration, "bare": bare}, rounds, device)
    name = f"{algorithm}: iteration of {sizes.outputs} outputs, {sizes.steps} steps"
    findings.speed(name, seconds["own"], "a bare loop", seconds["bare"])

    with _phases(iteration, device) as phases:
        whole = seconds_of(iteration, device)
    steps = phases.pop(_STEPS)
    findings.close(f"{algorithm}: steps of the optimiser in an iteration", steps, sizes.steps,
                   0.1 * sizes.steps)  # fmt: skip
    for phase, of_phase in phases.items():
        findings.number(f"{algorithm}: share of {phase}", of_phase / whole, "of the iteration")
    _utilisation(findings, algorithm, iteration, phases["update"], device)


def _utilisation(
    findings: Findings, algorithm: str, iteration: Iteration, seconds: float, device: torch.device
) -> None:
    """The update's share of the operations that the device could make."""
    known = peak(device, "float32")
    if known is None:
        findings.add(LeftOut(f"{algorithm}: utilisation in updates",
                             "the device's operations per second are not known"))  # fmt: skip
        return
    name, per_second = known
    settings = iteration.rollouts.settings
    outputs = settings.num_envs * settings.samples_per_input
    tokens = settings.generation.most_new_tokens(is_encoder_decoder=False)
    prompt = len(iteration.rollouts.collect(0, 0.1)[0].prompts[0])
    passes = getattr(iteration.algorithm.args, "n_epochs", 1)
    weights = sum(weight.numel() for weight in iteration.actor_critic.parameters())
    operations = 6 * weights * passes * outputs * (prompt + tokens)
    findings.number(f"{algorithm}: utilisation in updates, of {per_second / 1e12:.0f} TFLOP/s "
                    f"in float32 of a {name}", operations / seconds / per_second, "")  # fmt: skip


@pytest.mark.parametrize("trainer", ["RLOO", "GRPO"])
def test_trl(trainer: str, device: torch.device, full: bool, findings: Findings, tmp_path: Path
             ) -> None:  # fmt: skip
    pytest.importorskip("trl", reason="TRL is not installed")
    sizes = _sizes("reinforce", full=full)
    model = _GPT2 if full else _SMALL
    iteration = Iteration(random_gpt2(*model, device=device), "reinforce", sizes)
    seconds = medians_in_turns({"own": iteration}, 3, device)["own"]
    of_trl = _seconds_of_trl(trainer, model, sizes, device, tmp_path)
    findings.speed(f"reinforce: iteration of {sizes.outputs} outputs, 1 step", seconds,
                   f"TRL's {trainer}Trainer", of_trl)  # fmt: skip


def _seconds_of_trl(
    trainer: str, model: tuple[int, ...], sizes: Sizes, device: torch.device, folder: Path
) -> float:
    """Median seconds of a step of TRL's: as many outputs, one update, a KL penalty."""
    import statistics

    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    class Clock(TrainerCallback):  # type: ignore[misc]
        times: list[float] = []  # noqa: RUF012

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self._tell()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self._tell()

        def _tell(self) -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    policy = random_gpt2(*model)
    policy.model.save_pretrained(folder / "model")  # TRL loads its reference by the same name
    prompt = " ".join(f"w{i}" for i in range(1, sizes.prompt_tokens + 1))
    lengths = {"min_new_tokens": sizes.tokens}
    options: Mapping[str, Any] = {
        "output_dir": str(folder / "run"), "model_init_kwargs": {"dtype": "float32"},
        "max_steps": 5, "learning_rate": 1e-6, "beta": 0.1,
        "per_device_train_batch_size": sizes.outputs, "num_generations": sizes.samples,
        "max_completion_length": sizes.tokens, "generation_kwargs": lengths, "bf16": False,
        "report_to": "none", "save_strategy": "no", "logging_steps": 1000, "disable_tqdm": True,
        "use_cpu": device.type == "cpu", "gradient_checkpointing": False,
    }  # fmt: skip
    made = getattr(trl, f"{trainer}Trainer")(
        model=str(folder / "model"),
        processing_class=policy.tokenizer,
        args=getattr(trl, f"{trainer}Config")(**options),
        reward_funcs=lambda completions, **_: [float(len(text)) for text in completions],
        train_dataset=Dataset.from_dict({"prompt": [prompt] * sizes.prompts}),
        callbacks=[Clock()],
    )
    Clock.times.clear()
    made.train()
    between = [b - a for a, b in zip(Clock.times, Clock.times[1:], strict=False)]
    return statistics.median(between[2:])

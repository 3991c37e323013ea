"""One iteration of PPO and of leave-one-out REINFORCE with GPT-2 124M (random weights).

The sizes are those of the published runs on IMDB (27 outputs of 48 tokens after 64, minibatches of
64 tokens, 5 passes), for REINFORCE 64 outputs, 4 per input. Bare loops do the same work and measure
nothing; TRL's trainer, where it is installed, makes an iteration of the latter kind.
"""

from __future__ import annotations

import importlib.util
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from grue.policies.policy import Policy
from tests.benchmarks.text_models import made_up_words, random_gpt2, random_model
from tests.benchmarks.text_ppo import BarePpo, BareReinforce, Iteration, Sizes
from tests.benchmarks.timing import medians_in_turns, seconds_of
from tests.gpu.findings import Findings
from tests.gpu.peaks import peak_flops

pytestmark = pytest.mark.gpu

_SIZES = {
    "ppo": Sizes(outputs=27, prompt_tokens=64, tokens=48, minibatch=64, epochs=5),
    "reinforce": Sizes(outputs=64, prompt_tokens=64, tokens=48),
}
_SMALL = {
    "ppo": Sizes(outputs=8, prompt_tokens=8, tokens=8, minibatch=16, epochs=2),
    "reinforce": Sizes(outputs=8, prompt_tokens=8, tokens=8),
}
_BARE = {"ppo": BarePpo, "reinforce": BareReinforce}


def _policy(device: torch.device, full: bool) -> Policy:
    return random_gpt2(12, 768, 12, device) if full else random_gpt2(2, 64, 4, device)


@pytest.mark.parametrize("precision", ["no", "bf16"])
@pytest.mark.parametrize("name", ["ppo", "reinforce"])
def test_iteration(
    name: str, precision: str, device: torch.device, full: bool, findings: Findings
) -> None:
    sizes = (_SIZES if full else _SMALL)[name]
    ours = Iteration(_policy(device, full), name, sizes, precision)
    bare = _BARE[name](_policy(device, full), sizes)

    def bare_iteration() -> None:
        with ours.actor_critic.policy.autocast():
            bare()

    seconds = medians_in_turns(
        {"ours": ours, "bare": bare_iteration}, rounds=3 if full else 2, device=device
    )
    label = f"{name} iteration, {'float32' if precision == 'no' else precision}"
    findings.speed(label, seconds["ours"], "a bare loop", seconds["bare"])
    phases: Counter[str] = Counter()
    with _timed(ours, phases, device):
        whole = seconds_of(ours, device)
    for phase, spent in phases.items():
        findings.number(f"{label}: share of {phase}", 100 * spent / whole, "%")
    _utilisation(findings, label, ours, sizes, phases["update"], precision, device)


@contextmanager
def _timed(iteration: Iteration, phases: Counter[str], device: torch.device) -> Iterator[None]:
    """Inside the block the seconds of each phase are added up, at the cost of waiting for it."""

    def watched(owner: Any, method: str, phase: str) -> None:
        work: Callable[..., Any] = getattr(owner, method)

        def watching(*args: Any, **options: Any) -> Any:
            found: list[Any] = []
            phases[phase] += seconds_of(lambda: found.append(work(*args, **options)), device)
            return found[0]

        setattr(owner, method, watching)

    places = [
        (iteration.rollouts.policy, "masked_sample", "decoding"),
        (iteration.rollouts, "_score", "rewards"),
        (iteration.rollouts, "_evaluate", "scoring"),
        (iteration.algorithm, "update", "update"),
    ]
    for place in places:
        watched(*place)
    try:
        yield
    finally:
        for owner, method, _ in places:
            delattr(owner, method)


def _utilisation(
    findings: Findings, label: str, iteration: Iteration, sizes: Sizes, seconds: float,
    precision: str, device: torch.device,
) -> None:  # fmt: skip
    """The update's operations over those that the device could make in its time.

    They are 6 per trained weight and token, prompts counted, of forward and backward passes of
    policy and critic; attention's own are left out.
    """
    peak = peak_flops(device, "float32" if precision == "no" else precision)
    if peak is None:
        return
    trained = sum(p.numel() for p in iteration.actor_critic.parameters())
    passes = sizes.epochs if iteration.actor_critic.critic is not None else 1
    tokens = passes * sizes.outputs * (sizes.prompt_tokens + sizes.tokens)
    name, flops = peak
    findings.number(f"{label}: FLOPs utilisation of the update (peak {flops / 1e12:g} TFLOP/s, "
                    f"{name})", 100 * 6 * trained * tokens / seconds / flops, "%")  # fmt: skip


def test_against_trl(device: torch.device, full: bool, findings: Findings, tmp_path: Path) -> None:
    if importlib.util.find_spec("trl") is None:
        pytest.skip("TRL is not installed: python -m pip install trl")
    sizes = (_SIZES if full else _SMALL)["reinforce"]
    ours = Iteration(_policy(device, full), "reinforce", sizes)
    ours()
    own = min(seconds_of(ours, device) for _ in range(3))
    findings.speed("leave-one-out REINFORCE iteration, float32", own, "TRL's RLOOTrainer",
                   _trl_seconds(sizes, device, full, tmp_path))  # fmt: skip


def _trl_seconds(sizes: Sizes, device: torch.device, full: bool, folder: Path) -> float:
    """Seconds of the fastest of TRL's iterations after the first."""
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import RLOOConfig, RLOOTrainer

    class Clock(TrainerCallback):  # type: ignore[misc]
        times: list[float] = []  # noqa: RUF012

        def on_step_end(self, *args: Any, **options: Any) -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()
            self.times.append(time.perf_counter())

    model = random_model(12, 768, 12) if full else random_model(2, 64, 4)
    model.save_pretrained(folder / "model")  # the trainer loads its reference by name
    prompt = " ".join(f"w{number}" for number in range(1, sizes.prompt_tokens + 1))
    config = RLOOConfig(
        output_dir=str(folder / "run"), per_device_train_batch_size=sizes.outputs,
        num_generations=4, max_completion_length=sizes.tokens, max_steps=4, learning_rate=1e-6,
        beta=0.1,
        temperature=1.0, top_k=0, gradient_accumulation_steps=1, logging_steps=100, bf16=False,
        save_strategy="no", report_to="none", use_cpu=device.type == "cpu", disable_tqdm=True,
        generation_kwargs={"min_new_tokens": sizes.tokens}, gradient_checkpointing=False,
    )  # fmt: skip
    trainer = RLOOTrainer(
        model=str(folder / "model"),
        reward_funcs=lambda completions, **_: [float(len(text)) for text in completions],
        args=config,
        train_dataset=Dataset.from_list([{"prompt": prompt}] * 64),
        processing_class=made_up_words(),
        callbacks=[Clock()],
    )
    trainer.train()
    return min(after - before for before, after in itertools.pairwise(Clock.times))

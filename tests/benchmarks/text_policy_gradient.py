"""Seconds of one optimiser step of RLOO and GRPO: this project's, TRL's and a bare loop's.

Random GPT-2 in two sizes, prompts of 5 tokens, 4 outputs of 20 tokens each, a penalty for the KL to
a reference, float32, and one step per rollout. A step is the whole of it: drawing, rewards, all
passes and the optimiser. Each has a process of its own; they take turns. TRL's is measured where
``import trl`` works; the bare loop always is.
"""

from __future__ import annotations

import contextlib
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Any

import torch

from tests.benchmarks.text_models import made_up_words, random_gpt2, random_model
from tests.benchmarks.text_ppo import BareReinforce, Iteration, Sizes
from tests.benchmarks.timing import Turns, in_turns, medians_of_processes

_ROUNDS = 3
_SAMPLES = 4
_KL = {
    "rloo": {"coeff": 0.05, "placement": "reward", "estimator": "k1"},
    "grpo": {"coeff": 0.04, "placement": "loss", "estimator": "k3"},
}
"""Penalty by algorithm, as published and as TRL has it."""


@dataclass(frozen=True)
class Case:
    """A model, and the number of its prompts."""

    layers: int
    width: int
    heads: int
    prompts: int

    @property
    def sizes(self) -> Sizes:
        """Sizes of a rollout."""
        return Sizes(outputs=self.prompts * _SAMPLES)

    @property
    def model(self) -> tuple[int, int, int]:
        """Layers, width and heads."""
        return self.layers, self.width, self.heads


_CASES = (Case(4, 128, 4, 16), Case(12, 768, 12, 4))


class _Stopped(Exception):
    """There is no turn any more."""


def _of_trl(case: Case, name: str, turns: Turns) -> None:
    """Steps of TRL's trainer, in its own loop; each waits for its turn."""
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    kind = name.upper()

    class _Turns(TrainerCallback):
        """Times steps: drawing and rewards are part of them."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            if not turns.begin():
                raise _Stopped
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            turns.end(time.perf_counter() - self.started)

    sizes = case.sizes
    prompt = " ".join(f"w{number}" for number in range(1, sizes.prompt_tokens + 1))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(_Stopped):
        random_model(*case.model).save_pretrained(folder)  # the reference is loaded from it, too
        settings = getattr(trl, f"{kind}Config")(
            output_dir=folder, per_device_train_batch_size=sizes.outputs,
            num_generations=_SAMPLES, max_completion_length=sizes.tokens, max_steps=_ROUNDS + 2,
            generation_kwargs={"min_new_tokens": sizes.tokens}, beta=_KL[name]["coeff"],
            model_init_kwargs={"dtype": "float32"}, bf16=False, gradient_checkpointing=False,
            learning_rate=1e-6, use_cpu=True,
            logging_strategy="no", save_strategy="no", report_to="none", disable_tqdm=True,
        )  # fmt: skip
        trainer = getattr(trl, f"{kind}Trainer")(
            model=folder,
            reward_funcs=lambda completions, **_: [float(len(text)) for text in completions],
            args=settings,
            train_dataset=Dataset.from_list([{"prompt": prompt}] * case.prompts),
            processing_class=made_up_words(),
            callbacks=[_Turns()],
        )
        trainer.train()


def _own(case: Case, name: str, turns: Turns) -> None:
    in_turns(Iteration(random_gpt2(*case.model), name, case.sizes, kl=_KL[name]), turns)


def _bare(case: Case, turns: Turns) -> None:
    in_turns(BareReinforce(random_gpt2(*case.model), case.sizes), turns)


def measure(case: Case, name: str) -> Mapping[str, float]:
    """Median seconds of a step, by whose it is."""
    ways = {"this project": partial(_own, case, name), "bare loop": partial(_bare, case)}
    if find_spec("trl") is not None:
        ways = {"TRL": partial(_of_trl, case, name)} | ways
    return medians_of_processes(ways, _ROUNDS)


def main() -> None:
    """Prints seconds of each, and how many times as fast ours is."""
    print(f"One optimiser step without a critic ({torch.get_num_threads()} threads)")
    if find_spec("trl") is None:
        print("  without TRL: python -m pip install trl")
    for case in _CASES:
        for name in _KL:
            found = measure(case, name)
            own = found["this project"]
            print(f"  {name}, {case.layers} layers of width {case.width}, {case.prompts} prompts x "
                  f"{_SAMPLES} samples x {case.sizes.tokens} tokens: {own:.2f} s")  # fmt: skip
            for way, seconds in found.items():
                if way != "this project":
                    print(f"    {way} {seconds:.2f} s: {seconds / own:.2f} times as long")


if __name__ == "__main__":
    main()

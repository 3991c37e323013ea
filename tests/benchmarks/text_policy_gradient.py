"""Seconds of one optimiser step of RLOO and GRPO: this project's, TRL's and a bare loop's.

Random GPT-2 in two sizes, prompts of 5 tokens, 4 outputs of 20 tokens each, a penalty for the KL to
a reference, float32, and one step per rollout. A step is the whole of it: drawing, rewards, all
passes and the optimiser. TRL's trainer goes on in its own loop; ours and the bare loop take their
turns between its steps. It is measured where ``import trl`` works; the bare loop always is.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from tests.benchmarks.text_models import made_up_words, random_gpt2, random_model
from tests.benchmarks.text_ppo import BareReinforce, Iteration, Sizes
from tests.benchmarks.timing import medians_in_turns, seconds_of

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


def of_trl(case: Case, name: str, between: Callable[[], None]) -> float:
    """Median seconds of a step of TRL's, which calls ``between`` after each."""
    import trl
    from datasets import Dataset
    from transformers import TrainerCallback

    kind = name.upper()
    seconds: list[float] = []

    class _Times(TrainerCallback):
        """Times steps: drawing and rewards are part of them."""

        def on_step_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            seconds.append(time.perf_counter() - self.started)
            between()

    sizes = case.sizes
    prompt = " ".join(f"w{number}" for number in range(1, sizes.prompt_tokens + 1))
    with tempfile.TemporaryDirectory() as folder:
        random_model(*case.model).save_pretrained(folder)  # the reference is loaded from it, too
        settings = getattr(trl, f"{kind}Config")(
            output_dir=folder, per_device_train_batch_size=sizes.outputs,
            num_generations=_SAMPLES, max_completion_length=sizes.tokens, max_steps=_ROUNDS + 1,
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
            callbacks=[_Times()],
        )
        trainer.train()
    return statistics.median(seconds[1:])


def measure(case: Case, name: str) -> Mapping[str, float]:
    """Median seconds of a step, by whose it is."""
    own = Iteration(random_gpt2(*case.model), name, case.sizes, kl=_KL[name])
    ways = {"this project": own, "bare loop": BareReinforce(random_gpt2(*case.model), case.sizes)}
    if find_spec("trl") is None:
        return medians_in_turns(ways, _ROUNDS)
    rounds: list[dict[str, float]] = []

    def others() -> None:
        rounds.append({way: seconds_of(work) for way, work in ways.items()})

    trl = of_trl(case, name, others)
    return {"TRL": trl} | {way: statistics.median(each[way] for each in rounds[1:]) for way in ways}


def main() -> None:
    """Prints seconds of each, and how many times as fast ours is."""
    print(f"One optimiser step without a critic ({torch.get_num_threads()} threads)")
    if find_spec("trl") is None:
        print("  without TRL: python -m pip install trl, in an environment of its own")
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

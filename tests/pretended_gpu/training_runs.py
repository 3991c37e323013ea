"""Runs of the library's Trainer on the pretended GPU, which go on from their checkpoints."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

from grue.experiments.classifier.config import ClassifierConfig
from grue.experiments.classifier.run import ClassifierRun
from grue.experiments.finetune.config import FinetuneConfig
from grue.experiments.finetune.supervised import SupervisedRun
from grue.experiments.reward_model.config import RewardModelConfig
from grue.experiments.reward_model.run import RewardModelRun
from grue.scorers.classifier import load_classifier
from grue.scorers.options import ScorerArgs
from grue.scorers.preference import Preference
from tests.gpu.controlled import context
from tests.grue import test_classifier, test_reward_model
from tests.grue.judging import save_classifier
from tests.grue.test_finetune import finetuning
from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.text_runs import SAMPLED, Keys, Kind, resolved, saved_model
from tests.pretended_gpu.waits import Waits

_LOSSES = ("best_of_n", "scalar_rating", "probabilistic")


def _epochs(gpu: PretendedGpu, make: Callable[[int], Any]) -> dict[str, Waits]:
    """A run of one epoch, and one of two that goes on from it; ``make`` gives a run of so many.

    Weights and batches are on the device: the Trainer's own choice would be the CPU.
    """
    found: dict[str, Waits] = {}
    for number in (1, 2):
        run = make(number)
        with gpu.counting() as waits:
            run.proceed()
        assert waits.copies > 0, "batches go to the device"
        found[f"to epoch {number}"] = waits
    return found


def supervised(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """Finetuning by references."""
    model = saved_model(folder.parent / kind, kind)

    def make(epochs: int) -> SupervisedRun:
        keys = finetuning(model, alg__training_args__num_train_epochs=epochs,
                          datapool__num_train_samples=16, no_eval_on_train_set=True,
                          train_evaluation__generation_kwargs=SAMPLED)  # fmt: skip
        keys["alg.model_type"] = "causal" if kind == "gpt2" else "seq2seq"
        config = resolved(FinetuneConfig, keys)
        return SupervisedRun(config, context(folder / "run", DEVICE)).set_up()

    return _epochs(gpu, make)


def _in_epochs(keys: Keys, epochs: int) -> Keys:
    alg = keys["alg"]
    return {**keys, "alg": {**alg, "training_args": {**alg["training_args"],
                                                     "num_train_epochs": epochs}}}  # fmt: skip


def reward_model(gpu: PretendedGpu, folder: Path, *, loss: str) -> dict[str, Waits]:
    """A reward model, and its normalisation by another model's outputs."""
    base = saved_model(folder.parent / "gpt2", "gpt2")
    data = test_reward_model.write_data(folder.parent / "choices", 4, train=20)
    normalize = {} if loss == "probabilistic" else {
        "normalize": test_reward_model.reference(base, num_samples=10)
    }  # fmt: skip
    keys = test_reward_model.configuration(base, data, loss, **normalize)

    def make(epochs: int) -> RewardModelRun:
        config = resolved(RewardModelConfig, _in_epochs(keys, epochs))
        return RewardModelRun(config, context(folder / "run", DEVICE)).set_up()

    return _epochs(gpu, make)


def classifying(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """A classifier of texts."""
    keys = test_classifier.configuration(save_classifier(folder / "model"))

    def make(epochs: int) -> ClassifierRun:
        config = resolved(ClassifierConfig, _in_epochs(keys, epochs))
        return ClassifierRun(config, context(folder / "run", DEVICE)).set_up()

    return _epochs(gpu, make)


def judges(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """Models that judge texts of several batches."""
    saved = saved_model(folder.parent / "t5", "t5")
    model, tokenizer = (
        kind.from_pretrained(saved) for kind in (AutoModelForSeq2SeqLM, AutoTokenizer)
    )
    preference = Preference(model, tokenizer, answers=("1", "2"), device=DEVICE, batch_size=2)
    options = ScorerArgs(device=str(DEVICE), batch_size=2)
    classifier = load_classifier(str(save_classifier(folder)), "model", options)
    texts = ["one", "two texts", "the third of them", "", "five"]
    found: dict[str, Waits] = {}
    for name, judge in (("classifier", classifier), ("preference", preference)):
        with gpu.counting() as waits:
            assert len(judge.probabilities(texts)) == len(texts)
        found[name] = waits
    return found


KINDS: dict[str, Kind] = {
    **{f"supervised, {kind}": partial(supervised, kind=kind) for kind in ("gpt2", "t5")},
    **{f"reward model, {loss}": partial(reward_model, loss=loss) for loss in _LOSSES},
    "classifier": classifying,
    "classifier: judges": judges,
}

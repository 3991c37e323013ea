"""Steps of models that the library's Trainer trains, without the Trainer, on the pretended GPU.

It chooses its device itself; the forward and backward passes are the project's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from common.devices import sent
from grue import classifier, reward_module, training_rows
from grue.classifier import ClassifierRun
from grue.config import FinetuneConfig
from grue.reward_model import RewardModelRun
from grue.reward_model_config import RewardModelConfig
from grue.supervised_run import SupervisedRun
from tests.gpu.controlled import context
from tests.grue import test_classifier, test_reward_model
from tests.grue.judging import save_classifier
from tests.grue.parts import ANIMALS, OVERLAP
from tests.pretended_gpu.device import DEVICE, PretendedGpu
from tests.pretended_gpu.text_runs import SAMPLED, Kind, resolved, saved_model
from tests.pretended_gpu.waits import Waits

_LOSSES = ("best_of_n", "scalar_rating", "probabilistic")


def _step(
    gpu: PretendedGpu, model: Callable[..., Mapping[str, Any]], batch: Mapping[str, Tensor]
) -> Waits:
    """A forward and a backward pass of a batch of the CPU."""
    with gpu.counting() as waits:
        model(**{name: sent(values, DEVICE) for name, values in batch.items()})["loss"].backward()
    return waits


def supervised(gpu: PretendedGpu, folder: Path, *, kind: str) -> dict[str, Waits]:
    """Finetuning by references."""
    model = saved_model(folder.parent / kind, kind)
    keys = {
        "tokenizer.model_name": str(model), "datapool.id": ANIMALS, "alg.id": "supervised",
        "alg.model_type": "causal" if kind == "gpt2" else "seq2seq", "alg.model_name": str(model),
        "train_evaluation.eval_batch_size": 8, "train_evaluation.metrics": [{"id": OVERLAP}],
        "train_evaluation.generation_kwargs": SAMPLED,
    }  # fmt: skip
    config = resolved(FinetuneConfig, keys)
    run = SupervisedRun(config, config.alg, context(folder / "run", DEVICE))
    rows = run._rows()
    batch = training_rows.collate([rows[number] for number in range(4)], pad_token=0)
    return {"step": _step(gpu, run.policy.model, batch)}


def reward_model(gpu: PretendedGpu, folder: Path, *, loss: str) -> dict[str, Waits]:
    """A reward model, its evaluation, and its normalisation by another model's outputs."""
    base = saved_model(folder.parent / "gpt2", "gpt2")
    data = test_reward_model.write_data(folder.parent / "choices", 4, train=20)
    normalize = {} if loss == "probabilistic" else {
        "normalize": test_reward_model.reference(base, num_samples=10)
    }  # fmt: skip
    keys = test_reward_model.configuration(base, data, loss, **normalize)
    run = RewardModelRun(resolved(RewardModelConfig, keys), context(folder / "run", DEVICE))
    examples = run.data["train"]
    encoded = run.classifier.encode(examples.texts)
    rows: list[Any] = [
        {"texts": [encoded[place] for place in places], "target": float(target)}
        for places, target in zip(examples.responses[:4], examples.targets[:4], strict=True)
    ]
    found = {"step": _step(gpu, run.module, reward_module.collate(rows, pad_token=0))}
    with gpu.counting() as found["evaluation"]:
        run._evaluate()
        if normalize:
            run._normalize("after", 0.0, 1.0)
    return found


def classifying(gpu: PretendedGpu, folder: Path) -> dict[str, Waits]:
    """A classifier of texts, and its evaluation."""
    model = save_classifier(folder / "model")
    run = ClassifierRun(test_classifier.config(model), context(folder / "run", DEVICE))
    texts = run.data["train"]
    rows: list[Any] = [
        {**row, "labels": label}
        for row, label in zip(run.classifier.encode(texts.texts[:4]), texts.labels, strict=False)
    ]
    model_of = run.classifier.model
    found = {"step": _step(gpu, model_of, classifier.collate(rows, pad_token=0))}
    with gpu.counting() as found["evaluation"]:
        run._evaluate()
    return found


KINDS: dict[str, Kind] = {
    **{f"supervised, {kind}": partial(supervised, kind=kind) for kind in ("gpt2", "t5")},
    **{f"reward model, {loss}": partial(reward_model, loss=loss) for loss in _LOSSES},
    "classifier": classifying,
}

"""Training of a sequence classifier on a task's labelled texts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from common.errors import UserError
from common.experiment import Context
from common.machine.devices import run_device, run_gpus
from common.run.summary import write_summary
from common.training.seeding import seed_everything, seeded, undisturbed
from grue.experiments.classifier.config import ClassifierAlg, ClassifierConfig
from grue.experiments.classifier.data import (
    Label,
    LabelledTexts,
    label_names,
    labelled_texts,
    labels_of,
)
from grue.experiments.model_card import model_card
from grue.models.loading import load_tokenizer
from grue.models.weights import loaded, placed, pretrained
from grue.runs.evaluation_times import EvaluationTimes
from grue.runs.model_folder import save_model
from grue.runs.tracking import Tracker
from grue.scorers.classifier import Classifier, probabilities
from grue.scorers.inputs import pad_right
from grue.tasks.inputs import load_inputs, tell_of_fewer
from grue.tasks.task import Split

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase, TrainingArguments
    from transformers.trainer_callback import TrainerState

Row = dict[str, Any]

SCORE = "val/accuracy"


def load_labelled(
    config: ClassifierConfig, *, seed: int
) -> tuple[dict[Split, LabelledTexts], Sequence[Label]]:
    """Return the texts of both splits, and the labels' names."""
    samples = {
        split: load_inputs(config.datapool, split, seed=seed).samples for split in config.splits
    }
    names = label_names(labels_of(samples["train"], config.label_key))
    data = {
        split: labelled_texts(found, config.text, config.label_key, names)
        for split, found in samples.items()
    }
    return data, names


def run(config: ClassifierConfig, context: Context) -> float:
    """Trains; the score is the accuracy on the validation split."""
    return ClassifierRun(config, context).run()


class ClassifierRun:
    """A run that trains a classifier."""

    def __init__(self, config: ClassifierConfig, context: Context) -> None:
        from grue.supervised.arguments import check_count

        self.config = config
        self.context = context
        self.folder = context.folder
        self.tracker = Tracker(config, context.folder)
        self.data, names = load_labelled(config, seed=context.seed)
        tell_of_fewer(config.datapool, {split: len(own.texts) for split, own in self.data.items()})
        check_count(len(self.data["train"].texts), config.alg.training_args)
        self.times = EvaluationTimes({"val": len(self.data["val"].texts)})
        tokenizer = load_tokenizer(config.tokenizer)
        model = load_model(config.alg, tokenizer, names, seed=context.seed)
        self.classifier = Classifier(
            placed(model, run_device(context.gpu_ids)),
            tokenizer,
            batch_size=config.eval_batch_size,
            max_length=config.tokenizer.max_length,
        )
        for split, data in self.data.items():
            self.classifier.tell_of_cut(data.texts, split)

    def run(self) -> float:
        """Make what is left of the run."""
        from grue.supervised import checkpoints as trainer_checkpoints

        seed_everything(self.context.seed)
        trainer_checkpoints.go_on(self.folder.checkpoints, self.tracker)
        try:
            if not self.tracker.has_start():
                self.tracker.add(0, 0.0, self._evaluate())
            state = self._train()
            found = self._evaluate()
            self.tracker.add(state.global_step, float(state.epoch or 0.0), found)
        finally:
            self.tracker.close()
        alg = self.config.alg
        card = model_card(alg.model_name, self.config.datapool.id, alg, found)
        save_model(self.folder, self.classifier, card)
        score = found[SCORE]
        write_summary(self.folder, score, SCORE, last=found)
        return score

    def _train(self) -> TrainerState:
        from grue.supervised import trainer as supervised

        classifier, data = self.classifier, self.data["train"]
        rows: list[Row] = [
            {**row, "labels": label}
            for row, label in zip(classifier.encode(data.texts), data.labels, strict=True)
        ]
        arguments = _training_arguments(
            self.config.alg,
            self.folder.checkpoints,
            seed=self.context.seed,
            device=classifier.model.device,
        )
        return supervised.fit(
            classifier.model,
            rows,
            functools.partial(collate, pad_token=classifier.tokenizer.pad_token_id or 0),
            arguments,
            context=self.context,
            tracker=self.tracker,
            evaluate=lambda label: self._evaluate(),
            tell_of_evaluations=lambda count: self.times.tell_of_rest({"val": count + 1}),
        )

    def _evaluate(self) -> dict[str, float]:
        """Return accuracy and mean loss, in nats, on the validation split."""
        data = self.data["val"]
        with self.times.measured("val"), undisturbed(run_gpus(self.context.gpu_ids)):
            logits = self.classifier.logits(data.texts)
        labels = np.array(data.labels)
        shares = probabilities(logits)[np.arange(len(labels)), labels]
        return {
            SCORE: float(np.mean(logits.argmax(-1) == labels)),
            "val/loss": float(-np.log(np.maximum(shares, np.finfo(np.float64).tiny)).mean()),
        }


def collate(rows: Sequence[Row], *, pad_token: int) -> dict[str, Tensor]:
    """Encoded texts as tensors [B, P], filled up on the right, and their labels [B]."""
    encoded = [{name: row[name] for name in row if name != "labels"} for row in rows]
    labels = torch.tensor([row["labels"] for row in rows])
    return {**pad_right(encoded, pad_token), "labels": labels}


def load_model(
    alg: ClassifierAlg, tokenizer: PreTrainedTokenizerBase, names: Sequence[Label], *, seed: int
) -> PreTrainedModel:
    """Return the model with one logit per label, on the CPU.

    What is random of its weights is drawn from ``seed``.

    Raises:
        UserError: there is no such model, or it knows no such size.
    """
    from transformers import AutoModelForSequenceClassification
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # it would break through the plan's
    labels = {number: str(name) for number, name in enumerate(names)}
    options: dict[str, Any] = {
        "num_labels": len(labels),
        "id2label": labels,
        "label2id": {name: number for number, name in labels.items()},
        "problem_type": "single_label_classification",
    }
    kind = AutoModelForSequenceClassification
    with seeded(seed):
        if alg.init == "random":
            ids = {
                "vocab_size": len(tokenizer),
                "pad_token_id": tokenizer.pad_token_id,
                "bos_token_id": tokenizer.bos_token_id,
                "eos_token_id": tokenizer.eos_token_id,
            }
            model = kind.from_config(architecture(alg, {**ids, **options}))
        else:
            name = alg.model_name
            model = pretrained(
                kind, name, "alg.model_name", revision=alg.revision, new_head=True, **options
            )
    found: PreTrainedModel = model.to(torch.float32)
    return found


def architecture(alg: ClassifierAlg, options: Mapping[str, Any]) -> Any:
    """Return the model's configuration with other sizes and ``options``.

    Raises:
        UserError: there is none, or it knows no such size.
    """
    from transformers import AutoConfig

    key = "alg.model_name"
    own = loaded(AutoConfig.from_pretrained, alg.model_name, key, revision=alg.revision)
    unknown = [name for name in alg.architecture if not hasattr(own, name)]
    if unknown:
        sizes = [name for name, value in own.to_dict().items() if type(value) is int]
        raise UserError(
            f"'alg.architecture.{unknown[0]}': unknown to {own.model_type}; its numbers are "
            f"{', '.join(sorted(sizes))}"
        )
    return loaded(
        AutoConfig.from_pretrained,
        alg.model_name,
        key,
        revision=alg.revision,
        **{**options, **alg.architecture},
    )


def _training_arguments(
    alg: ClassifierAlg, folder: Path, *, seed: int, device: torch.device
) -> TrainingArguments:
    from grue.supervised.arguments import training_arguments

    return training_arguments(alg.training_args, folder, seed=seed, device=device)

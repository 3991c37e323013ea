"""Training of a sequence classifier on a task's labelled texts."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from common.errors import UserError
from common.experiment import Context
from common.run.summary import write_summary
from common.training.seeding import seeded, undisturbed
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
from grue.models.weights import hide_progress_bars, loaded, placed, pretrained
from grue.runs.evaluation_times import EvaluationTimes
from grue.runs.model_folder import save_model
from grue.scorers.classifier import Classifier, probabilities
from grue.scorers.inputs import pad_right
from grue.supervised.arguments import check_count
from grue.supervised.run import TrainerRun, Training
from grue.tasks.inputs import load_inputs, tell_of_fewer
from grue.tasks.task import Split

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

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


def run(config: ClassifierConfig, context: Context) -> float | None:
    """Train; the score is the accuracy on the validation split."""
    return ClassifierRun(config, context).run()


class ClassifierRun(TrainerRun[ClassifierConfig]):
    """A run that trains a classifier."""

    def given_arguments(self) -> Mapping[str, Any]:
        """Return the Trainer's arguments as the configuration gives them."""
        return self.config.alg.training_args

    def load_data(self) -> None:
        """Read the texts of both splits, and the labels' names."""
        config = self.config
        self.data, self.names = load_labelled(config, seed=self.context.seed)
        tell_of_fewer(config.datapool, {split: len(own.texts) for split, own in self.data.items()})
        check_count(len(self.data["train"].texts), config.alg.training_args)
        self.times = EvaluationTimes({"val": len(self.data["val"].texts)})

    def build_model(self) -> None:
        """Make the classifier with one logit per label."""
        config = self.config
        tokenizer = load_tokenizer(config.tokenizer)
        model = load_model(config.alg, tokenizer, self.names, seed=self.context.seed)
        self.classifier = Classifier(
            placed(model, self.device),
            tokenizer,
            batch_size=config.eval_batch_size,
            max_length=config.tokenizer.max_length,
        )
        for split, data in self.data.items():
            self.classifier.tell_of_cut(data.texts, split)

    def watched_model(self) -> nn.Module:
        """Return the classifier's model."""
        model: nn.Module = self.classifier.model
        return model

    def training(self) -> Training:
        """Return the classifier's model, and the encoded texts with their labels."""
        classifier, data = self.classifier, self.data["train"]
        rows: list[Row] = [
            {**row, "labels": label}
            for row, label in zip(classifier.encode(data.texts), data.labels, strict=True)
        ]
        pad_token = classifier.tokenizer.pad_token_id or 0
        return Training(classifier.model, rows, functools.partial(collate, pad_token=pad_token))

    def tell_of_evaluations(self, count: int) -> None:
        """Tell how long so many evaluations, and the last one, will take."""
        self.times.tell_of_rest({"val": count + 1})

    def measure(self) -> dict[str, float]:
        """Return accuracy and mean loss, in nats, on the validation split."""
        data = self.data["val"]
        with self.times.measured("val"), undisturbed(self.gpu_ids):
            logits = self.classifier.logits(data.texts)
        labels = np.array(data.labels)
        shares = probabilities(logits)[np.arange(len(labels)), labels]
        return {
            SCORE: float(np.mean(logits.argmax(-1) == labels)),
            "val/loss": float(-np.log(np.maximum(shares, np.finfo(np.float64).tiny)).mean()),
        }

    def summarise(self, found: Mapping[str, float]) -> float | None:
        """Save the model and the summary; return the accuracy."""
        alg, score = self.config.alg, found[SCORE]
        card = model_card(alg.model_name, self.config.datapool.id, alg, found)
        save_model(self.folder, self.classifier, card)
        write_summary(self.folder, score, SCORE, last=dict(found))
        return score


def collate(rows: Sequence[Row], *, pad_token: int) -> dict[str, Tensor]:
    """Return encoded texts as tensors [B, P], padded on the right, and their labels [B]."""
    encoded = [{name: row[name] for name in row if name != "labels"} for row in rows]
    labels = torch.tensor([row["labels"] for row in rows])
    return {**pad_right(encoded, pad_token), "labels": labels}


def load_model(
    alg: ClassifierAlg, tokenizer: PreTrainedTokenizerBase, names: Sequence[Label], *, seed: int
) -> PreTrainedModel:
    """Return the model with one logit per label, on the CPU.

    Random weights are drawn from ``seed``.

    Raises:
        UserError: there is no such model, or it does not know a size.
    """
    from transformers import AutoModelForSequenceClassification

    hide_progress_bars()
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
        UserError: there is no configuration, or it does not know a size.
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

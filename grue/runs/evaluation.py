"""Evaluation of a policy on a split: outputs of its inputs, and their metrics."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import distributed
from common.run.folder import write_json
from common.training.seeding import undisturbed
from grue.metrics.metric import Metric, Scores
from grue.models.config import Side
from grue.policies.generation_config import GenerationConfig
from grue.policies.policy import Policy, by_length
from grue.runs.breakdown import asks_for_scores, breakdown
from grue.tasks.inputs import Inputs
from grue.tasks.task import Split
from grue.texts import Texts

log = logging.getLogger(__name__)

Record = dict[str, Any]
"""Record of one output, by published names."""

_SHOWN = 10
_NO_SCORE = "n/a"


class Evaluator:
    """Evaluator of a policy: generates outputs and measures them; built once per run."""

    def __init__(
        self,
        policy: Policy,
        metrics: Sequence[tuple[str, Metric[Any]]],
        *,
        batch_size: int,
        seed: int,
        num_samples: int = 1,
        group_by: str | None = None,
        predictions: Path | None = None,
        gpu_ids: Sequence[int] = (),
        add_table: Callable[[str, Sequence[Record]], None] | None = None,
    ) -> None:
        """Set up the evaluator; ``metrics`` are given with their ids.

        ``num_samples`` is the number of outputs of each input, and ``group_by`` the name of the
        metadata that makes groups of inputs, see `breakdown`.
        ``predictions`` is the folder of files of all outputs; with None ten are logged. ``gpu_ids``
        are the GPUs of the run. ``add_table`` takes the shown outputs by a name: all of them with
        their scores, or ten.
        """
        self.policy = policy
        self.metrics = metrics
        self.batch_size = batch_size
        self.seed = seed
        self.num_samples = num_samples
        self.group_by = group_by
        self.predictions = predictions
        self.gpu_ids = gpu_ids
        self.add_table = add_table
        self._told: set[Split] = set()

    def evaluate(
        self,
        inputs: Inputs,
        split: Split,
        settings: GenerationConfig,
        *,
        label: str,
        max_length: int | None,
        side: Side,
    ) -> dict[str, float]:
        """Return the metrics of all outputs together, each with the split before its name.

        With them come pass@k and the metrics of groups of inputs, if they are asked for.
        The same inputs, weights and seed give the same outputs. Random draws of a metric do not
        change training. Metrics that need references are skipped for a split without any, which is
        logged once.

        Args:
            inputs: inputs of the split.
            split: name of the split.
            settings: generation settings of outputs.
            label: label of the time, in the names of prediction files.
            max_length: largest number of tokens of a prompt; None for the tokenizer's own maximum.
            side: side on which longer prompts are truncated.
        """
        was_training = self.policy.model.training
        self.policy.model.eval()
        try:
            with undisturbed(self.gpu_ids):
                repeated = np.repeat(range(len(inputs)), self.num_samples).tolist()
                outputs = self.outputs(inputs, settings, max_length, side)
                texts = inputs.texts(outputs, repeated)
                found: dict[str, float] = {}
                if distributed.is_main():
                    metrics = self._measurable(texts, split)
                    for metric in metrics:
                        found |= metric.corpus(texts, self.policy, split)
                    measured = list(found)
                    scores = self._scores(metrics, texts)
                    found |= self._breakdown(metrics, scores, texts)
                    ids = [inputs.samples[row].id for row in repeated]
                    self._show(ids, texts, split, label, measured, scores)
        finally:
            self.policy.model.train(was_training)
        found = distributed.broadcast(found)
        return {f"{split}/{name}": value for name, value in found.items()}

    def _scores(
        self, metrics: Sequence[Metric[Any]], texts: Texts
    ) -> list[Mapping[str, Scores] | None]:
        """Return each metric's scores of single outputs; None where nothing reads them."""
        return [
            metric.scores(texts)
            if asks_for_scores(metric, num_samples=self.num_samples, group_by=self.group_by)
            or (metric.has_scores and self.predictions is not None)
            else None
            for metric in metrics
        ]

    def _breakdown(
        self,
        metrics: Sequence[Metric[Any]],
        scores: Sequence[Mapping[str, Scores] | None],
        texts: Texts,
    ) -> dict[str, float]:
        """Return pass@k, and the means by groups of inputs, of all metrics that have them."""
        found: dict[str, float] = {}
        for metric, of_metric in zip(metrics, scores, strict=True):
            if of_metric is not None:
                found |= breakdown(
                    metric, of_metric, texts.metadata,
                    num_samples=self.num_samples, group_by=self.group_by,
                )  # fmt: skip
        return found

    def _measurable(self, texts: Texts, split: Split) -> list[Metric[Any]]:
        """Return the metrics that can be computed for the texts of a split."""
        if texts.have_references():
            return [metric for _, metric in self.metrics]
        left_out = [name for name, metric in self.metrics if metric.needs_references]
        if left_out and split not in self._told:
            self._told.add(split)
            log.warning(
                "the split '%s' has no references, so these metrics of it are left out: %s",
                split, ", ".join(left_out),
            )  # fmt: skip
        return [metric for _, metric in self.metrics if not metric.needs_references]

    def outputs(
        self, inputs: Inputs, settings: GenerationConfig, max_length: int | None, side: Side
    ) -> list[str]:
        """Return K outputs of each input, in order; see `evaluate`. Ranks share the batches."""
        prompts = self.policy.read(inputs.samples, settings, max_length, side)
        found: dict[int, list[str]] = {}
        batches = list(by_length([len(prompt) for prompt in prompts], self.batch_size))
        own: list[tuple[int, list[str]]] = []
        for rows in distributed.round_robin(batches):
            index = [inputs.index[row] for row in rows]
            tokens = self.policy.outputs(
                [prompts[row] for row in rows],
                settings,
                num_samples=self.num_samples,
                inputs=index,
                seed=self.seed,
            )
            texts = self.policy.scored_texts(tokens, settings)
            starts = range(0, len(texts), self.num_samples)
            own += zip(rows, (texts[i : i + self.num_samples] for i in starts), strict=True)
        found.update(distributed.all_gather(own))
        return [text for row in range(len(prompts)) for text in found[row]]

    def _show(
        self,
        ids: Sequence[str],
        texts: Texts,
        split: Split,
        label: str,
        measured: Sequence[str],
        scores: Sequence[Mapping[str, Scores] | None],
    ) -> None:
        """Log ten outputs, and write all of them with their scores to a file if configured."""
        chosen = random.Random(self.seed).sample(range(len(texts)), min(_SHOWN, len(texts)))
        for row in sorted(chosen):
            log.info("%s %s, %s: %r", label, split, ids[row], texts.outputs[row])
        records = [
            {
                "split_name": split,
                "sample_id": ids[row],
                "prompt_text": texts.prompts[row],
                "generated_text": texts.outputs[row],
                "ref_text": _numbered(texts.references[row]),
            }
            for row in (sorted(chosen) if self.predictions is None else range(len(texts)))
        ]
        if self.predictions is not None:
            of_each = _scores_of_each(measured, filter(None, scores), len(texts))
            records = [record | of_row for record, of_row in zip(records, of_each, strict=True)]
            write_json(self.predictions / f"{label}_{split}_split_predictions.json", records)
        if self.add_table is not None:
            self.add_table(f"{split}_predictions_at_{label}", records)


def _scores_of_each(
    measured: Sequence[str], scores: Iterable[Mapping[str, Scores]], num_outputs: int
) -> Iterator[Record]:
    """Yield the scores of each output.

    ``measured`` are the keys of all metrics; one without scores of single outputs gets ``n/a``, as
    published.
    """
    of_all = {name: values for of_metric in scores for name, values in of_metric.items()}
    for row in range(num_outputs):
        found = {name: _plain(values[row]) for name, values in of_all.items()}
        yield dict.fromkeys(measured, _NO_SCORE) | found


def _numbered(references: Sequence[str]) -> str:
    """Return the published way to write several references as one text."""
    return "".join(
        f"<START-{number}>{text}<END-{number}>" for number, text in enumerate(references, 1)
    )


def _plain(value: np.float64) -> float | str:
    return float(value) if np.isfinite(value) else _NO_SCORE

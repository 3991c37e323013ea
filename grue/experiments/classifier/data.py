"""Data of a classifier: texts with labels, from a task's samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from common.errors import UserError
from grue.tasks.task import Sample

Label = int | str


@dataclass(frozen=True)
class LabelledTexts:
    """N texts, each with the number of its label."""

    texts: Sequence[str]
    labels: Sequence[int]


def labels_of(samples: Sequence[Sample], key: str) -> list[Label]:
    """Return the label of each sample, from the metadata called ``key``.

    Raises:
        UserError: a sample has no label, or one that is neither a number from 0 nor a name.
    """
    found = []
    for sample in samples:
        label = sample.metadata.get(key)
        if not isinstance(label, str) and (not isinstance(label, int) or label < 0):
            known = ", ".join(sorted(sample.metadata)) or "none"
            raise UserError(
                f"'label_key' = '{key}': sample '{sample.id}' has the label {label!r}, expected a "
                f"whole number from 0 or a name; its metadata: {known}"
            )
        found.append(label if isinstance(label, str) else int(label))
    return found


def label_names(labels: Sequence[Label]) -> list[Label]:
    """Return the labels by their numbers: sorted names, or the numbers up to the largest.

    Raises:
        UserError: there is only one label, or some are numbers and some names.
    """
    kinds = set(map(type, labels))
    if len(kinds) > 1:
        raise UserError("'label_key': some labels are numbers and some are names; use one of both")
    if len(set(labels)) < 2:
        raise UserError(f"'label_key': all training texts have the label {labels[0]!r}")
    if kinds == {str}:
        return sorted(set(labels))
    return list(range(max(int(label) for label in labels) + 1))


def labelled_texts(
    samples: Sequence[Sample], text: str, key: str, names: Sequence[Label]
) -> LabelledTexts:
    """Return the samples as texts with numbers of labels.

    Raises:
        UserError: a sample has no reference, or a label that is not among ``names``.
    """
    numbers = {name: number for number, name in enumerate(names)}
    labels = labels_of(samples, key)
    unknown = sorted({str(label) for label in labels if label not in numbers})
    if unknown:
        raise UserError(f"'label_key' = '{key}': no training text has the label {unknown[0]}")
    return LabelledTexts(
        [_text(sample, text) for sample in samples], [numbers[label] for label in labels]
    )


def _text(sample: Sample, text: str) -> str:
    if text == "prompt":
        return sample.prompt
    if not sample.references:
        raise UserError(
            f"'text' = '{text}': sample '{sample.id}' has no reference; set it to 'prompt'"
        )
    reference = sample.references[0]
    return reference if text == "reference" else sample.prompt + reference

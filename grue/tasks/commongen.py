"""CommonGen: a sentence with all of some concepts (Lin et al., 2020)."""

from __future__ import annotations

from grue.tasks.sources.hub_rows import Hub
from grue.tasks.sources.rows import Nested, Number, Row, load_rows
from grue.tasks.task import TASKS, HubTaskArgs, Sample, Split, Task

_HUB = Hub("allenai/common_gen")


class CommonGenArgs(HubTaskArgs):
    """Keys of the CommonGen task."""

    prefix: str = "summarize: "
    """Text before the concepts."""
    concept_separator_token: str = " "
    """Text between two concepts."""
    concept_end_token: str = " "
    """Text after the last concept."""
    single_reference: bool = False
    """If true, samples of the validation and test splits have the first sentence of their concept
    set as their only reference, as published; otherwise they have all."""


class _Sentence(Row):
    concept_set_idx: Number
    concepts: Nested[list[str]]
    target: str


@TASKS.register("commongen")
class CommonGen(Task[CommonGenArgs]):
    """Sentences with given concepts: columns ``concept_set_idx``, ``concepts`` and ``target``.

    The data have a row for each sentence. In the training split each row is a sample; in the others
    all rows with the same ``concept_set_idx`` are one sample. Samples without a sentence, as in the
    test split, have no reference; the published program compares with the text "empty reference"
    there.
    """

    Args = CommonGenArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the concepts between prefix and end; the metadata contain them as a list."""
        rows = load_rows(_Sentence, self.args.path, split, _HUB.at(self.args.revision))
        groups = [[row] for row in rows] if split == "train" else _by_concept_set(rows)
        return [self._sample(f"{split}_{i}", group) for i, group in enumerate(groups)]

    def _sample(self, name: str, rows: list[_Sentence]) -> Sample:
        args, concepts = self.args, rows[0].concepts
        prompt = args.prefix + args.concept_separator_token.join(concepts) + args.concept_end_token
        references = tuple(row.target for row in rows if row.target)
        known = references[:1] if args.single_reference else references
        return Sample(name, prompt, known, {"concepts": concepts})


def _by_concept_set(rows: list[_Sentence]) -> list[list[_Sentence]]:
    groups: dict[int, list[_Sentence]] = {}
    for row in rows:
        groups.setdefault(row.concept_set_idx, []).append(row)
    return list(groups.values())

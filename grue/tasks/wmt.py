"""WMT: news translation, in the three published selections (Bojar et al., 2014 and 2016)."""

from __future__ import annotations

from collections.abc import Iterator

from common.config.hub_revision import Revision
from common.errors import Problem
from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import Hub, HubError, parquet_branch
from grue.tasks.task import TASKS, Sample, Split, Task
from grue.tasks.translation import translation_samples

_NEWS_COMMENTARY = Hub("Helsinki-NLP/news_commentary", {"name": "de-en"})
_WMT16 = Hub("wmt/wmt16", {"name": "de-en"})
_WMT14_PREPROCESSED = parquet_branch("stas/wmt14-en-de-pre-processed")


class WmtArgs(PromptedArgs):
    """Keys of a WMT task with any pair of languages."""

    wmt_id: str
    """Data set on the hub; a name without owner, such as wmt16, belongs to the owner wmt."""
    source_language: str
    """Language code of the prompts."""
    target_language: str
    """Language code of the references."""


@TASKS.register("wmt16")
class Wmt(Task[WmtArgs]):
    """Any pair of languages of a WMT data set: column ``translation`` with both."""

    Args = WmtArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the source language between prefix and suffix; the target language as reference.

        The hub names a pair in one order; the other is tried too.
        """
        source, target = self.args.source_language, self.args.target_language
        try:
            return self._samples(split, f"{source}-{target}")
        except HubError as error:
            try:
                return self._samples(split, f"{target}-{source}")
            except HubError:
                raise error from None

    def _samples(self, split: Split, pair: str) -> list[Sample]:
        args = self.args
        name = args.wmt_id if "/" in args.wmt_id else f"wmt/{args.wmt_id}"
        return translation_samples(
            args, split, Hub(name, {"name": pair}).at(args.revision),
            source=args.source_language, target=args.target_language,
        )  # fmt: skip


class Wmt16NewsOnlyArgs(PromptedArgs):
    """Keys of the WMT task with two data sets; ``revision`` is that of ``wmt/wmt16``."""

    train_revision: Revision = None
    """Branch, tag or commit of ``Helsinki-NLP/news_commentary``, which training reads; None (or the
    empty string) for its default branch."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a revision of local data."""
        yield from super().problems()
        yield from self.revision_of_local("train_revision")


@TASKS.register("wmt16newsonly")
class Wmt16NewsOnly(Task[Wmt16NewsOnlyArgs]):
    """English to German, trained on News Commentary alone and evaluated on WMT 2016."""

    Args = Wmt16NewsOnlyArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the English between prefix and suffix; the German is the only reference."""
        return translation_samples(
            self.args,
            split,
            _NEWS_COMMENTARY.at(self.args.train_revision)
            if split == "train"
            else _WMT16.at(self.args.revision),
        )


@TASKS.register("wmt14_processed_en_de")
class Wmt14Processed(Task[PromptedArgs]):
    """English to German of WMT 2014, cleaned and tokenized beforehand."""

    Args = PromptedArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the English between prefix and suffix; the German is the only reference."""
        return translation_samples(self.args, split, _WMT14_PREPROCESSED.at(self.args.revision))

"""IWSLT 2017: talks, from English to German (Cettolo et al., 2017)."""

from __future__ import annotations

from grue.tasks.prompt_template import PromptedArgs
from grue.tasks.sources.hub_rows import parquet_branch
from grue.tasks.task import TASKS, Sample, Split, Task
from grue.tasks.translation import translation_samples

_HUB = parquet_branch("IWSLT/iwslt2017", "iwslt2017-de-en")


@TASKS.register("iwslt2017en_de")
class Iwslt2017(Task[PromptedArgs]):
    """Sentences of talks: column ``translation`` with ``en`` and ``de``."""

    Args = PromptedArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return the English between prefix and suffix; the German is the only reference."""
        return translation_samples(self.args, split, _HUB.at(self.args.revision))

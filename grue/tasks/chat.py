"""Keys of tasks whose prompts may be chat messages."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Annotated

from common.config.base import LATER, Config, OptionalText
from common.errors import Problem
from grue.tasks.task import Message, Sample


class ChatArgs(Config):
    """Keys of prompts as chat messages."""

    chat_template: Annotated[bool, LATER] = False
    """If true, a prompt is the message of a user, in the form of the tokenizer's chat template;
    otherwise it is plain text."""
    system_prompt: Annotated[OptionalText, LATER] = None
    """System message before the user's; None (or the empty string) for none."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of a system message without chat messages."""
        yield from super().problems()
        if self.system_prompt is not None and not self.chat_template:
            yield Problem("needs 'chat_template' = true", "system_prompt", self.system_prompt)

    def in_form(self, samples: Sequence[Sample]) -> list[Sample]:
        """Return the samples with their prompts as messages, if the keys ask for it."""
        return [self._as_chat(sample) for sample in samples]

    def _as_chat(self, sample: Sample) -> Sample:
        if not self.chat_template:
            return sample
        system: list[Message] = []
        if self.system_prompt is not None:
            system = [{"role": "system", "content": self.system_prompt}]
        asked = sample.messages or [{"role": "user", "content": sample.prompt}]
        return replace(sample, messages=[*system, *asked])

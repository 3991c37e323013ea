"""Keys of tasks that put text around their input."""

from __future__ import annotations

from grue.tasks.task import HubTaskArgs


class PromptedArgs(HubTaskArgs):
    """Keys of a task whose prompt is an instruction around a text."""

    prompt_prefix: str = ""
    """Text before the input."""
    prompt_suffix: str = ""
    """Text after the input."""

    def prompt(self, text: str) -> str:
        """Return the input with the texts around it."""
        return f"{self.prompt_prefix}{text}{self.prompt_suffix}"

"""Rows of any data set on the Hugging Face hub as samples: prompts with references."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

from common.config.base import OptionalText
from common.config.hub_revision import FromHub
from common.errors import UserError
from grue.tasks.row_columns import RowColumns, from_value
from grue.tasks.sources.hub_rows import Hub
from grue.tasks.task import TASKS, Sample, Split, Task


class HubDatasetArgs(RowColumns, FromHub):
    """Keys of the task of a hub data set's rows."""

    hub_id_key: ClassVar[str] = "dataset"

    dataset: str
    """Id on the hub, as in ``"openai/gsm8k"``."""
    config: OptionalText = None
    """Configuration of the data set, as in ``"main"``; None (or the empty string) for the only
    one."""
    train_split: str = "train"
    """The data set's name of the training split."""
    val_split: str = "validation"
    """The data set's name of the validation split."""
    test_split: str = "test"
    """The data set's name of the test split."""


@TASKS.register("hub_dataset")
class HubDataset(Task[HubDatasetArgs]):
    """Rows of a data set on the hub; further columns become metadata."""

    Args = HubDatasetArgs

    def samples(self, split: Split) -> list[Sample]:
        """Return one sample for each row."""
        args = self.args
        options = {} if args.config is None else {"name": args.config}
        hub = Hub(args.dataset, options, "for local rows take the task 'jsonl'")
        name = {"train": args.train_split, "val": args.val_split, "test": args.test_split}[split]
        where = f"the split '{name}' of {hub}"
        rows = hub.at(args.revision).load_named(name).to_list()
        if not rows:
            raise UserError(f"{where}: there are no rows; at least one is needed")
        samples = [
            args.sample(row, f"{where}, row {number}", from_value)
            for number, row in enumerate(rows, start=1)
        ]
        return args.in_form([replace(each, id=f"{split}_{i}") for i, each in enumerate(samples)])

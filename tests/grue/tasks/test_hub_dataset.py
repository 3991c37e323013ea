from __future__ import annotations

import pytest

from common.errors import UserError
from grue.tasks.config import TaskConfig
from tests.grue.tasks.conftest import HubCalls, parts, samples

ROWS = [{"question": "1+1", "answer": "2", "level": 1}, {"question": "2+3", "answer": "5"}]
COLUMNS = {"prompt_column": "question", "references_column": "answer"}


def test_rows_are_samples_by_their_columns(hub: HubCalls) -> None:
    hub.rows["some/sums:main"] = ROWS
    found = samples("hub_dataset", "val", dataset="some/sums", config="main", revision="v1",
                    val_split="dev", **COLUMNS)  # fmt: skip
    assert hub.asked == [("some/sums", {"name": "main", "revision": "v1", "split": "dev"})]
    assert parts(found) == [("val_0", "1+1", ("2",)), ("val_1", "2+3", ("5",))]
    assert found[0].metadata == {"level": 1}


def test_messages_are_prompts_of_chats(hub: HubCalls) -> None:
    chat = [{"role": "user", "content": "1+1"}]
    hub.rows["some/chats"] = [{"prompt": chat}]
    (found,) = samples(
        "hub_dataset", dataset="some/chats", references_column=None, chat_template=True
    )
    assert found.messages == chat and found.prompt == "1+1"


def test_what_is_wrong_is_told_with_its_place(hub: HubCalls) -> None:
    hub.rows["some/sums"] = ROWS
    with pytest.raises(UserError, match=r"split 'train' of 'some/sums', row 1: needs the columns"):
        samples("hub_dataset", dataset="some/sums")
    with pytest.raises(UserError, match="for local rows take the task 'jsonl'"):
        samples("hub_dataset", dataset="some/others", **COLUMNS)
    hub.rows["some/nothing"] = []
    with pytest.raises(UserError, match="there are no rows"):
        samples("hub_dataset", dataset="some/nothing", **COLUMNS)


def test_a_revision_is_of_something_on_the_hub(tmp_path) -> None:
    task = TaskConfig(id="hub_dataset", args={"dataset": str(tmp_path), "revision": "v1"})
    (problem,) = task.problems()
    assert "is a local file or folder" in problem.message

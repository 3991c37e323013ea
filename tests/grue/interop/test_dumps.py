"""Reading of what other trainers leave."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from common.errors import UserError
from grue.interop.dumps import read_samples


def verl(folder: Path, step: int, *rows: tuple[str, float], **extra: Any) -> Path:
    """A step's rollouts, as verl writes them."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{step}.jsonl"
    lines = [
        {"input": prompt, "output": f"o{place}", "gts": "x", "score": score, "step": step, **extra}
        for place, (prompt, score) in enumerate(rows)
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_an_input_is_a_prompt_of_a_step(tmp_path):
    verl(tmp_path / "r", 10, ("a", 0), ("b", 1), ("a", 1), ("b", 1), acc=0.5)
    verl(tmp_path / "r", 9, ("a", 1), ("a", 1))
    samples, rewards, _ = read_samples([tmp_path / "r"], "verl")
    assert rewards == ["score"]
    assert samples["step"].tolist() == [9, 9, 10, 10, 10, 10]
    assert samples["prompt"].tolist() == ["a", "a", "a", "a", "b", "b"]
    assert samples["index"].tolist() == [0, 0, 1, 1, 2, 2]
    assert samples["input_id"].tolist() == ["0", "0", "1", "1", "2", "2"]
    assert samples["sample_id"].tolist() == [0, 1, 0, 1, 0, 1]
    assert samples["output"].tolist() == ["o0", "o1", "o0", "o2", "o1", "o3"]
    assert samples["score"].tolist() == [1, 1, 0, 1, 1, 1]


def test_other_rewards_may_be_named(tmp_path):
    path = verl(tmp_path / "r", 1, ("a", 0), ("a", 1), acc=0.5)
    samples, rewards, _ = read_samples([path], "verl", ["acc", "score"])
    assert rewards == ["acc", "score"] and samples["acc"].tolist() == [0.5, 0.5]


def test_inputs_with_fewer_outputs_than_most_are_left_out(tmp_path, caplog):
    path = verl(tmp_path / "r", 1, ("a", 0), ("a", 1), ("b", 0), ("c", 0), ("c", 0))
    samples, *_ = read_samples([path], "verl")
    assert samples["prompt"].tolist() == ["a", "a", "c", "c"]
    assert samples["index"].tolist() == [0, 0, 1, 1]
    assert "1 of 3 inputs have not 2 outputs" in caplog.text


def test_plain_lines_have_a_prompt_an_output_and_numbers(tmp_path):
    path = tmp_path / "lines.jsonl"
    rows = [{"query": "a", "response": "x", "right": True, "style": 0.2, "note": "n"}] * 2
    path.write_text("\n".join(map(json.dumps, rows)))
    samples, rewards, _ = read_samples([path], "jsonl")
    assert rewards == ["right", "style"] and "step" not in samples
    assert samples["right"].tolist() == [1, 1]


def test_messages_of_chats_are_texts(tmp_path):
    path = tmp_path / "completions_00001.parquet"
    chat = [{"role": "user", "content": "hello"}]
    two = [*chat, {"role": "assistant", "content": "yes"}]
    pd.DataFrame(
        {"step": 1, "prompt": [two, two], "completion": [chat, chat], "r": [0.0, 1.0],
         "advantage": [0.0, 0.0]}
    ).to_parquet(path)  # fmt: skip
    samples, rewards, _ = read_samples([path], "trl")
    assert rewards == ["r"]
    assert samples["output"].tolist() == ["hello", "hello"]
    assert json.loads(samples["prompt"][0]) == two


@pytest.mark.parametrize(
    ("row", "format_name", "rewards", "message"),
    [
        ({"output": "x", "score": 1}, "verl", None, "no column input; there are output, score"),
        ({"input": "a", "output": "x"}, "verl", None, "--rewards score: no such column"),
        ({"prompt": "a", "output": "x"}, "jsonl", None, "no column of numbers is a reward"),
        ({"prompt": "a", "output": "x", "r": "high"}, "jsonl", ["r"], "holds 'high', no number"),
        ({"prompt": "a", "output": "x", "r": None}, "jsonl", ["r"],
         "is no finite number in 2 rows, the first is row 0"),
        ({"prompt": "a", "output": "x", "r": 1}, "trl", None, "is no file of --from trl"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(tmp_path, row, format_name, rewards, message):
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for _ in range(2)))
    with pytest.raises(UserError, match=message):
        read_samples([path], format_name, rewards)


def test_groups_files_and_folders_must_be_there(tmp_path):
    with pytest.raises(UserError, match="no prompt has two outputs"):
        read_samples([verl(tmp_path / "r", 1, ("a", 0), ("b", 1))], "verl")
    with pytest.raises(UserError, match="there is no such file"):
        read_samples([tmp_path / "none"], "verl")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"holds no \*.parquet"):
        read_samples([tmp_path / "empty"], "trl")

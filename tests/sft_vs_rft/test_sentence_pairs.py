"""Pairs of sentences from files, and the BERT that reads them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from common.errors import UserError
from common.machine.hub_offline import commits, forget_commits, go_offline_if_unreachable
from common.run.folder import read_json_lines
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import TextInputs
from sft_vs_rft.data.run_data import Data, make_data
from sft_vs_rft.models.build import build_model
from tests.conftest import Workplace, cache_as_hub
from tests.sft_vs_rft.conftest import stsb


def data_of(config: ControlledConfig) -> Data:
    return make_data(config, torch.device("cpu"))


def test_labels_are_scores_rounded_half_to_even(bert: str, pairs: Path) -> None:
    rows = [{"sentence1": "a", "sentence2": "b", "label": label}
            for label in (0.5, 1.5, 2.4, 2.5, 4.6, 5.0)]  # fmt: skip
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (pairs / "train.jsonl").write_text(text)
    assert data_of(stsb(bert, pairs)).train_labels.tolist() == [0, 2, 2, 2, 5, 5]


def test_chunks_hold_like_lengths_and_little_padding(bert: str, pairs: Path) -> None:
    inputs = data_of(stsb(bert, pairs)).train_inputs
    assert isinstance(inputs, TextInputs)
    positions = torch.randperm(120)
    chunks = inputs.chunks(positions, 64)
    assert sorted(torch.cat(chunks).tolist()) == list(range(120))
    assert max(map(len, chunks)) <= 32
    masks = [inputs.gather(chunk)["attention_mask"] for chunk in chunks]
    padding = 1 - sum(int(m.sum()) for m in masks) / sum(m.numel() for m in masks)
    assert padding < 0.25


def test_padding_does_not_change_logits(bert: str, pairs: Path) -> None:
    config = stsb(bert, pairs)
    inputs = data_of(config).train_inputs
    torch.manual_seed(0)
    model = build_model(config, (), 6).eval()
    with torch.no_grad():
        together = model(inputs.gather(torch.arange(20)))
        alone = torch.cat([model(inputs.gather(torch.tensor([i]))) for i in range(20)])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_other_formats_hold_the_same(bert: str, pairs: Path, tmp_path: Path, suffix: str) -> None:
    expected = data_of(stsb(bert, pairs))
    other = tmp_path / suffix
    other.mkdir()
    for part in ("train", "validation"):
        table = pd.read_json(pairs / f"{part}.jsonl", lines=True)
        path = other / f"{part}.{suffix}"
        if suffix == "csv":
            table.to_csv(path, index=False)
        else:
            table.to_parquet(path)
    found = data_of(stsb(bert, other))
    assert found.record == expected.record
    assert isinstance(found.train_inputs, TextInputs)
    assert isinstance(expected.train_inputs, TextInputs)
    assert torch.equal(found.train_inputs.ids, expected.train_inputs.ids)


def test_missing_columns_and_files_are_named(bert: str, pairs: Path) -> None:
    (pairs / "validation.jsonl").write_text('{"sentence1": "a", "score": 1}\n')
    with pytest.raises(UserError, match="validation lacks the columns sentence2, label; needed"):
        data_of(stsb(bert, pairs))
    (pairs / "validation.jsonl").unlink()
    with pytest.raises(UserError, match=r"there is none of .*validation.jsonl"):
        data_of(stsb(bert, pairs))


PAIR = '{"sentence2": "a", "sentence1": %s, "label": %s}\n'
CELLS = "a man,the dog,2.6\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", '{"sentence1": "a", "sentence2": "b", "label": null}\n', "'label' = None"),
        ("train.jsonl", '{"sentence1": "a", "sentence2": "b", "label": "x"}\n', "'label' = 'x'"),
        (
            "train.jsonl",
            '{"sentence1": 5, "sentence2": "b", "label": 1}\n',
            "'sentence1' = 5 is not",
        ),
        (
            "train.jsonl",
            '{"sentence1": "a", "sent',
            r"train.jsonl cannot be read \(JSON parse error",
        ),
        ("train.jsonl", "", "train.jsonl cannot be read"),
        ("train.csv", CELLS + "the cat,,2\n", "row 2: 'sentence2' = '' is not a text"),
        ("train.csv", CELLS + "a,b,\n", "row 2: 'label' = (nan|None) is not a score from 0 to 5"),
        ("train.csv", CELLS + "a,b,5.6\n", "row 2: 'label' = 5.6 is not a score"),
        ("train.csv", CELLS + 'a,"b,5\n', "train.csv cannot be read"),
        ("train.parquet", "PAR1 and no more", "train.parquet cannot be read .*[Mm]agic bytes"),
    ],
)
def test_rows_and_files_that_hold_no_pairs(
    bert: str, pairs: Path, name: str, content: str, message: str, caplog: pytest.LogCaptureFixture
) -> None:
    (pairs / "train.jsonl").unlink()
    header = "sentence1,sentence2,label\n" if name.endswith("csv") else ""
    (pairs / name).write_text(header + content)
    with pytest.raises(UserError, match=message):
        data_of(stsb(bert, pairs))
    assert not caplog.records  # which would be a second message


def test_words_of_a_csv_file_stay_words(bert: str, pairs: Path) -> None:
    (pairs / "train.jsonl").unlink()
    (pairs / "train.csv").write_text("sentence1,sentence2,label\nNone,12,1\nNA,15,2\n")
    inputs = data_of(stsb(bert, pairs)).train_inputs
    assert isinstance(inputs, TextInputs)
    assert inputs.lengths.tolist() == [5, 5]  # with [CLS] and two [SEP]


def edited(bert: str, folder: Path, **sizes: Any) -> str:
    """A copy of the very small BERT with other sizes."""
    shutil.copytree(bert.removeprefix("bert:"), folder)
    config = folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | sizes))
    return f"bert:{folder}"


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"vocab_size": 15}, "its vocabulary goes to 19, but 'vocab_size' = 15"),
        ({"type_vocab_size": 1}, "'type_vocab_size' must be 2"),
        ({"num_attention_heads": 3}, "no model can be made of its sizes"),
        ({"hidden_act": "foo"}, "no model can be made of its sizes"),
        ({"model_type": "gpt2"}, "is a gpt2, and only a bert can be made"),
        (None, "has no vocabulary"),
    ],
)
def test_berts_that_cannot_be_made(
    bert: str, pairs: Path, workplace: Workplace, sizes: dict[str, Any] | None, message: str
) -> None:
    model_type = edited(bert, workplace.path / "other", **(sizes or {}))
    if sizes is None:
        (workplace.path / "other/vocab.txt").unlink()
    base = {"dataset": "stsb", "data_path": str(pairs), "model_type": model_type}
    outcome = workplace.run_plan(workplace.write_plan(configurations=[{"base_config": base}]))
    assert outcome.status == 2
    assert f"  'model_type' = '{model_type}': " in outcome.err
    assert message in outcome.err


def test_pairs_are_cut_to_what_the_model_takes(bert: str, pairs: Path, tmp_path: Path) -> None:
    short = edited(bert, tmp_path / "short", max_position_embeddings=12)
    config = stsb(short, pairs)
    inputs = data_of(config).train_inputs
    assert isinstance(inputs, TextInputs)
    assert inputs.lengths.max() == 12
    assert build_model(config, (), 6)(inputs.gather(torch.arange(120))).shape == (120, 6)


def test_an_absent_hub_is_asked_once(
    bert: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub
    from huggingface_hub import constants

    asked = []

    class Nowhere:
        def head(self, *args: object, **kwargs: object) -> None:
            asked.append(args)
            raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "get_session", Nowhere)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    go_offline_if_unreachable.cache_clear()
    for name in ("nobody/one", "nobody/two"):
        with pytest.raises(UserError, match=f"'bert:{name}': {name} cannot be loaded"):
            data_of(stsb(f"bert:{name}", pairs))
    go_offline_if_unreachable.cache_clear()
    assert len(asked) == 1


def test_revisions_of_vocabulary_and_data_are_read(
    bert: str, pairs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cache has no default branch of the vocabulary."""
    import datasets
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    commit = cache_as_hub(tmp_path / "hub", "lab/bert", {"v1": Path(bert.removeprefix("bert:"))})
    expected, asked = data_of(stsb(bert, pairs)), []

    def load(kind: str, name: str, revision: str, split: str) -> datasets.Dataset:
        asked.append((kind, name, revision))
        return datasets.Dataset.from_list(read_json_lines(pairs / f"{split}.jsonl"))

    monkeypatch.setattr(datasets, "load_dataset", load)
    forget_commits()
    config = stsb("bert:lab/bert", pairs, model_revision="v1", data_revision="v2")
    config = config.model_copy(update={"data_path": None})
    assert list(config.problems()) == []
    assert torch.equal(data_of(config).train_labels, expected.train_labels)
    build_model(config, (), 6)
    assert asked == [("nyu-mll/glue", "stsb", "v2")] * 2
    assert commits() == {"lab/bert@v1": commit["v1"]}


def test_revisions_of_local_files_are_refused(bert: str, pairs: Path) -> None:
    config = stsb(bert, pairs, model_revision="v1", data_revision="v2")
    assert [problem.key for problem in config.problems()] == ["model_revision", "data_revision"]

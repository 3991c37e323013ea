from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from common.errors import UserError
from grue.tasks.config import TaskConfig
from grue.tasks.task import Split
from tests.grue.tasks.conftest import HubCalls, parts, samples, write_jsonl
from tests.grue.tasks.test_imdb import REVIEWS
from tests.grue.tasks.test_published_tasks import (
    ARTICLES,
    CONCEPTS,
    DIALOGUES,
    PAIRS,
    QUESTIONS,
    TURNS,
)
from tests.grue.tasks.test_totto import NOTES, TABLE

PARQUET = "refs/convert/parquet"
WMT = {"wmt_id": "wmt16", "source_language": "en", "target_language": "de"}


def _table() -> dict[str, Any]:
    return {**TABLE, "sentence_annotations": NOTES}


@pytest.mark.parametrize(
    ("name", "args", "rows", "asked"),
    [
        ("cnn_daily_mail", {}, ARTICLES, ("abisee/cnn_dailymail", {"name": "3.0.0"})),
        ("commongen", {}, CONCEPTS, ("allenai/common_gen", {})),
        ("daily_dialog", {"context_size": 2}, DIALOGUES, ("OpenRL/daily_dialog", {})),
        ("iwslt2017en_de", {}, PAIRS,
         ("IWSLT/iwslt2017", {"revision": PARQUET, "data_dir": "iwslt2017-de-en"})),
        ("wmt16", WMT, PAIRS, ("wmt/wmt16", {"name": "en-de"})),
        ("wmt16", {**WMT, "wmt_id": "some/wmt"}, PAIRS, ("some/wmt", {"name": "en-de"})),
        ("wmt16newsonly", {}, PAIRS, ("wmt/wmt16", {"name": "de-en"})),
        ("wmt14_processed_en_de", {}, PAIRS,
         ("stas/wmt14-en-de-pre-processed", {"revision": PARQUET})),
        ("totto", {}, [_table()], ("GEM/gem", {"revision": PARQUET, "data_dir": "totto"})),
        ("narrative_qa", {"source": "deepmind/narrativeqa"}, QUESTIONS,
         ("deepmind/narrativeqa", {})),
    ],
)  # fmt: skip
def test_each_task_asks_the_hub(
    hub: HubCalls, tmp_path: Path, name: str, args: dict[str, Any], rows: Any, asked: Any
) -> None:
    """The hub's rows give the samples that the same rows give from a file."""
    known = f"{asked[0]}:{asked[1]['name']}" if "name" in asked[1] else asked[0]
    hub.rows[known] = rows
    found = samples(name, "val", **args)
    assert hub.asked == [(asked[0], {**asked[1], "split": "validation"})]
    write_jsonl(tmp_path / "validation.jsonl", rows)
    local = samples(name, "val", path=tmp_path, **args)
    assert parts(found) == parts(local) != []


@pytest.mark.parametrize(
    ("split", "hub_split"), [("train", "train"), ("val", "validation"), ("test", "test")]
)
def test_splits_as_the_hub_names_them(hub: HubCalls, split: Split, hub_split: str) -> None:
    hub.rows["OpenRL/daily_dialog"] = DIALOGUES
    samples("daily_dialog", split, context_size=2)
    assert hub.asked[0][1]["split"] == hub_split


@pytest.mark.parametrize("name", ["imdb", "imdb_seq2seq"])
def test_imdb_reads_training_and_test_split_only(hub: HubCalls, name: str) -> None:
    hub.rows["stanfordnlp/imdb:plain_text"] = REVIEWS
    for split in ("train", "val", "test"):
        assert samples(name, split, seed=0)
    assert [options["split"] for _, options in hub.asked] == ["train", "train", "test"]


def test_wmt16newsonly_trains_on_news_commentary(hub: HubCalls) -> None:
    hub.rows["Helsinki-NLP/news_commentary:de-en"] = PAIRS
    assert len(samples("wmt16newsonly")) == 2


def test_wmt16_tries_both_orders_of_a_pair(hub: HubCalls) -> None:
    hub.rows["wmt/wmt16:de-en"] = PAIRS
    assert samples("wmt16", **WMT)[0].prompt == "two cats"
    assert [options["name"] for _, options in hub.asked] == ["en-de", "de-en"]
    hub.rows.clear()
    with pytest.raises(UserError, match=r"'wmt/wmt16', name='en-de' cannot be loaded"):
        samples("wmt16", **WMT)


def test_narrative_qa_is_read_as_published(hub: HubCalls) -> None:
    hub.rows["csv"] = [{"prompt": "Who? \\n a", "answer": answer} for answer in (" B", "c")]
    (found,) = samples("narrative_qa", "val")
    assert (found.prompt, found.references) == ("who? \\n a", ("b", "c"))
    ((_, options),) = hub.asked
    assert options["split"] == "validation"
    assert options["data_files"]["validation"].endswith("/unifiedqa/data/narrativeqa/dev.tsv")


def test_full_stories_stay_on_the_disk(hub: HubCalls, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    read: list[list[str]] = []
    to_list = datasets.Dataset.to_list

    def watched(dataset: datasets.Dataset) -> Any:
        read.append(dataset.column_names)
        return to_list(dataset)

    monkeypatch.setattr(datasets.Dataset, "to_list", watched)
    story = {"document": {**QUESTIONS[0]["document"], "text": "the story"}}
    hub.rows["deepmind/narrativeqa"] = [{**QUESTIONS[0], **story}]
    (found,) = samples("narrative_qa", source="deepmind/narrativeqa")
    assert found.prompt == "who meets bob? \\n ann meets bob."
    assert read == [["document.summary.text", "question.text", "answers"]]


def test_unifiedqa_files_are_read_by_the_library_as_by_us(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quotes and words such as NA are ordinary text."""
    import datasets

    (tmp_path / "dev.tsv").write_text('Who? \\n "a\tNA\nWho? \\n "a\t"null\nWhat?\t b"c"\n')
    local = samples("narrative_qa", "val", path=tmp_path)
    load = datasets.load_dataset

    def from_here(name: str, *, data_files: Any, **options: Any) -> Any:
        files = {"validation": str(tmp_path / "dev.tsv")}
        return load(name, data_files=files, cache_dir=str(tmp_path / "cache"), **options)

    monkeypatch.setattr(datasets, "load_dataset", from_here)
    assert parts(samples("narrative_qa", "val")) == parts(local)
    assert [found.references for found in local] == [("na", '"null'), ('b"c"',)]


def test_crd3_is_downloaded_and_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import json

    import datasets

    repository = tmp_path / "CRD3-master"
    for folder in ("aligned data", "cleaned data"):
        (repository / "data" / folder).mkdir(parents=True)
    (repository / "data/aligned data/val_files").write_text("C2E001\n")
    episode = json.dumps({"TURNS": TURNS})
    (repository / "data/cleaned data/C2E001.json").write_text(episode)

    class Manager:
        def download_and_extract(self, url: str) -> str:
            assert url.endswith("/CRD3/archive/refs/heads/master.zip")
            return str(tmp_path)

    monkeypatch.setattr(datasets, "DownloadManager", Manager)
    assert len(samples("crd3", "val", max_context_size=3)) == 2

    def unreachable(self: Manager, url: str) -> str:
        raise ConnectionError("no network")

    monkeypatch.setattr(Manager, "download_and_extract", unreachable)
    with pytest.raises(UserError, match=r"master.zip cannot be loaded \(ConnectionError: no net"
                       r"work\); set 'datapool.args.path' to"):  # fmt: skip
        samples("crd3", "val", max_context_size=3)


def test_an_unreachable_hub_is_one_message(hub: HubCalls) -> None:
    with pytest.raises(UserError) as raised:
        samples("iwslt2017en_de")
    assert str(raised.value) == (
        "the data set 'IWSLT/iwslt2017', revision='refs/convert/parquet', "
        "data_dir='iwslt2017-de-en' cannot be loaded from the hub (ConnectionError: no "
        "IWSLT/iwslt2017); set 'datapool.args.path' to a local file or folder of the same columns"
    )


def test_columns_of_the_hub_are_checked(hub: HubCalls) -> None:
    hub.rows["allenai/common_gen"] = [{"concepts": ["a"], "sentence": "b"}]
    with pytest.raises(UserError, match=r"the split 'val' of 'allenai/common_gen': needs the "
                       r"columns concept_set_idx, concepts, target; found concepts"):  # fmt: skip
        samples("commongen", "val")


class _Everywhere(dict[str, Any]):
    """The same rows in every data set."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> Any:
        return self.rows


@pytest.mark.parametrize(
    ("name", "args", "rows"),
    [
        ("imdb", {"seed": 1}, REVIEWS),
        ("cnn_daily_mail", {}, ARTICLES),
        ("commongen", {}, CONCEPTS),
        ("daily_dialog", {"context_size": 2}, DIALOGUES),
        ("iwslt2017en_de", {}, PAIRS),
        ("wmt16", WMT, PAIRS),
        ("wmt16newsonly", {"train_revision": "v1", "revision": "v2"}, PAIRS),
        ("wmt14_processed_en_de", {}, PAIRS),
        ("totto", {}, [_table()]),
        ("narrative_qa", {"source": "deepmind/narrativeqa"}, QUESTIONS),
        ("preferences", {"hub_id": "lab/preferences"},
         [{"prompt": "a", "chosen": "b", "rejected": "c"}]),
    ],
)  # fmt: skip
def test_a_revision_is_asked_for(hub: HubCalls, name: str, args: dict[str, Any], rows: Any) -> None:
    hub.rows = _Everywhere(rows)
    assert samples(name, **{"revision": "v1", **args})
    ((_, options),) = hub.asked
    assert options["revision"] == "v1"


def test_files_that_are_not_of_the_hub_have_no_revision() -> None:
    task = TaskConfig(id="narrative_qa", args={"revision": "v1"})
    (problem,) = task.problems()
    assert (problem.key, problem.value) == ("args.revision", "v1")

"""Folders of prompts, as the libraries that read them see them, and as this program reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset
from transformers import PreTrainedTokenizerFast

from grue.interop.prompt_folders import FILE, write_for_trl, write_for_verl
from tests.grue.conftest import save_model
from tests.grue.tasks.conftest import samples
from tests.tools import imported

CHAT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "2 + 2?"}]
ROWS: list[dict[str, Any]] = [
    {"prompt": "the cat", "references": ["sat"], "level": 1, "note": "x"},
    {"prompt": "a dog", "references": ["ran"], "level": 2, "note": 3},
]


def loaded(folder: Path, tmp_path: Path) -> list[dict[str, Any]]:
    return load_dataset(str(folder), split="train", cache_dir=str(tmp_path / "cache")).to_list()


def test_trl_finds_the_columns_as_they_are(tmp_path: Path) -> None:
    write_for_trl(ROWS, tmp_path / "keep")
    first, second = loaded(tmp_path / "keep", tmp_path)
    assert first == {"prompt": "the cat", "references": ["sat"], "level": 1, "note": '"x"'}
    assert second["note"] == "3"  # of several types


def test_verl_finds_its_columns(tmp_path: Path) -> None:
    rows = [{**ROWS[0], "prompt": CHAT}, ROWS[1]]
    write_for_verl(rows, tmp_path / "keep", "openai/gsm8k")
    first, second = loaded(tmp_path / "keep", tmp_path)
    assert first == {
        "data_source": "openai/gsm8k", "prompt": CHAT,
        "reward_model": {"style": "rule", "ground_truth": "sat"},
        "extra_info": {"level": 1, "note": '"x"', "index": 0},
    }  # fmt: skip
    assert second["prompt"] == [{"role": "user", "content": "a dog"}]
    assert second["extra_info"]["index"] == 1


def test_several_references_are_a_list_in_every_row(tmp_path: Path) -> None:
    rows = [ROWS[0], {"prompt": "a dog", "references": ["ran", "slept"]}, {"prompt": "b"}]
    write_for_verl(rows, tmp_path / "keep", "mine")
    found = [row["reward_model"]["ground_truth"] for row in loaded(tmp_path / "keep", tmp_path)]
    assert found == [["sat"], ["ran", "slept"], []]


def test_an_empty_list_leaves_no_earlier_file(tmp_path: Path) -> None:
    for write in (write_for_trl, lambda rows, folder: write_for_verl(rows, folder, "mine")):
        write(ROWS, tmp_path)
        assert (tmp_path / FILE).exists()
        write([], tmp_path)
        assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize("task", ["jsonl", "hub_dataset"])
def test_tasks_read_the_folders(tmp_path: Path, task: str) -> None:
    place = {"jsonl": "path", "hub_dataset": "dataset"}[task]
    write_for_trl(ROWS, tmp_path / "trl")
    one, _ = samples(task, **{place: str(tmp_path / "trl")})
    assert (one.prompt, one.references) == ("the cat", ("sat",))
    assert one.metadata["level"] == 1
    write_for_verl([{**row, "prompt": CHAT} for row in ROWS], tmp_path / "verl", "mine")
    one, _ = samples(task, **{place: str(tmp_path / "verl")}, chat_template=True,
                     references_column="reward_model.ground_truth")  # fmt: skip
    assert (one.messages, one.references) == (CHAT, ("sat",))
    assert one.metadata["extra_info"]["level"] == 1


@pytest.mark.filterwarnings("ignore")  # the trainer's own
def test_a_trainer_of_trl_steps_on_them(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    trl = imported("trl")
    model = save_model(tmp_path / "model", tokenizer)
    write_for_trl(ROWS, tmp_path / "keep")
    seen: list[Any] = []

    def reward(prompts: list[str], references: list[list[str]], **_: Any) -> list[float]:
        seen.extend(zip(prompts, references, strict=True))
        return [float(place % 2) for place in range(len(prompts))]

    settings = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=4, num_generations=2,
        max_completion_length=4, max_steps=1, use_cpu=True, bf16=False, save_strategy="no",
        report_to="none", disable_tqdm=True, activation_checkpointing=False,
    )  # fmt: skip
    rows = load_dataset(str(tmp_path / "keep"), split="train", cache_dir=str(tmp_path / "cache"))
    trainer = trl.GRPOTrainer(model=str(model), reward_funcs=reward, args=settings,
                              train_dataset=rows, processing_class=tokenizer)  # fmt: skip
    trainer.train()
    assert ("the cat", ["sat"]) in seen and ("a dog", ["ran"]) in seen

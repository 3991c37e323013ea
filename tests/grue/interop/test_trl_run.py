"""What TRL's folders tell of a run: weights of rewards, model, versions."""

from __future__ import annotations

import json
import pickle
import shutil
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from grue import diagnose
from grue.interop.dumps import Logged, read_samples
from grue.interop.inert_pickle import attributes
from grue.interop.reward_weights import weights_of
from grue.interop.trl_run import TrlRun, run_of
from plots.report import page
from tests.grue.conftest import save_model
from tests.tools import imported

CARD = """---
base_model: nobody/tiny
datasets: [some/sums, some/words]
library_name: transformers
---
This model was trained with GRPO, a method introduced in a paper.

### Framework versions

- TRL: 1.2.3
- Transformers: 4.5.6
"""


class Arguments:
    """Stands for a trainer's arguments, which the reader does not know."""

    def __init__(self, **values: Any) -> None:
        self.__dict__.update(values)


class Hostile:
    """Writes a file when it is unpickled as usual."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return Path.touch, (self.path,)


def logged(weights: list[float], *, scale: bool = True, **columns: list[float]) -> pd.DataFrame:
    """Groups of four outputs with random rewards, whose advantages are those of the weights."""
    generator = np.random.default_rng(0)
    rewards = {name: generator.normal(size=12) for name in "abc"[: len(weights)]}
    total = sum(weight * values for weight, values in zip(weights, rewards.values(), strict=True))
    groups = np.reshape(total, (3, 4))
    advantages = groups - groups.mean(1, keepdims=True)
    if scale:
        advantages /= groups.std(1, ddof=1, keepdims=True) + 1e-4
    return pd.DataFrame({
        "step": np.repeat([1, 1, 2], 4), "prompt": np.repeat(["x", "y", "x"], 4),
        "completion": [f"o{n}" for n in range(12)], **rewards, **columns,
        "advantage": advantages.ravel(),
    })  # fmt: skip


def left(folder: Path, table: pd.DataFrame, **arguments: Any) -> Path:
    """A trainer's folder; without arguments it has none."""
    (folder / "completions").mkdir(parents=True)
    table.to_parquet(folder / "completions/completions_00002.parquet")
    if arguments:
        (folder / "checkpoint-2").mkdir()
        torch.save(Arguments(**arguments), folder / "checkpoint-2/training_args.bin")
    return folder


def read(folder: Path, names: list[str] | None = None) -> tuple[Logged, TrlRun]:
    run = run_of([folder / "completions"])
    return read_samples([folder / "completions"], "trl", names, run), run


@pytest.mark.parametrize("scale", [True, False])
def test_weights_are_those_of_the_trainers_arguments(tmp_path: Path, scale: bool) -> None:
    table = logged([1.0, -0.5], scale=scale)
    found, run = read(left(tmp_path / "out", table, reward_weights=[1.0, -0.5]))
    weights = weights_of(found, run)
    assert weights.by_name == {"a": 1.0, "b": -0.5}
    (told,) = weights.sentences
    assert told.endswith("checkpoint-2/training_args.bin: a 1, b -0.5.")
    found, run = read(tmp_path / "out", ["b"])
    weights = weights_of(found, run)
    assert weights.by_name == {"b": -0.5}
    assert "trained on these too, which are left out: a 1." in weights.sentences[-1]


def test_without_weights_in_the_arguments_all_count_once(tmp_path: Path) -> None:
    found, run = read(left(tmp_path / "out", logged([1.0, 1.0]), reward_weights=None))
    weights = weights_of(found, run)
    assert weights.by_name == {"a": 1.0, "b": 1.0} and "a 1, b 1." in weights.sentences[0]
    alone, run = read(left(tmp_path / "alone", logged([1.0]), reward_weights=None))
    assert weights_of(alone, run).sentences == []


def test_what_the_sum_is_not_is_told(tmp_path: Path) -> None:
    table = logged([1.0, 2.0])
    found, run = read(left(tmp_path / "a", table, reward_weights=[2.0, 1.0]))
    assert "of 100% of the groups do not follow" in weights_of(found, run).sentences[-1]
    arguments = {"reward_weights": [1.0, 2.0], "multi_objective_aggregation": "normalize_then_sum"}
    found, run = read(left(tmp_path / "b", table, **arguments))
    assert "normalised each reward within its groups" in weights_of(found, run).sentences[-1]


def test_without_arguments_equal_weights_must_agree_with_the_advantages(tmp_path: Path) -> None:
    found, run = read(left(tmp_path / "equal", logged([1.0, 1.0])))
    weights = weights_of(found, run)
    assert weights.by_name == {"a": 1.0, "b": 1.0}
    assert "has no training_args.bin" in weights.sentences[0]
    assert weights.sentences[0].endswith("the logged advantages agree with that.")
    found, run = read(left(tmp_path / "other", logged([1.0, 0.2])))
    with pytest.raises(UserError, match=r"of 100% of the groups do not .* --reward_weights"):
        weights_of(found, run)
    assert weights_of(found, run, [1.0, 0.2]).by_name == {"a": 1.0, "b": 0.2}
    with pytest.raises(UserError, match=r"1 given for 2 rewards \(a, b\)"):
        weights_of(found, run, [1.0])


def test_without_advantages_equal_weights_are_told(tmp_path: Path) -> None:
    found, run = read(left(tmp_path / "out", logged([1.0, 0.2]).drop(columns="advantage")))
    assert weights_of(found, run).sentences[0].endswith("--reward_weights gives others.")
    assert "the files do not tell" in weights_of(found).sentences[0]


def test_columns_that_reward_functions_log_are_no_rewards(tmp_path: Path) -> None:
    table = logged([1.0, 0.5], length=[float(n) for n in range(12)])
    found, run = read(left(tmp_path / "weights", table, reward_weights=[1.0, 0.5]))
    assert found.rewards == found.every == ["a", "b"]
    folder = left(tmp_path / "log", table, reward_weights=None)
    history = [{"loss": 0.0}, {"rewards/a/mean": 0.1, "rewards/b/mean": 0.2, "reward": 0.3}]
    (folder / "checkpoint-2/trainer_state.json").write_text(json.dumps({"log_history": history}))
    found, run = read(folder)
    assert found.rewards == ["a", "b"]
    assert weights_of(found, run).by_name == {"a": 1.0, "b": 1.0}


def test_arguments_are_read_without_running_anything(tmp_path: Path) -> None:
    marker, path = tmp_path / "marker", tmp_path / "training_args.bin"
    torch.save(Arguments(harm=Hostile(marker), lr=0.1, weights=[1.0], device=torch.device("cpu"),
                         tensor=torch.zeros(2), more={"a": 1}), path)  # fmt: skip
    found = attributes(path)
    assert not marker.exists()
    assert (found["harm"], found["lr"], found["weights"], found["device"], found["more"]) == (
        None, 0.1, [1.0], "cpu", {"a": 1}
    )  # fmt: skip


def test_files_that_hold_no_arguments_are_passed_over(tmp_path: Path) -> None:
    folder = left(tmp_path / "out", logged([1.0, 0.5]), reward_weights=[1.0, 0.5])
    whole = folder / "checkpoint-2/training_args.bin"
    for content in (b"", b"no zip", whole.read_bytes()[:-40]):
        (folder / "training_args.bin").write_bytes(content)
        with pytest.raises(UserError, match="cannot be read as settings"):
            attributes(folder / "training_args.bin")
        assert read(folder)[1].read == whole
    with zipfile.ZipFile(folder / "training_args.bin", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps([1, 2]))
    with pytest.raises(UserError, match="holds no object with attributes"):
        attributes(folder / "training_args.bin")
    assert read(folder)[1].arguments["reward_weights"] == [1.0, 0.5]


def test_the_model_card_tells_model_data_and_versions(tmp_path: Path) -> None:
    folder = left(tmp_path / "out", logged([1.0]), seed=7)
    assert run_of([folder]).provenance() == {
        "trainer": None, "model": None, "dataset": None, "versions": {}, "seed": 7
    }  # fmt: skip
    (folder / "README.md").write_text(CARD)
    assert run_of([folder]).provenance() == {
        "trainer": "GRPO", "model": "nobody/tiny", "dataset": "some/sums, some/words",
        "versions": {"TRL": "1.2.3", "Transformers": "4.5.6"}, "seed": 7,
    }  # fmt: skip
    (folder / "README.md").write_text("---\n[: no yaml\n---\n")
    assert run_of([folder]).provenance()["model"] is None


def shown(out: Path) -> str:
    return page.write_report(out).read_text()


def test_a_diagnosis_weighs_and_tells_where_outputs_are_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = logged([1.0, -1.0]).assign(b=lambda rows: rows["a"], advantage=0.0)
    folder = left(tmp_path / "run", table, reward_weights=[1.0, -1.0])
    (folder / "README.md").write_text(CARD)
    out = tmp_path / "out"
    assert diagnose.main(["--from", "trl", str(folder), "--out", str(out)]) == 0
    assert "3 of 3 inputs are silent" in capsys.readouterr().out
    text = shown(out)
    assert "outputs from" in text and "TRL 1.2.3, Transformers 4.5.6" in text
    assert "nobody/tiny" in text and "advantage" not in pd.read_parquet(out / "samples.parquet")
    (folder / "README.md").unlink()
    given = ["--from", "trl", str(folder), "--reward_weights", "1", "1", "--out", str(out)]
    assert diagnose.main(given) == 0
    assert "0 of 3 inputs are silent" in capsys.readouterr().out
    assert "not told by their folder" in shown(out)


def test_a_part_may_be_called_as_the_sum_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = logged([1.0, 1.0]).rename(columns={"a": "reward"}).drop(columns="advantage")
    out = tmp_path / "out"
    folder = left(tmp_path / "run", table)
    assert diagnose.main(["--from", "trl", str(folder), "--out", str(out)]) == 0
    stats = pd.read_parquet(out / "reward_stats.parquet")
    means = {name: rows["mean"].to_numpy() for name, rows in stats.groupby("metric")}
    np.testing.assert_allclose(means["reward"], means["reward_parts/reward"] + means["b"])


@pytest.mark.slow
def test_a_real_run_of_trl_is_read(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, capsys: pytest.CaptureFixture[str]
) -> None:
    trl = imported("trl")
    from datasets import Dataset

    model = save_model(tmp_path / "model", tokenizer)

    def vowels(completions: list[str], log_extra: Any, **_: Any) -> list[float]:
        log_extra("rank", [float(n) for n in range(len(completions))])
        return [float(sum(text.count(vowel) for vowel in "aeiou")) for text in completions]

    def length(completions: list[str], **_: Any) -> list[float]:
        return [float(len(text)) for text in completions]

    settings = trl.GRPOConfig(
        output_dir=str(tmp_path / "out"), per_device_train_batch_size=8, num_generations=4,
        max_completion_length=8, max_steps=2, beta=0.0, use_cpu=True, bf16=False, logging_steps=1,
        save_steps=2, report_to="none", disable_tqdm=True, log_completions=True,
        reward_weights=[1.0, -0.25], activation_checkpointing=False, temperature=2.0,
    )  # fmt: skip
    trainer = trl.GRPOTrainer(
        model=str(model), reward_funcs=[vowels, length], args=settings,
        train_dataset=Dataset.from_list([{"prompt": "the cat"}, {"prompt": "a dog"}]),
        processing_class=tokenizer,
    )  # fmt: skip
    trainer.train()
    found, run = read(tmp_path / "out")
    assert found.every == ["vowels", "length"]
    weights = weights_of(found, run)
    assert weights.by_name == {"vowels": 1.0, "length": -0.25}
    assert len(weights.sentences) == 1  # the advantages agree
    assert run.provenance()["versions"]["TRL"] == trl.__version__
    assert run.provenance()["trainer"] == "GRPO"
    (tmp_path / "out/checkpoint-2/training_args.bin").unlink()
    shutil.rmtree(tmp_path / "out/runs", ignore_errors=True)
    found, run = read(tmp_path / "out")
    with pytest.raises(UserError, match="do not follow from equal ones"):
        weights_of(found, run)

"""Splits without references: what needs them is left out there, and the log says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from common.errors import UserError
from common.run.folder import read_json_lines
from grue import metrics
from grue.texts import Texts
from tests.conftest import Workplace
from tests.grue.conftest import save_model, write
from tests.grue.tasks.conftest import write_jsonl
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

PROMPTS = ("the cat", "a dog", "the hen", "one fox")
METRICS = [{"id": "rouge"}, {"id": "length"}, {"id": "chrf"}]
TOLD = "the split 'test' has no references, so these metrics of it are left out: rouge, chrf"


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def data(folder: Path, **missing: Any) -> dict[str, Any]:
    """Keys of the task; ``missing`` gives the references of splits that lack them."""
    folder.mkdir()
    for split, stem in (("train", "train"), ("val", "validation"), ("test", "test")):
        rows = [{"prompt": prompt, "references": f"{prompt} runs"} for prompt in PROMPTS]
        if split in missing:
            rows = [{**row, "references": missing[split]} for row in rows]
        write_jsonl(folder / f"{stem}.jsonl", rows)
    return {"datapool__id": "jsonl", "datapool__args": {"path": str(folder)}}


def common_gen(folder: Path) -> dict[str, Any]:
    folder.mkdir()
    for stem in ("train", "validation", "test"):
        target = "" if stem == "test" else "a dog runs"
        rows = [{"concept_set_idx": number, "concepts": ["dog", "run"], "target": target}
                for number in range(4)]  # fmt: skip
        write_jsonl(folder / f"{stem}.jsonl", rows)
    return {"datapool__id": "commongen", "datapool__args": {"path": str(folder)}}


def names_of(row: dict[str, Any], split: str) -> set[str]:
    return {name.split("/")[-1] for name in row if name.startswith(f"{split}/")}


@pytest.mark.parametrize("missing", [[], "", ["", " "], None])
def test_supervised_runs_leave_out_what_needs_references(
    workplace: Workplace, model: Path, missing: Any
) -> None:
    folder = workplace.path / "data"
    keys = common_gen(folder) if missing is None else data(folder, test=missing)
    run = finetuning(model, **keys, train_evaluation__metrics=METRICS,
                     alg__training_args__num_train_epochs=2,
                     log_entire_predictions=True)  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0
    (found,) = workplace.folders()
    rows = read_json_lines(found.metrics)
    for row in (rows[0], rows[-1]):
        assert names_of(row, "test") == {"length"}
        assert names_of(row, "val") == names_of(row, "train") > {"length", "chrf"}
    assert outcome.err.count(TOLD) == 1
    (predictions, *_) = sorted(found.path.glob("*_test_split_predictions.json"))
    assert list(json.loads(predictions.read_text())[0])[-1] == "lexical/length"


def test_reinforcement_runs_leave_it_out_of_every_evaluation(
    workplace: Workplace, model: Path
) -> None:
    keys = data(workplace.path / "data", test=[], val=[])
    run = reinforcement(model, **keys, train_evaluation__metrics=METRICS,
                        train_evaluation__n_iters=4, train_evaluation__eval_every=2,
                        train_evaluation__eval_test_set=True)  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 0
    (found,) = workplace.folders()
    for split in ("val", "test"):
        measured = [names_of(row, split) for row in read_json_lines(found.metrics)]
        assert [names for names in measured if names] == [{"length"}] * 3
        assert outcome.err.count(TOLD.replace("'test'", f"'{split}'")) == 1


def test_a_run_whose_metrics_are_all_left_out_ends_well_and_has_no_score(
    workplace: Workplace, model: Path
) -> None:
    keys = data(workplace.path / "data", test=[], val=[])
    run = reinforcement(model, **keys, train_evaluation__metrics=[{"id": "rouge"}],
                        train_evaluation__n_iters=2)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    (found,) = workplace.folders()
    summary = json.loads(found.summary.read_text())
    assert (summary["score"], summary["score_metric_name"], summary["last"]) == (None, None, {})
    assert [row["step"] for row in read_json_lines(found.metrics)] == [0, 1, 2, 2]


def test_a_split_with_some_references_is_refused_before_the_run(
    workplace: Workplace, model: Path
) -> None:
    keys = data(workplace.path / "data")
    file = workplace.path / "data/test.jsonl"
    write_jsonl(file, [{"prompt": "bare", "references": []}, *read_json_lines(file)])
    run = finetuning(model, **keys, train_evaluation__metrics=METRICS)
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert (
        "'train_evaluation.metrics[0]' = 'rouge': needs references, and the split 'test' has "
        "inputs without, such as 'bare'"
    ) in outcome.err
    with pytest.raises(UserError, match="'rouge' needs references, and the input 'bare' has none"):
        Texts(["bare", "b"], ["", ""], [[], ["c"]], [{}, {}]).check_references("rouge")


def test_the_column_of_references_is_asked_for_where_none_is_named(
    workplace: Workplace, model: Path
) -> None:
    keys = data(workplace.path / "data")
    keys["datapool__args"]["references_column"] = None
    run = reinforcement(model, **keys, train_evaluation__metrics=[], reward_fn__id="rouge",
                        reward_fn__args={"rouge_type": "rouge1"})  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert "name their column as 'datapool.args.references_column', or take it out" in outcome.err


def test_hints_without_references_are_refused_before_the_run(
    workplace: Workplace, model: Path
) -> None:
    keys = data(workplace.path / "data", train=[])
    run = reinforcement(model, "grpo", **keys, reward_fn__id="length",
                        alg__args__zero_std_groups="hint")  # fmt: skip
    outcome = workplace.run_plan(write(workplace, run))
    assert outcome.status == 2
    assert (
        "'alg.args.zero_std_groups' = 'hint': takes hints from references, and the split 'train' "
        "has inputs without, such as 'the cat'"
    ) in outcome.err


NEEDING = {
    "bert_score", "bleu", "bleu_totto", "bleurt", "causal_perplexity", "chrf", "cider",
    "exact_answer", "math_verify", "meteor", "meteor_common_gen_repeat_penalty", "parent_totto",
    "rouge", "rouge_l_max", "sacre_bleu", "spice", "ter",
}  # fmt: skip
ARGS = {"causal_perplexity": {"stride": 4}, "spice": {"jar": "SPICE-1.0.jar"}}


@pytest.mark.parametrize("name", metrics.METRICS.names())
def test_metrics_that_refuse_texts_without_references_are_known(name: str) -> None:
    part = metrics.find(name)
    if name not in NEEDING:
        assert not part.needs_references
        return
    metric = part(part.Args.model_validate(ARGS.get(name, {})))
    assert metric.needs_references
    if name != "causal_perplexity":  # which asks when it has a policy
        with pytest.raises(UserError, match="needs references, and the input 'why'"):
            metric.scores(Texts(["why"], ["an output"], [()], [{"raw_table": {}}]))


def test_a_perplexity_of_the_metadata_needs_no_references() -> None:
    part = metrics.find("causal_perplexity")
    args = part.Args(stride=4, use_text_from_meta_data=True)
    assert not part(args).needs_references

"""What earlier stages will make, data of all splits and names: looked at before any run starts."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from transformers import PreTrainedTokenizerFast

from tests.conftest import TINY_DIGITS, Outcome, Workplace
from tests.grue.conftest import save_model, write
from tests.grue.tasks.conftest import write_jsonl
from tests.grue.test_extract import extraction
from tests.grue.test_finetune import finetuning
from tests.grue.test_reinforcement import reinforcement

WORDS = [{"id": "word_game", "args": {"num_samples": 40}}]
CLASSIFIER = {"experiment": "grue_classifier", "alg.init": "random"}
REWARDS = {"experiment": "reward_model", "alg.loss.id": "pairwise"}
LATER: Any = "@pretrain.model"


def new(name: str = "new", **keys: Any) -> dict[str, Any]:
    """A stage that makes a model of 32 positions."""
    sizes = {"n_layer": 1, "n_embd": 16, "n_head": 2}
    return {"id": name, "experiment": "grue_new_model", "experiment_name": name,
            "datapools": WORDS, "vocab_size": 300, "architecture": sizes,
            "max_length": 32, **keys}  # fmt: skip


def pretrain(name: str = "pretrain", base: Any = "@new.model", **keys: Any) -> dict[str, Any]:
    return {"id": name, **finetuning(base, experiment_name=name, alg__policy__init="random",
                                     **keys)}  # fmt: skip


STAGES = [
    new(),
    pretrain(),
    new("other", vocab_size=310),
    new("t5", model_type="t5", architecture={}, vocab_size=320),
    {"id": "labels", **extraction(LATER, experiment_name="labels")},
]
BEAMS = {"do_sample": True, "top_k": 0, "max_new_tokens": 40}

WRONG: list[tuple[str, dict[str, Any]]] = [
    (r"'alg\.policy\.id' = 'seq2seq_lm_actor_critic_policy': '@pretrain\.model' is a causal model; "
     r"set it to 'causal_lm_actor_critic_policy'",
     reinforcement(LATER, alg__policy__id="seq2seq_lm_actor_critic_policy")),
    (r"'alg\.model_type' = 'causal': '@t5\.model' is a seq2seq model; set it to 'seq2seq'",
     finetuning(Path("@t5.model"), alg__policy__init="random")),
    (r"'alg\.generation_kwargs\.max_new_tokens' = 40: leaves no room for a prompt among the "
     r"model's 32 positions; lower it to 31 or less",
     extraction(LATER, alg__generation_kwargs=BEAMS)),
    (r"'env\.args\.max_episode_length' = 36: leaves no room",
     reinforcement(LATER, env__args={"max_prompt_length": 10, "max_episode_length": 36},
                   alg__policy__args__generation_kwargs=BEAMS,
                   train_evaluation__generation_kwargs={"max_new_tokens": 4})),
    (r"the tokenizer '@other\.model' has another vocabulary than the model '@pretrain\.model'",
     finetuning(LATER, tokenizer__model_name="@other.model")),
    (r"'alg\.model_name' = '@new\.model': the folder holds no weights; set alg\.policy\.init",
     finetuning(Path("@new.model"))),
    (r"'datapool\.args\.held_out' = 0\.0: one file holds the training split alone, and this run "
     r"also reads 'val'; set it above 0, for example 0\.1",
     {**REWARDS, "tokenizer.model_name": LATER, "alg.model_name": LATER,
      "datapool.id": "ranked_samples",
      "datapool.args": {"path": "@labels.samples", "metric": "lexical/overlap"}}),
    (r"'alg\.model_name' = '@judge\.model': is a model that rewards texts and writes none",
     finetuning(Path("@judge.model"))),
    (r"'reward_fn\.args\.model_name' = '@pretrain\.model': is a model that writes texts and judges "
     r"none; name a stage of the experiment 'reward_model'",
     reinforcement(LATER, reward_fn={"id": "learned_preference",
                                     "args": {"model_name": "@pretrain.model"}})),
    (r"'train_evaluation\.metrics\[0\]\.args\.model_name' = '@new\.model': is a model that writes "
     r"texts and judges none; name a stage of the experiment 'grue_classifier'",
     finetuning(LATER, train_evaluation__metrics=[
         {"id": "learned_reward", "args": {"model_name": "@new.model", "label_ix": 0}}])),
    (r"'alg\.model_name' = 'outputs/no/such/model': there is no such folder, and ids on the hub",
     finetuning(Path("outputs/no/such/model"), tokenizer__model_name=LATER)),
    (r"'tokenizer\.model_name' = 'nobody/nothing': there is no such folder, it is not in the hub",
     finetuning(LATER, tokenizer__model_name="nobody/nothing")),
]  # fmt: skip
JUDGE = {"id": "judge", **REWARDS, "experiment_name": "judge", "tokenizer.model_name": LATER,
         "alg.model_name": LATER, "datapool.id": "ranked_samples",
         "datapool.args": {"path": "@labels.samples", "metric": "lexical/overlap",
                           "held_out": 0.2}}  # fmt: skip


def refused(workplace: Workplace, *runs: dict[str, Any]) -> dict[int, str]:
    """What is told of each configuration of a plan that is refused."""
    outcome: Outcome = workplace.run_plan(write(workplace, *runs))
    assert outcome.status == 2, outcome.out + outcome.err
    assert not workplace.folders()
    blocks = re.split(r"plan\.json, configurations\[(\d+)\]:", outcome.err)
    return {int(number): text for number, text in zip(blocks[1::2], blocks[2::2], strict=True)}


def test_what_stages_will_make_is_known_before_they_do(workplace: Workplace) -> None:
    wrong = [{**run, "experiment_name": f"wrong_{i}"} for i, (_, run) in enumerate(WRONG)]
    told = refused(workplace, *STAGES, JUDGE, *wrong)
    first = len(STAGES) + 1
    assert set(told) == set(range(first, first + len(WRONG)))
    for number, (message, _) in enumerate(WRONG, start=first):
        assert re.search(message, told[number]), told[number]
        assert told[number].count("\n  ") == 1, told[number]


def test_of_stages_that_are_done_the_files_are_looked_at(workplace: Workplace) -> None:
    late = finetuning(Path("@new.model"), experiment_name="late", alg__policy__init="random",
                      train_evaluation__generation_kwargs={"max_new_tokens": 40})  # fmt: skip
    assert workplace.run_plan(write(workplace, new())).status == 0
    outcome = workplace.run_plan(write(workplace, new(), late))
    assert outcome.status == 2
    assert "leaves no room for a prompt among the model's 32 positions" in outcome.err
    assert len(workplace.folders()) == 1


@pytest.fixture
def model(tmp_path: Path, tokenizer: PreTrainedTokenizerFast) -> Path:
    return save_model(tmp_path / "model", tokenizer)


def rows(path: Path, count: int = 10, **row: Any) -> str:
    made = [{"prompt": f"cat {i}", "references": ["runs"], **row} for i in range(count)]
    write_jsonl(path, made)
    return str(path)


def test_all_splits_are_looked_at(workplace: Workplace, model: Path) -> None:
    one = {"datapool__id": "jsonl", "datapool__args": {"path": rows(workplace.path / "one.jsonl")}}
    folder = workplace.path / "data"
    folder.mkdir()
    rows(folder / "train.jsonl"), rows(folder / "test.jsonl")
    (folder / "validation.jsonl").write_text("{no JSON\n")
    damaged = {"datapool__id": "jsonl", "datapool__args": {"path": str(folder)}}
    told = refused(
        workplace,
        finetuning(model, experiment_name="a", **one),
        reinforcement(model, experiment_name="b", **damaged),
    )
    assert "10 samples leave none for the split 'val'" in told[0]
    assert "10 samples leave none for the split 'test'" in told[0]
    assert "validation.jsonl': the file cannot be read: line 1" in told[1]


def test_missing_references_are_found_where_they_are_needed(
    workplace: Workplace, model: Path
) -> None:
    bare = rows(workplace.path / "bare.jsonl", references=[])
    keys = {"datapool__id": "jsonl", "datapool__args": {"path": bare, "held_out": 0.2}}
    wanting = [{"id": "length"}, {"id": "rouge"}]
    told = refused(
        workplace,
        finetuning(model, experiment_name="a", **keys, train_evaluation__metrics=[]),
        extraction(model, experiment_name="b", **keys, evaluation__metrics=wanting),
        reinforcement(model, experiment_name="c", **keys, reward_fn__id="rouge",
                      reward_fn__args={"rouge_type": "rouge1"},
                      train_evaluation__metrics=wanting),
    )  # fmt: skip
    assert "none of 6 training samples has a reference" in told[0]
    assert "'evaluation.metrics[1]' = 'rouge': needs references, and the split 'train'" in told[1]
    assert "'reward_fn' = 'rouge': needs references, and the split 'train'" in told[2]
    assert "metrics[1]" not in told[2]  # which evaluations leave out


def test_a_tokenizer_of_another_vocabulary_is_refused(
    workplace: Workplace, model: Path, tmp_path: Path
) -> None:
    from grue.experiments.new_model.tokenizer import byte_pairs

    other = tmp_path / "other"
    byte_pairs(iter(["quite other words, wholly"] * 4), 280, 64).save_pretrained(other)
    changed = {"tokenizer__model_name": str(other)}
    told = refused(workplace, extraction(model, **changed))
    assert re.search(r"has another vocabulary than the model '.*': the id \d+ is '.+' for one and "
                     r"'.+' for the other; take the tokenizer", told[0])  # fmt: skip
    runs = finetuning(model, **changed, alg__policy__init="random",
                      alg__training_args__max_steps=1)  # fmt: skip
    assert workplace.run_plan(write(workplace, runs)).status == 0


def test_missing_packages_and_data_are_told_by_a_dry_run_too(
    workplace: Workplace, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import nltk

    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr("common.packages.is_installed", lambda module: False)
    meteor = {"train_evaluation__metrics": [{"id": "length"}, {"id": "meteor"}]}
    plan = write(
        workplace,
        finetuning(model, experiment_name="a", **meteor),
        finetuning(model, experiment_name="b", **meteor, alg__policy__lora={}),
        reinforcement(model, log_to_wandb=True),
        {"experiment": "sft_vs_rft", **TINY_DIGITS, "use_tensorboard": True},
    )
    dry, real = workplace.run_plan(plan, "--dry_run"), workplace.run_plan(plan)
    assert (dry.status, real.status) == (2, 2)
    assert "4 runs in" in dry.out
    assert dry.err == real.err
    for place, key, command in (
        (r"configurations\[0\] and 1 more", r"train_evaluation\.metrics\[1\]\.id' = 'meteor'",
         r"python -m nltk\.downloader wordnet"),
        (r"configurations\[1\]", r"alg\.policy\.lora\.r' = 16", "python -m pip install peft"),
        (r"configurations\[2\]", "log_to_wandb' = true", "python -m pip install wandb"),
        (r"configurations\[3\]", "use_tensorboard' = true", "python -m pip install tensorboard"),
    ):  # fmt: skip
        assert len(re.findall(rf"plan\.json, {place}:\n  '{key}: .*{command}", dry.err)) == 1
    assert not workplace.folders()
    assert workplace.run_plan(plan, "--status").status == 0

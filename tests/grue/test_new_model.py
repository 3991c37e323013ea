"""New models: a folder with a tokenizer for the task's texts, and a configuration that fits it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoConfig, AutoTokenizer

from tests.conftest import Workplace
from tests.grue.conftest import write


def _new_model(**changes: object) -> dict[str, object]:
    task = {"id": "word_game", "args": {"num_samples": 40}}
    return {
        "experiment": "grue_new_model",
        "datapools": [task],
        "vocab_size": 300,
        "architecture": {"n_layer": 1, "n_embd": 16, "n_head": 2},
        "max_length": 32,
        **changes,
    }


def _made(workplace: Workplace) -> Path:
    (folder,) = workplace.folders()
    return folder.path / "model"


def test_the_tokenizer_gives_texts_back_and_the_configuration_fits_it(
    workplace: Workplace,
) -> None:
    assert workplace.run_plan(write(workplace, _new_model())).status == 0
    tokenizer = AutoTokenizer.from_pretrained(_made(workplace))
    config = AutoConfig.from_pretrained(_made(workplace))
    assert len(tokenizer) <= 300 and config.vocab_size == len(tokenizer)
    assert (config.n_layer, config.n_positions) == (1, 32)
    assert tokenizer.eos_token_id == config.eos_token_id == tokenizer.pad_token_id
    for text in ("say bade :", "unseen ÄÖ 漢字  two blanks\n"):
        assert tokenizer.decode(tokenizer(text)["input_ids"]) == text


def test_more_of_the_same_text_makes_the_same_vocabulary(workplace: Workplace) -> None:
    plan = write(workplace, _new_model())
    assert workplace.run_plan(plan).status == 0
    first = (_made(workplace) / "tokenizer.json").read_bytes()
    assert workplace.run_plan(plan, "--fresh").status == 0
    assert (_made(workplace) / "tokenizer.json").read_bytes() == first


def test_sizes_that_the_architecture_does_not_know_are_refused(workplace: Workplace) -> None:
    plan = write(workplace, _new_model(architecture={"n_layers": 1}))
    outcome = workplace.run_plan(plan)
    assert outcome.status == 2
    assert "'architecture.n_layers': unknown to gpt2" in outcome.err
    assert workplace.files() == []


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"n_layer": "1"}, "'architecture' = {'n_layer': '1'}: gpt2 does not take it: "),
        ({"n_embd": 15, "n_head": 2}, "'architecture' = {'n_embd': 15, 'n_head': 2}: gpt2 does "
         "not take it: "),
        ({"activation_function": "foo"}, "'architecture' = {'activation_function': 'foo'}: "),
        ({"vocab_size": 7}, "'architecture.vocab_size' = 7: has a key of its own, 'vocab_size'"),
        ({"n_positions": 7}, "'architecture.n_positions' = 7: has a key of its own, 'max_length'"),
        ({"n_a": 1, "n_b": 1}, "'architecture.n_a', 'architecture.n_b': unknown to gpt2"),
    ],
)  # fmt: skip
def test_sizes_that_make_no_model_are_refused(
    workplace: Workplace, sizes: dict[str, Any], message: str
) -> None:
    outcome = workplace.run_plan(write(workplace, _new_model(architecture=sizes)))
    assert outcome.status == 2
    assert message in outcome.err and "raised" not in outcome.err
    assert workplace.files() == []


def test_data_are_told_by_the_key_that_names_them(workplace: Workplace) -> None:
    (workplace.path / "a.jsonl").write_text('{"prompt": "a"}\n')
    pools = [{"id": "word_game"}, {"id": "jsonl", "args": {"path": "a.jsonl"}}]
    outcome = workplace.run_plan(write(workplace, _new_model(datapools=pools)))
    assert outcome.status == 2
    assert "'datapools[1].args.path' = 'a.jsonl', line 1: needs the columns" in outcome.err
    assert "set 'datapools[1].args.prompt_column'" in outcome.err
    assert "'datapool." not in outcome.err


@pytest.mark.parametrize(
    ("kind", "architecture"),
    [
        ("gpt2", {"n_layer": 1, "n_embd": 16, "n_head": 2}),
        ("t5", {"num_layers": 1, "d_model": 16, "d_kv": 8, "d_ff": 16, "num_heads": 2}),
        ("bart", {"encoder_layers": 1, "decoder_layers": 1, "d_model": 16,
                  "encoder_attention_heads": 2, "decoder_attention_heads": 2}),
    ],
)  # fmt: skip
def test_words_make_a_vocabulary_for_every_architecture(
    workplace: Workplace, kind: str, architecture: dict[str, int]
) -> None:
    task = {"id": "dummy_pool", "args": {"prompt": "7 5 7 7 5 seven", "n_samples": 1}}
    run = _new_model(datapools=[task], vocabulary="words", vocab_size=5, model_type=kind,
                     architecture=architecture)  # fmt: skip
    assert workplace.run_plan(write(workplace, run)).status == 0
    tokenizer = AutoTokenizer.from_pretrained(_made(workplace))
    config = AutoConfig.from_pretrained(_made(workplace))
    special = 1 if kind == "gpt2" else 2  # outputs of encoder-decoder models begin with padding
    assert tokenizer("7 5 seven")["input_ids"] == [special, special + 1, special + 2]
    assert tokenizer.decode([special, special + 1, tokenizer.eos_token_id],
                            skip_special_tokens=True) == "7 5"  # fmt: skip
    assert config.vocab_size == len(tokenizer) == special + 3
    if kind != "gpt2":
        assert config.decoder_start_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_byte_pairs_need_room_for_the_bytes(workplace: Workplace) -> None:
    outcome = workplace.run_plan(write(workplace, _new_model(vocab_size=100)))
    assert outcome.status == 2
    assert "'vocab_size' = 100: byte pairs need at least 258" in outcome.err

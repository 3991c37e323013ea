"""New models: a folder with a tokenizer for the task's texts, and a configuration that fits it."""

from __future__ import annotations

from pathlib import Path

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

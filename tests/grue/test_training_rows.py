"""Token rows: what is learned of prompts and references."""

from __future__ import annotations

import torch
from transformers import PreTrainedTokenizerFast

from grue.supervised.rows import IGNORED, collate, make_rows
from grue.tasks.task import Sample

SAMPLES = [
    Sample("a", "the cat", ("sat on the mat", "runs")),
    Sample("b", "a dog ", ("runs",)),
    Sample("c", "no answer", ()),
]


def _texts(tokenizer: PreTrainedTokenizerFast, rows: object) -> list[str]:
    return [tokenizer.decode(row["input_ids"]) for row in rows.rows]  # type: ignore[attr-defined]


def test_each_reference_makes_a_row_and_a_blank_joins_it(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = make_rows(SAMPLES, tokenizer, "causal", limit=60)
    assert _texts(tokenizer, rows) == ["the cat sat on the mat", "the cat runs", "a dog runs"]
    assert all(row["labels"] == row["input_ids"] for row in rows.rows)


def test_published_runs_glued_prompt_and_reference(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = make_rows(SAMPLES, tokenizer, "causal", limit=60, join_with_blank=False)
    assert _texts(tokenizer, rows)[:2] == ["the catsat on the mat", "the catruns"]


def test_a_masked_prompt_is_not_learned_and_the_end_is(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = make_rows(SAMPLES, tokenizer, "causal", limit=60, append_eos=True, mask_prompt=True)
    for row, answer in zip(rows.rows, (" sat on the mat", " runs", " runs"), strict=True):
        learned = [label for label in row["labels"] if label != IGNORED]
        assert tokenizer.decode(learned[:-1]) == answer
        assert learned[-1] == tokenizer.eos_token_id == row["input_ids"][-1]
        # The blank at the prompt's end is part of the answer's first token.
        assert row["input_ids"][-len(learned) :] == learned


def test_an_encoder_decoder_reads_the_prompt_and_learns_the_reference(
    tokenizer: PreTrainedTokenizerFast,
) -> None:
    rows = make_rows(SAMPLES, tokenizer, "seq2seq", limit=60)
    assert _texts(tokenizer, rows) == ["the cat", "the cat", "a dog "]
    answers = [tokenizer.decode(row["labels"]) for row in rows.rows]
    assert answers == ["sat on the mat", "runs", "runs"]


def test_long_rows_are_cut_on_the_right(tokenizer: PreTrainedTokenizerFast) -> None:
    whole = make_rows(SAMPLES, tokenizer, "causal", limit=60).rows
    short = make_rows(SAMPLES, tokenizer, "causal", limit=3).rows
    for row, cut in zip(whole, short, strict=True):
        assert cut["input_ids"] == row["input_ids"][:3]
        assert cut["labels"] == row["labels"][:3]


def test_padding_is_neither_read_nor_learned(tokenizer: PreTrainedTokenizerFast) -> None:
    rows = make_rows(SAMPLES, tokenizer, "causal", limit=60).rows
    batch = collate(rows, pad_token=7)
    lengths = [len(row["input_ids"]) for row in rows]
    assert batch["attention_mask"].sum(-1).tolist() == lengths
    padding = batch["attention_mask"] == 0
    assert bool(padding.any())
    assert torch.equal(batch["labels"] == IGNORED, padding)
    assert (batch["input_ids"][padding] == 7).all()

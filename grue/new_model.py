"""Making a folder with a tokenizer and a configuration, from which training starts at random."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from common.errors import Problem, UserError
from common.experiment import Context
from common.plan import Run
from common.run_folder import write_json
from grue.new_model_config import NewModelConfig

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerFast

MODEL = "model"
END = "<|endoftext|>"


def check(runs: Sequence[Run]) -> list[Problem]:
    """Sizes that the architecture does not know."""
    problems = []
    for run in runs:
        assert isinstance(run.config, NewModelConfig)
        try:
            _architecture(run.config, vocab_size=run.config.vocab_size)
        except UserError as error:
            problems.append(Problem(str(error), where=run.where))
    return problems


def run(config: NewModelConfig, context: Context) -> float:
    """Makes the folder; the score is the size of the vocabulary."""
    tokenizer = train_tokenizer(texts(config), config.vocab_size, config.max_length)
    beside, target = context.folder.path / f".{MODEL}", context.folder.path / MODEL
    shutil.rmtree(beside, ignore_errors=True)
    tokenizer.save_pretrained(beside)
    _architecture(config, vocab_size=len(tokenizer)).save_pretrained(beside)
    shutil.rmtree(target, ignore_errors=True)
    beside.replace(target)
    write_json(context.folder.summary, {"score": float(len(tokenizer))})
    return float(len(tokenizer))


def texts(config: NewModelConfig) -> Iterator[str]:
    """Prompts and references of all training samples."""
    for task in config.datapools:
        for sample in task.build().samples("train"):
            for reference in sample.references or ("",):
                yield sample.prompt + reference


def train_tokenizer(
    texts: Iterator[str], vocab_size: int, max_length: int
) -> PreTrainedTokenizerFast:
    """A byte-level byte-pair tokenizer, as GPT-2's, whose only special token ends a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=END,
        eos_token=END,
        pad_token=END,
        model_max_length=max_length,
    )


def _architecture(config: NewModelConfig, *, vocab_size: int):  # type: ignore[no-untyped-def]
    """The architecture's transformers configuration.

    Raises:
        UserError: it knows no such size.
    """
    from transformers import GPT2Config

    known = GPT2Config().to_dict()
    unknown = [name for name in config.architecture if name not in known]
    if unknown:
        raise UserError(
            f"'architecture.{unknown[0]}': unknown to {config.model_type}; known are for example "
            "n_layer, n_embd, n_head"
        )
    return GPT2Config(
        **{
            "vocab_size": vocab_size,
            "n_positions": config.max_length,
            "bos_token_id": 0,
            "eos_token_id": 0,
            **config.architecture,
        }
    )

"""Making of a folder with a tokenizer and a configuration, for training from random weights."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from common.experiment import Context
from common.run.folder import replacing_folder
from common.run.summary import write_summary
from grue.experiments.new_model.config import NewModelConfig
from grue.experiments.new_model.tokenizer import END, PADDING, byte_pairs, words
from grue.tasks.inputs import read_samples

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

MODEL = "model"
_ELSEWHERE = {
    "vocab_size": "vocab_size",
    "n_positions": "max_length",
    "max_position_embeddings": "max_length",
}
"""Sizes of an architecture that have a key of their own."""
_EXAMPLES = {
    "gpt2": "n_layer, n_embd, n_head",
    "t5": "num_layers, d_model, d_kv, d_ff, num_heads",
    "bart": "encoder_layers, decoder_layers, d_model",
}


def refused(config: NewModelConfig, error: Exception) -> UserError:
    """Return the error of sizes that the library refuses."""
    reason = " ".join(str(error).split())
    kind = config.model_type
    return UserError(f"'architecture' = {config.architecture}: {kind} does not take it: {reason}")


def run(config: NewModelConfig, context: Context) -> float:
    """Make the folder; the score is the size of the vocabulary."""
    make = words if config.vocabulary == "words" else byte_pairs
    tokenizer = make(
        texts(config, context.seed),
        config.vocab_size,
        config.max_length,
        padding=_padding(config.model_type),
    )
    with replacing_folder(context.folder.path / MODEL) as made:
        tokenizer.save_pretrained(made)
        architecture(config, len(tokenizer), tokenizer).save_pretrained(made)
    write_summary(context.folder, float(len(tokenizer)), "vocabulary size")
    return float(len(tokenizer))


def texts(config: NewModelConfig, seed: int) -> Iterator[str]:
    """Yield prompts and references of all training samples."""
    for task in config.datapools:
        for sample in read_samples(task, "train", seed=seed):
            for reference in sample.references or ("",):
                yield sample.prompt + reference


def _padding(model_type: str) -> str:
    """Return the padding token.

    An encoder-decoder model's outputs begin with it, so it is not END.
    """
    return END if model_type == "gpt2" else PADDING


def architecture(
    config: NewModelConfig, vocab_size: int, tokenizer: PreTrainedTokenizerFast | None = None
) -> PretrainedConfig:
    """Return the architecture's transformers configuration.

    Raises:
        UserError: the architecture does not know a size, or refuses it.
    """
    from transformers import AutoConfig

    known = AutoConfig.for_model(config.model_type)
    unknown = [name for name in config.architecture if name not in known.to_dict()]
    if unknown:
        named = ", ".join(f"'architecture.{name}'" for name in unknown)
        raise UserError(
            f"{named}: unknown to {config.model_type}; known are for example "
            f"{_EXAMPLES[config.model_type]}"
        )
    for name in _ELSEWHERE.keys() & config.architecture.keys():
        raise UserError(
            f"'architecture.{name}' = {config.architecture[name]}: has a key of its own, "
            f"'{_ELSEWHERE[name]}'; give it there"
        )
    end, padding = (0, 0) if tokenizer is None else (tokenizer.eos_token_id, tokenizer.pad_token_id)
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "eos_token_id": end, "bos_token_id": end}
    if config.model_type == "gpt2":
        sizes["n_positions"] = config.max_length
    else:
        sizes |= {"pad_token_id": padding, "decoder_start_token_id": padding}
    if config.model_type == "bart":
        sizes |= {"max_position_embeddings": config.max_length, "forced_eos_token_id": None}
    try:
        return AutoConfig.for_model(config.model_type, **{**sizes, **config.architecture})
    except Exception as error:  # the library finds wrong types in many ways
        raise refused(config, error) from error

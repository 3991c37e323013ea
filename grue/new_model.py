"""Making a folder with a tokenizer and a configuration, from which training starts at random."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from common.errors import Problem, UserError
from common.experiment import Context
from common.plan import Run
from common.run_folder import replacing_folder
from common.summary import write_summary
from grue.beforehand.answers import Answers
from grue.beforehand.data import made_later, of_task
from grue.inputs import read_samples
from grue.new_model_config import NewModelConfig
from grue.new_tokenizer import END, PADDING, byte_pairs, words

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerFast

MODEL = "model"
_EXAMPLES = {
    "gpt2": "n_layer, n_embd, n_head",
    "t5": "num_layers, d_model, d_kv, d_ff, num_heads",
    "bart": "encoder_layers, decoder_layers, d_model",
}


def check(runs: Sequence[Run]) -> list[Problem]:
    """Sizes that the architecture does not know, and texts that cannot be read."""
    answers = Answers()
    return [problem.at(run.where) for run in runs for problem in _problems_of(run, answers)]


def _problems_of(run: Run, answers: Answers) -> Iterator[Problem]:
    config = run.config
    assert isinstance(config, NewModelConfig)
    try:
        architecture(config, config.vocab_size)
    except UserError as error:
        yield Problem(str(error))
    for position, task in enumerate(config.datapools):
        key = f"datapools[{position}]"
        error = of_task(task, answers, made_later(run, key))
        if error is not None:
            yield Problem(str(error), key, task.id)


def run(config: NewModelConfig, context: Context) -> float:
    """Makes the folder; the score is the size of the vocabulary."""
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
    """Prompts and references of all training samples."""
    for task in config.datapools:
        for sample in read_samples(task, "train", seed=seed):
            for reference in sample.references or ("",):
                yield sample.prompt + reference


def _padding(model_type: str) -> str:
    """An encoder-decoder model's outputs begin with padding, which is no text's end."""
    return END if model_type == "gpt2" else PADDING


def architecture(
    config: NewModelConfig, vocab_size: int, tokenizer: PreTrainedTokenizerFast | None = None
) -> PretrainedConfig:
    """The architecture's transformers configuration.

    Raises:
        UserError: it knows no such size.
    """
    from transformers import AutoConfig

    known = AutoConfig.for_model(config.model_type)
    unknown = [name for name in config.architecture if name not in known.to_dict()]
    if unknown:
        raise UserError(
            f"'architecture.{unknown[0]}': unknown to {config.model_type}; known are for example "
            f"{_EXAMPLES[config.model_type]}"
        )
    end, padding = (0, 0) if tokenizer is None else (tokenizer.eos_token_id, tokenizer.pad_token_id)
    sizes: dict[str, Any] = {"vocab_size": vocab_size, "eos_token_id": end, "bos_token_id": end}
    if config.model_type == "gpt2":
        sizes["n_positions"] = config.max_length
    else:
        sizes |= {"pad_token_id": padding, "decoder_start_token_id": padding}
    if config.model_type == "bart":
        sizes |= {"max_position_embeddings": config.max_length, "forced_eos_token_id": None}
    return AutoConfig.for_model(config.model_type, **{**sizes, **config.architecture})

"""Loading of tokenizers and language models by name; `weights` loads and checks the files."""

from __future__ import annotations

import copy
import warnings
from typing import TYPE_CHECKING, Any

from common.errors import UserError
from grue.models.config import LoraConfig, ModelOptions, ModelType, TokenizerConfig
from grue.models.weights import check_weights, loaded, pretrained

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


def load_tokenizer(config: TokenizerConfig) -> PreTrainedTokenizerBase:
    """Return the tokenizer, with the configured sides and a padding token where it may have one.

    Raises:
        UserError: there is none of this name.
    """
    from transformers import AutoTokenizer

    tokenizer: PreTrainedTokenizerBase = loaded(
        AutoTokenizer.from_pretrained,
        config.model_name,
        "tokenizer.model_name",
        revision=config.revision,
    )
    tokenizer.padding_side = config.padding_side
    tokenizer.truncation_side = config.truncation_side
    if tokenizer.pad_token is None and config.pad_token_as_eos_token:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(
    name: str,
    model_type: ModelType,
    options: ModelOptions,
    *,
    seed: int,
    dropout: bool = True,
    revision: str | None = None,
) -> PreTrainedModel:
    """Return the language model on the CPU, in evaluation mode.

    Args:
        name: hub id or folder.
        model_type: causal or encoder-decoder.
        options: initial weights, their type, and adapters.
        seed: seed of random weights, the model's own and the adapters'.
        dropout: if true, the model drops activations in training mode, as its configuration says.
            The configuration that is saved with the model does not change.
        revision: branch, tag or commit of a hub id; None for the default.

    Raises:
        UserError: there is no such model, it writes no text or is of the other type, or its folder
            holds no weights and none were asked for.
    """
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    from common.training.seeding import seeded

    kind: Any = AutoModelForCausalLM if model_type == "causal" else AutoModelForSeq2SeqLM
    dtype = getattr(torch, options.dtype)
    config = loaded(AutoConfig.from_pretrained, name, "model_name", revision=revision)
    judging = [kind for kind in config.architectures or () if kind.endswith("Classification")]
    if judging and options.init == "pretrained":
        raise UserError(
            f"'model_name' = '{name}': is a {judging[0]}, as reward models and classifiers are, "
            "which writes no text; give the model that it was made of, or another language model"
        )
    found: ModelType = "seq2seq" if config.is_encoder_decoder else "causal"
    if found != model_type:  # some architectures have both: half of an encoder-decoder would load
        raise UserError(
            f"'model_name' = '{name}': is a {found} model where a {model_type} one is asked for; "
            "change the policy's id or the model type, or give another model"
        )
    dropped = {} if dropout else dropouts(config)
    config.update(dict.fromkeys(dropped, 0.0))
    model: PreTrainedModel
    with seeded(seed):
        if options.init == "random":
            model = kind.from_config(config).to(dtype)
        else:
            check_weights(name, "model_name", "alg.policy.init")
            model = pretrained(
                kind, name, "model_name", revision=revision, config=config, dtype=dtype
            )
        model.config = copy.deepcopy(model.config)  # the layers keep theirs
        model.config.update(dropped)
        if model.loss_type is None:  # a class name that the library cannot read it from
            model.loss_type = "ForCausalLM"
        if options.lora is not None:
            task = "CAUSAL_LM" if model_type == "causal" else "SEQ_2_SEQ_LM"
            model = with_adapters(model, options.lora, task, dropout=dropout, key="alg.policy.lora")
    model.eval()
    return model


def dropouts(config: Any) -> dict[str, float]:
    """Names of an architecture's dropout probabilities."""
    return {
        name: value
        for name, value in vars(config).items()
        if isinstance(value, float) and "drop" in name
    }


def merged(model: Any) -> PreTrainedModel:
    """Return the model with its adapters, if it has any, merged into its weights."""
    found: PreTrainedModel = (
        model.merge_and_unload() if hasattr(model, "merge_and_unload") else model
    )
    return found


def recompute_activations(model: PreTrainedModel) -> None:
    """Enable activation checkpointing: backward passes in training mode recompute activations.

    Trained weights get their gradients even if all weights before them are frozen.
    """
    name = "activation_checkpointing_enable"  # the earlier releases of version 5 have another
    enable: Any = getattr(model, name, None) or model.gradient_checkpointing_enable
    enable({"use_reentrant": False})


def with_adapters(
    model: PreTrainedModel, lora: LoraConfig, task_type: str, *, dropout: bool, key: str
) -> Any:
    """Return the model with adapters; only they and a new head are trained.

    Args:
        model: changed in place.
        lora: keys of the adapters.
        task_type: peft's name of the model's task, such as ``CAUSAL_LM``.
        dropout: if true, the adapters drop activations as ``lora`` says.
        key: key of ``lora`` in the configuration.

    Raises:
        UserError: the model has no layers of the names in ``lora``.
    """
    import peft
    from transformers.pytorch_utils import Conv1D

    config = peft.LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # which is divided by r as a float
        lora_dropout=lora.dropout if dropout else 0.0,
        target_modules=list(lora.target_modules) if lora.target_modules else None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
        task_type=task_type,
    )
    with warnings.catch_warnings():
        # peft still reads it, which no user can change.
        warnings.filterwarnings("ignore", ".is_gradient_checkpointing. is deprecated")
        try:
            return peft.get_peft_model(model, config)
        except ValueError as error:
            raise UserError(f"'{key}.target_modules': {error}") from error

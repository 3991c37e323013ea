"""Keys of the tokenizer and of the language model, its initial weights, type and adapters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, Strict

from common.config.base import INPUT_FILE_OR_ID, Config
from common.config.distinct import Distinct
from common.config.fit import PositiveFloat, PositiveInt
from common.config.hub_revision import FromHub
from common.errors import Problem
from common.packages import lacking

PLACEHOLDER = "_"
"""Placeholder of published files for a model that is still to be named."""

ModelName = Annotated[str, INPUT_FILE_OR_ID]
"""Model: id on the hub, folder in Hugging Face layout, or a reference such as ``"@sft.model"``."""
ModelType = Literal["causal", "seq2seq"]
Side = Literal["left", "right"]
Optimizer = Literal["adamw", "adam_tensorflow"]
Dtype = Literal["float32", "bfloat16", "float16"]
MixedPrecision = Literal["no", "bf16", "fp16"]


def unnamed(name: str, key: str, *, below: str = "") -> Iterator[Problem]:
    """Yield the problem of a model's name that is still the placeholder of published files.

    ``below`` is the path, with a final point, of the object that holds ``key``.
    """
    if name == PLACEHOLDER:
        yield Problem(
            f"is a placeholder; name the model, for example --set {below}{key}=@sft.model, a "
            "folder or a hub id",
            key,
            name,
        )


class TokenizerConfig(FromHub):
    """Keys of the tokenizer, and the truncation and padding of prompts."""

    model_name: ModelName
    """Hub id or folder of the tokenizer."""
    padding_side: Side = "left"
    """Padding side of the saved tokenizer; this program's batches are padded by architecture."""
    truncation_side: Side = "left"
    """Side on which long prompts are truncated, in sampling and evaluation."""
    pad_token_as_eos_token: bool = True
    """If true, a tokenizer without a padding token pads with end-of-sequence."""
    max_length: PositiveInt | None = None
    """Largest number of tokens of a prompt in sampling and evaluation; None for the tokenizer's own
    maximum."""


class LoraConfig(Config):
    """Low-rank adapters that are trained instead of the model's own weights (peft)."""

    r: PositiveInt = 16
    """Rank of the adapters."""
    alpha: PositiveFloat = 32.0
    """Numerator of the scale ``alpha / r`` of the adapters' output."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Dropout probability before the adapters."""
    target_modules: Annotated[tuple[str, ...], Strict(False), Distinct()] | None = None
    """Names of the layers that get an adapter; None for peft's choice for the architecture."""

    def missing(self) -> Iterator[Problem]:
        """Yield the package that makes adapters."""
        yield from super().missing()
        yield from lacking("peft", "r", self.r)


class ModelOptions(Config):
    """Initial weights, type and adapters of a language model; the same for every algorithm."""

    init: Literal["pretrained", "random"] = "pretrained"
    """Initial weights: those of the folder or hub id, or random ones drawn from ``random_seed``. A
    folder with only configuration and tokenizer needs ``random``."""
    dtype: Dtype = "float32"
    """Type of the weights. In reinforcement finetuning logits are always in float32."""
    lora: LoraConfig | None = None
    """Adapters to train; None trains the model itself."""


class TrainedModelOptions(ModelOptions):
    """Options of a language model that is trained."""

    mixed_precision: MixedPrecision = "no"
    """Type of the model's matrix products, in updates, sampling and evaluations: float32 (``no``),
    bfloat16, or float16 with scaled losses. Weights, optimiser, logits and losses stay in float32:
    the last layer also computes in it."""

    def problems(self) -> Iterator[Problem]:
        """Yield the problem of ``precision`` for weights that have half the width already."""
        yield from super().problems()
        if self.mixed_precision != "no" and self.dtype != "float32":
            yield Problem("needs 'dtype' = 'float32': only products get narrower; drop one of "
                          "them", "mixed_precision", self.mixed_precision)  # fmt: skip

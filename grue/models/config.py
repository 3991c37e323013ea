"""Which tokenizer and which language model, and how the model is held."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Strict

from common.config.base import INPUT_FILE_OR_ID, Config
from common.config.fit import NonNegativeFloat, PositiveFloat, PositiveInt
from common.config.hub import FromHub
from common.errors import Problem
from common.packages import lacking

PLACEHOLDER = "_"
"""What published files give for a model that is still to be named."""

ModelName = Annotated[str, INPUT_FILE_OR_ID]
"""Id on the hub, a folder in Hugging Face layout, or a reference such as ``"@sft.model"``."""
ModelType = Literal["causal", "seq2seq"]
Side = Literal["left", "right"]
Optimizer = Literal["adamw", "adam_tensorflow"]
Dtype = Literal["float32", "bfloat16", "float16"]
MixedPrecision = Literal["no", "bf16", "fp16"]


def unnamed(name: str, key: str, *, below: str = "") -> Iterator[Problem]:
    """What is wrong with a model's name: it is the placeholder of published files.

    ``below`` is the key, with a point, of the object that ``key`` stands in.
    """
    if name == PLACEHOLDER:
        yield Problem(
            f"is a placeholder; name the model, for example --set {below}{key}=@sft.model, a "
            "folder or a hub id",
            key,
            name,
        )


class TokenizerConfig(FromHub):
    """The tokenizer, and how prompts are fitted to their length."""

    model_name: ModelName
    """Hub id or folder of the tokenizer."""
    padding_side: Side = "left"
    """Where short prompts are filled up."""
    truncation_side: Side = "left"
    """Where long prompts are cut, in sampling and evaluation."""
    pad_token_as_eos_token: bool = True
    """Whether a tokenizer without a padding token pads with end-of-sequence."""
    max_length: PositiveInt | None = None
    """Most tokens of a prompt in sampling and evaluation; None for the tokenizer's own maximum."""


class LoraConfig(Config):
    """Low-rank adapters that are trained instead of the model's own weights (peft)."""

    r: PositiveInt = 16
    """Rank."""
    alpha: PositiveFloat = 32.0
    """The adapters' output is scaled by ``alpha / r``."""
    dropout: NonNegativeFloat = 0.0
    """Dropout before the adapters."""
    target_modules: Annotated[tuple[str, ...], Strict(False)] | None = None
    """Names of the layers that get one; None for peft's choice for the architecture."""

    def missing(self) -> Iterator[Problem]:
        """The package that makes adapters."""
        yield from super().missing()
        yield from lacking("peft", "r", self.r)


class ModelOptions(Config):
    """How a language model is held; the same for every algorithm."""

    init: Literal["pretrained", "random"] = "pretrained"
    """Weights of the folder or hub id, or random ones drawn from ``random_seed``. A folder with
    configuration and tokenizer alone needs ``random``."""
    dtype: Dtype = "float32"
    """Type of the weights. In reinforcement finetuning logits are in float32 whatever it is."""
    lora: LoraConfig | None = None
    """Adapters to train; None trains the model itself."""


class TrainedModelOptions(ModelOptions):
    """How a language model is held and trained."""

    mixed_precision: MixedPrecision = "no"
    """Type of the model's matrix products, in updates, sampling and evaluations: float32 (``no``),
    bfloat16, or float16 with scaled losses. Weights, optimiser, logits and losses stay in float32:
    the last layer, too, computes in it."""

    def problems(self) -> Iterator[Problem]:
        """Weights that are held in half the width already."""
        yield from super().problems()
        if self.mixed_precision != "no" and self.dtype != "float32":
            yield Problem("needs 'dtype' = 'float32': only products get narrower; drop one of "
                          "them", "mixed_precision", self.mixed_precision)  # fmt: skip

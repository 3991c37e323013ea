"""Weights of transformers' GPT-2 from the variables of OpenAI's published checkpoints.

Both store the kernel of a layer as [in, out], so that none is transposed; the checkpoints have an
additional first axis of length one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from common.errors import UserError

Floats = NDArray[np.float32]
Shape = tuple[int, ...]

_SIZES = ("n_vocab", "n_ctx", "n_embd", "n_head", "n_layer")
_LAYER_NORMS = ("ln_1", "ln_2")


@dataclass(frozen=True)
class Sizes:
    """Sizes in a checkpoint's ``hparams.json``."""

    n_vocab: int
    """Number of tokens."""
    n_ctx: int
    """Number of positions."""
    n_embd: int
    """Width of the hidden states."""
    n_head: int
    n_layer: int

    @classmethod
    def of(cls, values: Any) -> Sizes:
        """Return the sizes among the values of a ``hparams.json``.

        Raises:
            UserError: a size is missing or no whole number above 0, or the width is no multiple of
                the heads.
        """
        found = values if isinstance(values, Mapping) else {}
        for name in _SIZES:
            value = found.get(name)
            if type(value) is not int or value < 1:
                raise UserError(f"'{name}' = {value!r}: expected a whole number above 0; needs "
                                f"{', '.join(_SIZES)}")  # fmt: skip
        if found["n_embd"] % found["n_head"]:
            raise UserError(f"'n_head' = {found['n_head']}: must divide 'n_embd' = "
                            f"{found['n_embd']}")  # fmt: skip
        return cls(**{name: found[name] for name in _SIZES})


def weights(variables: Mapping[str, NDArray[Any]], sizes: Sizes) -> dict[str, Floats]:
    """Return the weights of ``GPT2LMHeadModel`` by name; its head is the token embedding.

    Args:
        variables: those of a checkpoint, by name: ``model/wte``, ``model/h0/attn/c_attn/w``, ...
        sizes: sizes of the model.

    Raises:
        UserError: a variable is missing, has another shape, or is not one of the model's.
    """
    found, unknown = {}, set(variables)
    for source, target, shape in _names(sizes):
        if source not in variables:
            raise UserError(f"the checkpoint has no '{source}'; give files of one model")
        value = np.asarray(variables[source], dtype=np.float32)
        if value.shape == (1, *shape):
            value = value[0]
        if value.shape != shape:
            raise UserError(f"'{source}' is {list(variables[source].shape)}, and hparams.json "
                            f"makes it {list(shape)}; give files of one model")  # fmt: skip
        found[target] = value
        unknown.discard(source)
    if unknown:
        raise UserError(f"the checkpoint has '{min(unknown)}', which is none of a GPT-2 of "
                        f"{sizes.n_layer} layers; give files of one model")  # fmt: skip
    return found


def _names(sizes: Sizes) -> Iterator[tuple[str, str, Shape]]:
    """Yield variable, weight and shape."""
    width = sizes.n_embd
    yield "model/wte", "transformer.wte.weight", (sizes.n_vocab, width)
    yield "model/wpe", "transformer.wpe.weight", (sizes.n_ctx, width)
    yield from _layer_norm("ln_f", "ln_f", width)
    kernels = {
        "attn/c_attn": (width, 3 * width),
        "attn/c_proj": (width, width),
        "mlp/c_fc": (width, 4 * width),
        "mlp/c_proj": (4 * width, width),
    }
    for layer in range(sizes.n_layer):
        for name in _LAYER_NORMS:
            yield from _layer_norm(f"h{layer}/{name}", f"h.{layer}.{name}", width)
        for name, shape in kernels.items():
            source = f"model/h{layer}/{name}"
            target = f"transformer.h.{layer}.{name.replace('/', '.')}"
            yield f"{source}/w", f"{target}.weight", shape
            yield f"{source}/b", f"{target}.bias", shape[1:]


def _layer_norm(source: str, target: str, width: int) -> Iterator[tuple[str, str, Shape]]:
    yield f"model/{source}/g", f"transformer.{target}.weight", (width,)
    yield f"model/{source}/b", f"transformer.{target}.bias", (width,)

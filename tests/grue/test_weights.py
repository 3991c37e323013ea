"""Models have all the weights of their files, or are refused by name."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
)

from common.errors import UserError
from grue.models.weights import pretrained
from tests.grue.conftest import causal_model, encoder_decoder

Weights = dict[str, Tensor]
LAYERS = {
    "gpt2": "transformer.h.0.mlp.c_fc.weight",
    "t5": "decoder.block.0.layer.2.DenseReluDense.wi.weight",
    "bart": "model.decoder.layers.0.fc1.weight",
}


@pytest.fixture(scope="module", params=list(LAYERS))
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(kind: str, tmp_path: Path) -> Path:
    model: Any = causal_model(60) if kind == "gpt2" else encoder_decoder(kind, 60)
    model.save_pretrained(tmp_path)
    return tmp_path


def load(kind: str, folder: Path, *, head: bool = False) -> Any:
    auto: Any = AutoModelForCausalLM if kind == "gpt2" else AutoModelForSeq2SeqLM
    if head:
        auto = AutoModelForSequenceClassification
    return pretrained(auto, str(folder), "alg.model_name", new_head=head)


def weights_in(folder: Path) -> Weights:
    return load_file(folder / "model.safetensors")


def put(folder: Path, weights: Weights) -> None:
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


@pytest.mark.parametrize(
    "prefix",
    ["module.", "_orig_mod.", "base_model.model.", "pretrained_model.", "module._orig_mod."],
)
def test_prefixes_of_wrappers_are_taken_off_and_said(
    kind: str, folder: Path, prefix: str, caplog: pytest.LogCaptureFixture
) -> None:
    expected = load(kind, folder).state_dict()
    put(folder, {prefix + name: value for name, value in weights_in(folder).items()})
    with caplog.at_level(logging.WARNING):
        found = load(kind, folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.items())
    assert f"all names of weights begin with '{prefix}', which is taken off" in caplog.text


@pytest.mark.parametrize("head", [False, True])
def test_what_does_not_fit_is_refused_by_name(kind: str, folder: Path, head: bool) -> None:
    layer = LAYERS[kind]
    where = f"'alg.model_name' = '{folder}': "
    cases: list[tuple[Callable[[Tensor], Weights], str]] = [
        (lambda value: {}, f"lacks '{'transformer.' if head and kind == 't5' else ''}{layer}'"),
        (lambda value: {layer: value[:-1].clone()}, f"{layer}' has shape [{{}}"),
        (lambda value: {layer: value * torch.nan}, "weights that are NaN or infinite: '"),
    ]
    whole = weights_in(folder)
    for replaced, message in cases:
        others = {name: value for name, value in whole.items() if name != layer}
        put(folder, others | replaced(whole[layer]))
        with pytest.raises(UserError) as raised:
            load(kind, folder, head=head)
        assert str(raised.value).startswith(where)
        assert message.format(len(whole[layer]) - 1) in str(raised.value)
    put(folder, {name + "x" * (name == layer): value for name, value in whole.items()})
    with pytest.raises(UserError, match=f"lacks .*{layer}'"):
        load(kind, folder, head=head)


def test_a_new_head_needs_no_weights_and_others_are_left_out_and_said(
    kind: str, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        load(kind, folder, head=True)
    assert not caplog.text
    put(folder, weights_in(folder) | {"extra.weight": torch.ones(2)})
    with caplog.at_level(logging.WARNING):
        load(kind, folder)
    assert "weights that the model does not have, which are ignored: 'extra.weight'" in caplog.text

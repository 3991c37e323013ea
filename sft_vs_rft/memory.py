"""GPU memory that controlled runs need, known before they start.

As of text runs (`grue.memory`), by one pass over the largest batch on the meta device. Not counted
are what CUDA itself takes (about half a GiB per process), work space of convolutions, and the
measurements of ``theory_every``. With bfloat16 activations count as float32, which is too much.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.memory import Moment, Need, Term, by_counts
from common.memory_trace import as_on_a_gpu, held
from common.plan import Run
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.inputs import TEXTS_PER_CHUNK, TextInputs
from sft_vs_rft.models import build_model
from sft_vs_rft.pools import Pool, load_pool
from sft_vs_rft.subsets import drawn_size
from sft_vs_rft.trainer import LARGEST_PASS

_SINGLE, _LONG = 4, 8
"""Bytes of a float32 and of an int64."""
_SIZES = {
    "model_type", "mlp_hidden_layer_sizes", "num_train_samples", "num_test_samples", "batch_size",
    "optimizer", "diagnostics", "use_multiple_labels_per_sample", "frac_samples_to_modify_labels",
}  # fmt: skip
"""Keys that memory depends on, beside those that say where the data come from."""


def needs(runs: Sequence[Run]) -> list[Need | None]:
    """What each run needs; None where its data or model cannot be had, which is told elsewhere."""
    pools: dict[Any, Pool] = {}
    known: dict[str, Need | None] = {}
    found = []
    for run in runs:
        config = run.config
        assert isinstance(config, ControlledConfig)
        key = by_counts([config.data_source, config.model_dump(mode="json", include=_SIZES)])
        if key not in known:
            try:
                if config.data_source not in pools:
                    pools[config.data_source] = load_pool(config)
                known[key] = _need(config, pools[config.data_source])
            except UserError:
                known[key] = None
        found.append(known[key])
    return found


def _need(config: ControlledConfig, pool: Pool) -> Need:
    num_train = drawn_size(config.num_train_samples, len(pool.train_labels))
    num_test = len(pool.test_labels)
    if not pool.test_is_whole:
        num_test = drawn_size(config.num_test_samples, num_test)
    longest = _longest_text(pool) if config.is_bert else 0
    per_input = 2 * _LONG * longest if longest else _SINGLE * math.prod(pool.input_shape)
    data = (num_train + num_test) * per_input
    with torch.device("meta"):
        model = build_model(config, pool.input_shape, pool.num_classes).train()
        weights = held(model)
        gradients = _trained(model)
        optimiser = 2 * gradients if config.optimizer == "adam" else 0
        rows = min(config.batch_size, num_train)
        parts = config.diagnostics and config.may_have_changed_inputs and not config.multi_label
        update = _update_peak(model, _inputs(pool, rows, longest), parts=parts)
        model.eval()
        largest = min(max(config.batch_size, LARGEST_PASS), max(num_train, num_test))
        evaluation = _evaluation_peak(model, _inputs(pool, largest, longest))
    smaller, lower = "take a smaller 'model_type'", "lower 'batch_size'"
    stays = (
        Term("weights", weights, weights, "model_type", smaller),
        Term("optimiser", optimiser, optimiser, "optimizer", "set 'optimizer' to 'sgd'"),
        Term("data", data, data, "num_train_samples", "lower 'num_train_samples'"),
    )
    rest = max(update - gradients, 0)
    return [
        Moment("an update", (
            *stays,
            Term("gradients", gradients, gradients, "model_type", smaller),
            Term("activations", rest, 0, "batch_size", lower),
        )),
        Moment("an evaluation", (*stays, Term("activations", evaluation, 0, "batch_size", lower))),
    ]  # fmt: skip


def _trained(model: nn.Module) -> int:
    """Bytes of a model's parameters, and so of their gradients."""
    return sum(param.nbytes for param in model.parameters())


def _longest_text(pool: Pool) -> int:
    """Tokens of a padded text."""
    inputs = pool.take_train(torch.arange(1), torch.device("cpu"))
    assert isinstance(inputs, TextInputs), "BERT reads texts"
    return inputs.ids.shape[1]


def _inputs(pool: Pool, rows: int, longest: int) -> Any:
    """A batch, or the largest part of one that is passed through the model at once."""
    if not longest:
        return torch.zeros(rows, *pool.input_shape)
    ids = torch.zeros(min(rows, TEXTS_PER_CHUNK), longest, dtype=torch.long)
    return {"input_ids": ids, "token_type_ids": ids, "attention_mask": torch.ones_like(ids) > 0}


def _update_peak(model: nn.Module, inputs: Any, *, parts: bool) -> int:
    """Most bytes in a pass forward and back; with ``parts`` one part's gradient stays beside."""
    params = [param for param in model.parameters() if param.requires_grad]
    with as_on_a_gpu() as trace:
        logits: Tensor = model(inputs)
        loss = logits.log_softmax(-1).mean()
        of_part = None
        if parts:
            of_part = torch.autograd.grad(loss, params, retain_graph=True, allow_unused=True)
        loss.backward()
        del of_part
    return trace.peak


@torch.no_grad()
def _evaluation_peak(model: nn.Module, inputs: Any) -> int:
    with as_on_a_gpu() as trace:
        model(inputs)
    return trace.peak

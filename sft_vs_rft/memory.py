"""GPU memory needs of controlled runs, estimated before they start.

The run's own trainer makes a step on the meta device, where tensors have shapes alone. Not counted
are CUDA's own memory (about half a GiB per process), work space of convolutions, and the
measurements of ``theory_every``. With bfloat16, activations count as float32, which is too much.
"""

from __future__ import annotations

import logging
from collections.abc import Hashable, Iterator, Sequence

import torch
from torch import Tensor

from common.errors import UserError
from common.machine.memory import Moment, Need, Term, by_counts
from common.machine.memory_trace import as_on_a_gpu, held, state_of
from common.plan.run import Run
from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.data.inputs import DenseInputs, Inputs, TextInputs
from sft_vs_rft.data.load_pool import load_pool
from sft_vs_rft.data.pools import Pool
from sft_vs_rft.data.run_data import Data
from sft_vs_rft.models.build import build_model
from sft_vs_rft.subsets import drawn_size
from sft_vs_rft.trainer import Batch, ControlledTrainer

log = logging.getLogger(__name__)

_SIZES = {
    "model_type", "mlp_hidden_layer_sizes", "num_train_samples", "num_test_samples", "batch_size",
    "optimizer", "diagnostics", "opt_method", "num_labels_per_sample", "kl_regularization_coeff",
    "use_multiple_labels_per_sample", "frac_samples_to_modify_labels", "kl_reg_ref_unif",
}  # fmt: skip
"""Keys that memory depends on, in addition to those of the data's source."""


def needs(runs: Sequence[Run]) -> list[Need | None]:
    """Return the needs of each run; None if its data or model cannot be loaded or measured so."""
    pools: dict[Hashable, Pool] = {}
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
            except Exception as error:  # of a model's own code, on a device it was not made for
                log.info("the memory that a run needs is unknown: %s", error)
                known[key] = None
        found.append(known[key])
    return found


def _need(config: ControlledConfig, pool: Pool) -> Need:
    """Return the memory of a step and of an evaluation of the run's own trainer."""
    config = config.model_copy(update={"precision": "float32"})
    longest = _longest_text(pool) if config.is_bert else None
    with torch.device("meta"):
        data = _data(config, pool, longest)
        trainer = ControlledTrainer(
            config, data, build_model(config, pool.input_shape, pool.num_classes)
        )
    positions = torch.arange(min(config.batch_size, len(data.changed)))
    changed = data.changed[positions]
    batch = Batch(positions[changed], positions[~changed])
    with as_on_a_gpu():
        trainer.train_step(batch)  # so that there is the optimiser's state
    trainer.model.zero_grad(set_to_none=True)
    with as_on_a_gpu() as step:
        trainer.train_step(batch)
    weights, optimiser = held(trainer.model), state_of(trainer.optimizer)
    gradients = sum(param.nbytes for param in trainer.params)
    trainer.model.zero_grad(set_to_none=True)
    with as_on_a_gpu() as evaluation:
        trainer.logits_without_grad(data.test_inputs)
    smaller, lower = "take a smaller 'model_type'", "lower 'batch_size'"
    resident = sum(tensor.nbytes for tensor in _tensors(data))
    stays = (
        Term("weights", weights, weights, "model_type", smaller),
        Term("optimiser", optimiser, optimiser, "optimizer", "set 'optimizer' to 'sgd'"),
        Term("data", resident, resident, "num_train_samples", "lower 'num_train_samples'"),
    )
    activations = max(step.peak - gradients, 0)
    return [
        Moment("an update", (
            *stays,
            Term("gradients", gradients, gradients, "model_type", smaller),
            Term("activations", activations, 0, "batch_size", lower),
        )),
        Moment("an evaluation", (
            *stays, Term("activations", evaluation.peak, 0, "batch_size", lower),
        )),
    ]  # fmt: skip


def _data(config: ControlledConfig, pool: Pool, longest: int | None) -> Data:
    """Return data of the run's sizes, without numbers.

    If labels are changed, one is: then a pass has the largest number of inputs.
    """
    num_train = drawn_size(config.num_train_samples, len(pool.train_labels))
    num_test = len(pool.test_labels)
    if not pool.test_is_whole:
        num_test = drawn_size(config.num_test_samples, num_test)
    num_changed = int(num_train * config.frac_samples_to_modify_labels)
    if pool.changed_train is not None:
        num_changed = int(pool.changed_train.sum())
    changed = torch.arange(num_train, device="cpu") < min(num_changed, 1)
    label_sets = torch.zeros(pool.num_classes, config.num_labels_per_sample, dtype=torch.long)
    return Data(
        train_inputs=_inputs(pool, num_train, longest),
        train_labels=torch.zeros(num_train, dtype=torch.long),
        test_inputs=_inputs(pool, num_test, longest),
        test_labels=torch.zeros(num_test, dtype=torch.long),
        label_sets=label_sets,
        changed=changed,
        num_classes=pool.num_classes,
        input_shape=pool.input_shape,
        record={},
    )


def _inputs(pool: Pool, count: int, longest: int | None) -> Inputs:
    """Return inputs of the pool's shape; texts are all as long as the longest one."""
    if longest is None:
        return DenseInputs(torch.zeros(count, *pool.input_shape))
    ids = torch.zeros(count, longest, dtype=torch.long)
    return TextInputs(ids, ids.clone(), torch.full((count,), longest, device="cpu"))


def _longest_text(pool: Pool) -> int:
    """Return the number of tokens of the longest training text."""
    inputs = pool.take_train(torch.arange(len(pool.train_labels)), torch.device("cpu"))
    assert isinstance(inputs, TextInputs), "BERT reads texts"
    return inputs.ids.shape[1]


def _tensors(data: Data) -> Iterator[Tensor]:
    """Yield the bytes of the tensors on the device."""
    for part in (data.train_inputs, data.test_inputs, data):
        yield from (value for value in vars(part).values() if _is_on_device(value))


def _is_on_device(value: object) -> bool:
    return isinstance(value, Tensor) and value.is_meta

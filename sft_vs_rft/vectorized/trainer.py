"""Vectorized trainer: one update of R classifiers at once, with the measurements of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from common.training.epoch_means import NonFiniteError, check_finite
from common.training.norms import norms
from sft_vs_rft import objectives
from sft_vs_rft.config import CHANGED, OTHERS
from sft_vs_rft.diagnostics import gradient_norms, measured_per_input
from sft_vs_rft.methods import METHODS, Predictions, drawn_labels
from sft_vs_rft.trainer import LARGEST_PASS, ControlledTrainer
from sft_vs_rft.vectorized.means import StackedMeans, StackedReport
from sft_vs_rft.vectorized.stack import STACKED_OPTIMIZERS, StackedModel
from sft_vs_rft.vectorized.tables import StackedInputs, StackedTargets

OnStep = Callable[[int, StackedReport], None]


class StackedTrainer:
    """Trainer of R runs that does in an epoch what each run's own trainer would do.

    The runs' weights and optimiser states become views of stacked ones, so that each trainer's own
    state stays valid. A batch passes through the model whole. If gradients are measured, its
    changed inputs pass once more, padded to the largest number of them in a run.
    """

    def __init__(self, trainers: Sequence[ControlledTrainer]) -> None:
        self._trainers = trainers
        first = trainers[0]
        self._config = first.config  # for what the runs share
        self._method = METHODS[self._config.opt_method]
        self._model = StackedModel([trainer.model for trainer in trainers])
        self._optimizer = STACKED_OPTIMIZERS[self._config.optimizer](
            self._model, [trainer.optimizer for trainer in trainers]
        )
        self._inputs = StackedInputs([trainer.data.train_inputs for trainer in trainers])
        self._targets = StackedTargets(trainers)
        self._test_inputs = StackedInputs([trainer.data.test_inputs for trainer in trainers])
        self._test_targets = torch.stack([t.test_targets for t in trainers])  # [R, M (, k)]
        self._changed = torch.stack([trainer.data.changed for trainer in trainers])  # [R, N]
        self._measures_parts = torch.tensor([t.measures_parts for t in trainers])  # [R]
        configs = [trainer.config for trainer in trainers]
        weights = self._model.weights
        self._temperature = weights.new_tensor([c.logits_temperature for c in configs])[:, None]
        self._kl_coef = weights.new_tensor([c.kl_regularization_coeff for c in configs])[:, None]

    def train_epoch(
        self, orders: Tensor, noise: Tensor | None, on_step: OnStep
    ) -> list[dict[str, float] | NonFiniteError]:
        """Train one epoch of all runs.

        Args:
            orders: [R, N] int64 on the CPU, the order of each run's inputs; in each batch the
                changed ones come first.
            noise: [R, N, C] in that order, for `drawn_labels`; None where no labels are drawn.
            on_step: called with the number of each batch and its report.

        Returns:
            The metrics of each run, or the number that is not finite.
        """
        means = StackedMeans(len(self._trainers))
        num_inputs, size = orders.shape[1], self._config.batch_size
        for step, start in enumerate(range(0, num_inputs, size)):
            batch = slice(start, start + size)
            report = self._train_step(orders[:, batch], None if noise is None else noise[:, batch])
            means.add(report)
            on_step(step, report)
        return means.result()

    def _train_step(self, positions: Tensor, noise: Tensor | None) -> StackedReport:
        """Make one update; ``positions`` [R, B] on the CPU, ``noise`` [R, B, C]."""
        changed = self._changed.gather(1, positions)
        counts = _Counts(changed, self._measures_parts, self._model.weights.device)
        index = positions.to(counts.mask.device, non_blocking=True)
        logits = self._logits(index)
        drawn = None if noise is None else drawn_labels(logits, noise)  # [R, B]
        predictions, objective, kl = self._objective(logits, index, drawn)
        (gradient,) = torch.autograd.grad(self._loss(objective.mean(1)), self._model.weights)
        of_changed = self._changed_gradient(index, drawn, counts)
        with torch.no_grad():
            values = self._measure_predictions(predictions, objective, kl, counts)
            if self._config.diagnostics:
                values |= self._measure_gradients(gradient, of_changed, counts)
        self._optimizer.step(gradient)
        size = float(positions.shape[1])
        return StackedReport(
            values,
            {"train loss": size, "train accuracy": size},
            {name: counts.present[part] for name in values for part in counts.present
             if name.endswith(f" {part}")},
        )  # fmt: skip

    def _logits(self, index: Tensor) -> Tensor:
        """Return [R, b, C] logits at the temperatures, for the inputs at ``index`` [R, b]."""
        return self._model(self._inputs.gather(index)) / self._temperature[..., None]

    def _objective(
        self, logits: Tensor, index: Tensor, drawn: Tensor | None
    ) -> tuple[Predictions, Tensor, Tensor]:
        """Return predictions [R * b, ...], penalised objective [R, b] and KL [R, b]."""
        predictions = self._targets.of(logits, index, drawn)
        coefficients = self._kl_coef.expand(index.shape).flatten()
        objective, kl = self._method.penalised(predictions, coefficients)
        return predictions, objective.view(index.shape), kl.view(index.shape)

    def _loss(self, of_runs: Tensor) -> Tensor:
        """Return the sum of the runs' losses; each run's gradient is that of its own loss."""
        return -of_runs.sum() if self._method.maximised else of_runs.sum()

    def _changed_gradient(
        self, index: Tensor, drawn: Tensor | None, counts: _Counts
    ) -> Tensor | None:
        """Return [R, P] the changed inputs' contribution to the gradient of the batch's mean loss.

        None if no run has changed inputs, or no run measures them.
        """
        if not (counts.most_changed and counts.measured):
            return None
        first = index[:, : counts.most_changed]
        drawn = None if drawn is None else drawn[:, : counts.most_changed]
        _, objective, _ = self._objective(self._logits(first), first, drawn)
        counted = torch.where(counts.mask[:, : counts.most_changed], objective, 0.0)
        total = self._loss(counted.sum(1) / counts.num_inputs)
        return torch.autograd.grad(total, self._model.weights)[0]

    def _measure_predictions(
        self, given: Predictions, objective: Tensor, kl: Tensor, counts: _Counts
    ) -> dict[str, Tensor]:
        """Return losses, accuracies and rewards [R] of the predictions made before the update."""
        kl = torch.where(self._kl_coef > 0, kl, 0.0)  # the others have no penalty
        whole, parts = measured_per_input(given, objective.flatten(), kl.flatten(), self._config)
        shape = objective.shape
        values = {name: value.view(shape).mean(1) for name, value in whole.items()}
        if counts.measured and parts:
            values |= _part_means({name: v.view(shape) for name, v in parts.items()}, counts)
        return values

    def _measure_gradients(
        self, gradient: Tensor, changed: Tensor | None, counts: _Counts
    ) -> dict[str, Tensor]:
        """Return gradient norms [R] before the update, absolute and relative to the weights'."""
        vectors = {"": self._model.weights, "update": gradient}
        if changed is not None:
            vectors |= {CHANGED: changed, OTHERS: gradient - changed}
        lengths = dict(
            zip(vectors, norms(torch.stack(list(vectors.values()))).unbind(), strict=True)
        )
        params, update = lengths.pop(""), lengths.pop("update")
        if changed is None and counts.measured:  # all inputs are others
            lengths = {OTHERS: update}
        added = {part: (lengths[part], counts.of[part] / counts.num_inputs) for part in lengths}
        return gradient_norms(params, update, added)

    @torch.no_grad()
    def validate(self) -> list[dict[str, float] | NonFiniteError]:
        """Return each run's loss on its test inputs, and the accuracy with one label per input."""
        num_runs, num_inputs = self._test_targets.shape[:2]
        parts = []
        for positions in torch.arange(num_inputs, device=self._test_targets.device).split(
            max(self._config.batch_size, LARGEST_PASS)
        ):
            inputs = self._test_inputs.gather(positions.expand(num_runs, -1))
            parts.append(self._model(inputs) / self._temperature[..., None])
        logits = torch.cat(parts, dim=1)  # [R, M, C]
        targets = self._test_targets.flatten(0, 1)
        loss = objectives.cross_entropy(logits.flatten(0, 1), targets)
        values = {"test loss": loss.view(num_runs, num_inputs).mean(1)}
        if not self._config.multi_label:
            values["test accuracy"] = (logits.argmax(-1) == self._test_targets).float().mean(1)
        columns = torch.stack(list(values.values()), dim=1).tolist()  # [R, names]
        return [_checked(dict(zip(values, row, strict=True))) for row in columns]


class _Counts:
    """Masks of the changed and other inputs of a batch, in each of R runs, and their numbers."""

    def __init__(self, changed: Tensor, measures_parts: Tensor, device: torch.device) -> None:
        """Set ``changed`` [R, B], and ``measures_parts`` [R] of the runs, both on the CPU."""
        num_changed, self.num_inputs = changed.sum(1), changed.shape[1]
        self.most_changed = int(num_changed.max())
        self.mask = changed.to(device, non_blocking=True)
        of_parts = torch.stack([num_changed, self.num_inputs - num_changed])
        on_device = of_parts.to(device, non_blocking=True)
        self.of = dict(zip((CHANGED, OTHERS), on_device.unbind(), strict=True))
        self.measured = bool(measures_parts.any())
        """True if some run measures parts."""
        self.present = {
            CHANGED: measures_parts & (num_changed > 0),
            OTHERS: measures_parts & (num_changed < self.num_inputs),
        }
        """Mask [R] of the runs that measure the part and have such inputs in this batch."""


def _part_means(values: dict[str, Tensor], counts: _Counts) -> dict[str, Tensor]:
    """Return means [R] of per-input values [R, B] over the changed inputs and over the others.

    A mean is not finite if the run has no such inputs.
    """
    table = torch.stack(list(values.values()))  # [names, R, B]
    means: dict[str, Tensor] = {}
    for part, chosen in ((CHANGED, counts.mask), (OTHERS, ~counts.mask)):
        sums = torch.where(chosen, table, 0.0).sum(-1) / counts.of[part]
        names = [f"{name} {part}" for name in values]
        means |= dict(zip(names, sums.unbind(), strict=True))
    return means


def _checked(metrics: dict[str, float]) -> dict[str, float] | NonFiniteError:
    try:
        return check_finite(metrics, "validation")
    except NonFiniteError as error:
        return error

"""One update of R classifiers at once, with all that is measured of each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from common.metrics import NonFiniteError, check_finite
from sft_vs_rft import objectives
from sft_vs_rft.config import CHANGED, OTHERS
from sft_vs_rft.diagnostics import norms
from sft_vs_rft.methods import METHODS, Predictions
from sft_vs_rft.trainer import LARGEST_PASS, ControlledTrainer
from sft_vs_rft.vectorized.means import StackedMeans, StackedReport
from sft_vs_rft.vectorized.stack import STACKED_OPTIMIZERS, StackedModel
from sft_vs_rft.vectorized.tables import StackedInputs, StackedTargets

OnStep = Callable[[int, StackedReport], None]


class StackedTrainer:
    """Does for R trainers what each of them does in an epoch, and gives what each would measure.

    Their weights and optimiser states become views of stacked ones, so that what is known of each
    trainer stays true. A batch passes through the model whole; where gradients are measured, its
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
        configs = [trainer.config for trainer in trainers]
        weights = self._model.weights
        self._temperature = weights.new_tensor([c.logits_temperature for c in configs])[:, None]
        self._kl_coef = weights.new_tensor([c.kl_regularization_coeff for c in configs])[:, None]

    def train_epoch(
        self, orders: Tensor, on_step: OnStep
    ) -> list[dict[str, float] | NonFiniteError]:
        """One epoch of all runs.

        Args:
            orders: [R, N] int64 on the CPU, the order of each run's inputs.
            on_step: told the number of each batch and its report.

        Returns:
            The metrics of each run, or what became not finite.
        """
        means = StackedMeans(len(self._trainers))
        changed = self._changed.gather(1, orders)
        size = self._config.batch_size
        batches = zip(orders.split(size, dim=1), changed.split(size, dim=1), strict=True)
        for step, batch in enumerate(batches):
            report = self._train_step(*batch)
            means.add(report)
            on_step(step, report)
        return means.result()

    def _train_step(self, positions: Tensor, changed: Tensor) -> StackedReport:
        """One update; ``positions`` and whether they are ``changed``, [R, B], on the CPU."""
        predictions, objective, kl = self._pass(positions)
        (gradient,) = torch.autograd.grad(self._loss(objective.mean(1)), self._model.weights)
        num_changed = changed.sum(1)  # [R], on the CPU
        some_changed = bool(num_changed.any()) and self._trainers[0].measures_parts
        changed_gradient = self._changed_gradient(positions, changed) if some_changed else None
        with torch.no_grad():
            counts = _Counts(num_changed, positions.shape[1], self._model.weights.device)
            mask = changed.to(counts.device, non_blocking=True)
            values = self._measure_predictions(predictions, objective, kl, mask, counts)
            if self._config.diagnostics:
                values |= self._measure_gradients(gradient, changed_gradient, counts)
        self._optimizer.step(gradient)
        size = float(positions.shape[1])
        return StackedReport(
            values,
            {"train loss": size, "train accuracy": size},
            {name: counts.present[part] for name in values for part in counts.present
             if name.endswith(f" {part}")},
        )  # fmt: skip

    def _pass(self, positions: Tensor) -> tuple[Predictions, Tensor, Tensor]:
        """Predictions [R * b, ...] at ``positions`` [R, b], penalised objective and KL, [R, b]."""
        index = positions.to(self._model.weights.device, non_blocking=True)
        logits = self._model(self._inputs.take(index)) / self._temperature[..., None]  # [R, b, C]
        predictions = self._targets.of(logits, index)
        coefficients = self._kl_coef.expand(index.shape).flatten()
        objective, kl = self._method.penalised(predictions, coefficients)
        return predictions, objective.view(index.shape), kl.view(index.shape)

    def _loss(self, of_runs: Tensor) -> Tensor:
        """The sum of what the runs minimise; their weights being apart, so are its gradients."""
        return -of_runs.sum() if self._method.maximised else of_runs.sum()

    def _changed_gradient(self, positions: Tensor, changed: Tensor) -> Tensor:
        """[R, P] what the changed inputs contribute to the gradient of the batch's mean loss."""
        largest = int(changed.sum(1).max())
        first = changed.long().argsort(dim=1, descending=True, stable=True)[:, :largest]
        _, objective, _ = self._pass(positions.gather(1, first))  # [R, largest]
        counted = changed.gather(1, first).to(objective.device, non_blocking=True)
        means = torch.where(counted, objective, 0.0).sum(1) / positions.shape[1]
        return torch.autograd.grad(self._loss(means), self._model.weights)[0]

    def _measure_predictions(
        self, given: Predictions, objective: Tensor, kl: Tensor, mask: Tensor, counts: _Counts
    ) -> dict[str, Tensor]:
        """Losses, accuracies and rewards of the predictions made before the update, [R] each."""
        loss = objectives.cross_entropy(given.logits, given.labels)
        values = {"train loss": loss.view(mask.shape).mean(1)}
        if self._config.diagnostics:
            own_kl = torch.where(self._kl_coef[:, 0] > 0, kl.mean(1), 0.0)  # others have no penalty
            values |= {"reg objective value": objective.mean(1), "kl reg": own_kl}
        if self._config.multi_label:
            return values
        correct = (given.logits.argmax(-1) == given.labels).float().view(mask.shape)
        values["train accuracy"] = correct.mean(1)
        if self._config.diagnostics:
            value, std = objectives.reward_mean_std(given.logits, given.rewards)
            reward = value.view(mask.shape)
            values["reward"] = reward.mean(1)
            if counts.any_changed:
                per_input = {
                    "reg objective": objective,
                    "train accuracy": correct,
                    "reward": reward,
                    "avg reward std": std.view(mask.shape),
                }
                values |= _part_means(per_input, mask, counts)
        return values

    def _measure_gradients(
        self, gradient: Tensor, changed: Tensor | None, counts: _Counts
    ) -> dict[str, Tensor]:
        """Norms of the gradients before the update, absolute and relative to the weights', [R]."""
        vectors = [self._model.weights, gradient]
        if changed is not None:
            vectors += [changed, gradient - changed]
        params_norm, *of_gradients = norms(torch.stack(vectors)).unbind()
        named = {"grad norm": of_gradients[0]}
        if changed is not None:
            named[f"grad norm {CHANGED}"] = of_gradients[1] * (
                counts.num_inputs / counts.of[CHANGED]
            )
            named[f"grad norm {OTHERS}"] = of_gradients[2] * (counts.num_inputs / counts.of[OTHERS])
        relative = {f"normalized {name}": value / params_norm for name, value in named.items()}
        return {"params_norm": params_norm} | named | relative

    @torch.no_grad()
    def validate(self) -> list[dict[str, float] | NonFiniteError]:
        """Loss, and accuracy where there is one label per input, on each run's test inputs."""
        num_runs, num_inputs = self._test_targets.shape[:2]
        parts = []
        for positions in torch.arange(num_inputs, device=self._test_targets.device).split(
            max(self._config.batch_size, LARGEST_PASS)
        ):
            inputs = self._test_inputs.take(positions.expand(num_runs, -1))
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
    """How many inputs of a batch are changed and how many are not, in each of R runs."""

    def __init__(self, num_changed: Tensor, num_inputs: int, device: torch.device) -> None:
        """``num_changed`` is [R], on the CPU."""
        self.num_inputs = num_inputs
        self.device = device
        self.any_changed = bool(num_changed.any())
        of_parts = torch.stack([num_changed, num_inputs - num_changed])
        on_device = of_parts.to(device, non_blocking=True)
        self.of = dict(zip((CHANGED, OTHERS), on_device.unbind(), strict=True))
        some = num_changed > 0
        self.present = {CHANGED: some, OTHERS: some & (num_changed < num_inputs)}
        """Which runs measure the part: those with changed inputs, and with others beside them."""


def _part_means(values: dict[str, Tensor], mask: Tensor, counts: _Counts) -> dict[str, Tensor]:
    """Means [R] of per-input values [R, B] over the changed inputs ``mask`` and over the others.

    They are not finite where a run has no such inputs.
    """
    table = torch.stack(list(values.values()))  # [names, R, B]
    means: dict[str, Tensor] = {}
    for part, chosen in ((CHANGED, mask), (OTHERS, ~mask)):
        sums = torch.where(chosen, table, 0.0).sum(-1) / counts.of[part]
        names = [f"{name} {part}" for name in values]
        means |= dict(zip(names, sums.unbind(), strict=True))
    return means


def _checked(metrics: dict[str, float]) -> dict[str, float] | NonFiniteError:
    try:
        return check_finite(metrics, "validation")
    except NonFiniteError as error:
        return error

"""Trainer of a classifier: one update by a method, with all its measurements."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from common.training.norms import total_norm
from common.training.optimizers import SGD, Adam
from common.training.shuffle import pass_over_loader, shuffled
from common.training.trainer import Trainer
from sft_vs_rft import objectives
from sft_vs_rft.config import CHANGED, OTHERS, ControlledConfig
from sft_vs_rft.data.inputs import Inputs, ModelInputs
from sft_vs_rft.data.run_data import Data
from sft_vs_rft.diagnostics import (
    couples_inputs,
    gradient_norms,
    measured_per_input,
    part_means,
)
from sft_vs_rft.methods import METHODS, Predictions, drawn_labels, joined, label_noise
from sft_vs_rft.rewards import reward_table

_OPTIMIZERS = {"sgd": SGD, "adam": Adam}
LARGEST_PASS = 512  # inputs of a pass without gradients, unless a batch is larger

Added = dict[str, tuple[Tensor, float]]
"""Norm of the contribution of a part of a batch to the gradient, and its share of the inputs."""


@dataclass(frozen=True)
class Batch:
    """Positions of the inputs of one update, on the CPU."""

    changed: Tensor  # [m] int64, those whose label was changed
    others: Tensor  # [B - m] int64

    @property
    def num_inputs(self) -> int:
        """Number of inputs, B."""
        return len(self.changed) + len(self.others)


@dataclass(frozen=True)
class Pass:
    """Function of a forward and backward pass: predictions, penalised objective [b] and KL [b]."""

    predictions: Predictions
    objective: Tensor
    kl: Tensor


def make_optimizer(config: ControlledConfig, params: Iterable[Tensor]) -> SGD | Adam:
    """Return the configured optimizer for ``params``; its fused form, except on the meta device."""
    given = list(params)
    optimizer: type[SGD | Adam] = _OPTIMIZERS[config.optimizer]
    return optimizer(
        given,
        lr=config.lr,
        weight_decay=config.weight_decay,
        fused=not any(param.is_meta for param in given),
    )


class ControlledTrainer(Trainer[Batch]):
    """Trainer on the exact or sampled policy gradient, or on cross-entropy.

    The changed inputs of a batch are passed through the model first, then the others, and their
    gradients are summed. The contribution of the changed inputs is therefore known half-way, at no
    cost. A model that couples inputs (BatchNorm) reads the batch in one pass; there the
    contribution needs another backward pass through the same graph.
    """

    def __init__(
        self,
        config: ControlledConfig,
        data: Data,
        model: nn.Module,
        *,
        gpu_ids: Sequence[int] = (),
    ) -> None:
        """Set up the trainer; several ``gpu_ids`` share each pass."""
        optimizer = make_optimizer(config, model.parameters())
        super().__init__(model, optimizer, validate_every=config.validate_every)
        self.config = config
        self.data = data
        self.method = METHODS[config.opt_method]
        several = len(gpu_ids) > 1
        self.network = nn.DataParallel(model, list(gpu_ids)) if several else model
        self.params = [param for param in model.parameters() if param.requires_grad]
        self.couples_inputs = couples_inputs(model)
        self.measures_parts = (
            config.diagnostics and not config.multi_label and bool(data.changed.any())
        )
        """True if the two parts of a batch are measured, each if it has inputs."""
        self.rewards = reward_table(
            data.train_labels,
            data.num_classes,
            min_reward=config.min_reward,
            high_initial_reward_on=(
                data.changed if config.reward_type == "labels_with_custom" else None
            ),
        )  # [N, C]
        self.targets, self.test_targets = data.train_labels, data.test_labels
        if config.multi_label:
            self.targets = data.label_sets[data.train_labels]  # [N, k]
            self.test_targets = data.label_sets[data.test_labels]
        self.reference = self._reference()

    def policy_logits(self, given: ModelInputs) -> Tensor:
        """Return [b, C] logits of the policy at its temperature."""
        with self._autocast():
            logits: Tensor = self.network(given)
        return logits.float() / self.config.logits_temperature

    def _autocast(self) -> contextlib.AbstractContextManager[object]:
        if self.config.precision != "bf16":
            return contextlib.nullcontext()
        return torch.autocast(self.rewards.device.type, torch.bfloat16)

    def logits_without_grad(self, inputs: Inputs) -> Tensor:
        """Return [N, C] the policy's logits for all inputs, in evaluation mode."""
        logits = torch.empty(len(inputs), self.data.num_classes, device=inputs.device)
        largest = max(self.config.batch_size, LARGEST_PASS)
        training = self.network.training
        self.network.eval()
        with torch.no_grad():
            for group, given in inputs.batches(largest):
                logits[group] = self.policy_logits(given)
        self.network.train(training)
        return logits

    def _reference(self) -> Tensor | None:
        """Return [N, C] log-probabilities of the KL penalty's reference; None if there is none."""
        if self.config.kl_regularization_coeff == 0:
            return None
        if self.config.kl_reg_ref_unif:
            return objectives.uniform_log_probs(self.rewards)
        return self.logits_without_grad(self.data.train_inputs).log_softmax(-1)

    def batches(self) -> Iterator[Batch]:
        """Yield batches of the training inputs in random order."""
        for chosen in shuffled(len(self.data.changed)).split(self.config.batch_size):
            changed = self.data.changed[chosen]
            yield Batch(chosen[changed], chosen[~changed])

    def train_step(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """Make one step of descent on the mean loss, or of ascent on the mean penalised reward."""
        self.model.zero_grad(set_to_none=True)
        step = self._step_in_one_pass if self.couples_inputs else self._step_in_parts
        passes, added = step(batch)
        with torch.no_grad():
            report = self._measure_predictions(passes, len(batch.changed))
            if self.config.diagnostics:
                report |= gradient_norms(
                    total_norm(self.params), total_norm(self._gradients()), added
                )
        self.optimizer.step()
        size = float(batch.num_inputs)
        return report, {"train loss": size, "train accuracy": size}

    def _step_in_parts(self, batch: Batch) -> tuple[list[Pass], Added]:
        """Compute the gradient of the batch part by part; return the contribution of each."""
        passes, added, taken = [], {}, []
        for name, part in ((CHANGED, batch.changed), (OTHERS, batch.others)):
            if not len(part):
                continue
            for positions in self.data.train_inputs.chunks(part, batch.num_inputs):
                passes.append(self._forward(positions))
                self._loss(passes[-1].objective, batch.num_inputs).backward()
            taken.append(self._gradients())
            self.model.zero_grad(set_to_none=True)
            if self.measures_parts:
                added[name] = total_norm(taken[-1]), len(part) / batch.num_inputs
        for param, first, *more in zip(self.params, *taken, strict=True):
            param.grad = first
            for other in more:
                if first is not None:  # what the model does not use gets no gradient
                    first.add_(other)
        return passes, added

    def _step_in_one_pass(self, batch: Batch) -> tuple[list[Pass], Added]:
        """Compute the same, with the whole batch in one forward pass."""
        made = self._forward(torch.cat([batch.changed, batch.others]))
        loss = self._loss(made.objective, batch.num_inputs)
        added: Added = {}
        if not len(batch.changed) or not self.measures_parts:
            loss.backward()
            if self.measures_parts:
                added[OTHERS] = total_norm(self._gradients()), 1.0
            return [made], added
        of_changed = self._loss(made.objective[: len(batch.changed)], batch.num_inputs)
        gradient: Sequence[Tensor | None] = torch.autograd.grad(
            of_changed, self.params, retain_graph=True, allow_unused=True
        )
        share = len(batch.changed) / batch.num_inputs
        added[CHANGED] = total_norm(gradient), share
        loss.backward()
        if len(batch.others):
            for param, own in zip(self.params, gradient, strict=True):
                if own is not None and param.grad is not None:  # as `_step_in_parts` has it
                    own.sub_(param.grad)  # what the others add, but for its sign
            added[OTHERS] = total_norm(gradient), 1 - share
        return [made], added

    def _gradients(self) -> list[Tensor | None]:
        return [param.grad for param in self.params]

    def _forward(self, positions: Tensor) -> Pass:
        logits = self.policy_logits(self.data.train_inputs.gather(positions))  # [b, C]
        index = positions.to(self.rewards.device, non_blocking=True)
        predictions = Predictions(
            logits,
            self.targets[index],
            self.rewards[index],
            None if self.reference is None else self.reference[index],
            drawn_labels(logits, label_noise(len(logits), logits.shape[1], logits.device))
            if self.method.sampled
            else None,
        )
        return Pass(
            predictions,
            *self.method.penalised(predictions, self.config.kl_regularization_coeff),
        )

    def _loss(self, objective: Tensor, num_inputs: int) -> Tensor:
        """Return the contribution of some inputs' objective [b] to the mean loss over the batch."""
        total = objective.sum() / num_inputs
        return -total if self.method.maximised else total

    def _measure_predictions(self, passes: list[Pass], num_changed: int) -> dict[str, Tensor]:
        """Return losses, accuracies and rewards of the predictions made before the update."""
        given = joined([made.predictions for made in passes])
        objective = torch.cat([made.objective for made in passes]).detach()
        kl = torch.cat([made.kl for made in passes]).detach()
        whole, parts = measured_per_input(given, objective, kl, self.config)
        report = {name: values.mean() for name, values in whole.items()}
        if parts and self.measures_parts:
            report |= part_means(parts, num_changed)
        return report

    def validate(self) -> dict[str, float]:
        """Return the loss on the test inputs, and the accuracy if there is one label per input."""
        pass_over_loader()
        logits = self.logits_without_grad(self.data.test_inputs)
        loss = objectives.cross_entropy(logits, self.test_targets).mean()
        if self.config.multi_label:
            return {"test loss": loss.item()}
        accuracy = (logits.argmax(-1) == self.test_targets).float().mean()
        loss_value, accuracy_value = torch.stack([loss, accuracy]).tolist()
        return {"test loss": loss_value, "test accuracy": accuracy_value}

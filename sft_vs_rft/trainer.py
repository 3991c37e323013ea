"""One update of a classifier by a method, with all that is measured of it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from common.batches import pass_over_loader, shuffled
from common.trainer import Trainer
from sft_vs_rft import objectives
from sft_vs_rft.config import CHANGED, OTHERS, ControlledConfig
from sft_vs_rft.data import Data
from sft_vs_rft.diagnostics import flat, norm, norm_report, others_gradient, part_means
from sft_vs_rft.methods import METHODS, Batch
from sft_vs_rft.rewards import reward_table

_OPTIMIZERS = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}
_LARGEST_PASS = 1024  # inputs of a pass without gradients, unless a batch is larger


class ControlledTrainer(Trainer[Batch]):
    """Trains on the exact or sampled policy gradient, or on cross-entropy."""

    def __init__(self, config: ControlledConfig, data: Data, model: nn.Module) -> None:
        optimizer = _OPTIMIZERS[config.optimizer](
            model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        super().__init__(model, optimizer, validate_every=config.validate_every)
        self.config = config
        self.data = data
        self.method = METHODS[config.opt_method]
        self.params = [param for param in model.parameters() if param.requires_grad]
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

    def policy_logits(self, inputs: Tensor) -> Tensor:
        """Logits of the policy at its temperature, [B, C]."""
        logits: Tensor = self.model(inputs) / self.config.logits_temperature
        return logits

    def logits_without_grad(self, inputs: Tensor) -> Tensor:
        """The policy's logits for many inputs, [N, C], measured in evaluation mode."""
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            size = max(self.config.batch_size, _LARGEST_PASS)
            logits = torch.cat([self.policy_logits(chunk) for chunk in inputs.split(size)])
        self.model.train(training)
        return logits

    def _reference(self) -> Tensor | None:
        """[N, C] log-probabilities of the KL penalty's reference; None where there is none."""
        if self.config.kl_regularization_coeff == 0:
            return None
        if self.config.kl_reg_ref_unif:
            return objectives.uniform_log_probs(self.rewards)
        return self.logits_without_grad(self.data.train_inputs).log_softmax(-1)

    def batches(self) -> Iterator[Batch]:
        """The training inputs in random order, within each batch the changed ones first."""
        for chosen in shuffled(len(self.data.changed)).split(self.config.batch_size):
            changed = self.data.changed[chosen]
            layout = torch.cat([chosen[changed], chosen[~changed]])
            index = layout.to(self.rewards.device, non_blocking=True)
            yield Batch(
                self.data.train_inputs[index],
                self.targets[index],
                self.rewards[index],
                None if self.reference is None else self.reference[index],
                num_changed=int(changed.sum()),
            )

    def train_step(self, batch: Batch) -> tuple[dict[str, Tensor], dict[str, float]]:
        """One step of descent on the mean loss, or of ascent on the mean penalised reward."""
        logits = self.policy_logits(batch.inputs)  # [B, C]
        if self.method.sampled:
            batch = batch.with_drawn_labels(logits)
        objective, kl = self.method.penalised(
            logits, batch, self.config.kl_regularization_coeff
        )  # [B], [B]
        loss = -objective.mean() if self.method.maximised else objective.mean()
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        with torch.no_grad():
            report = self._measure_predictions(logits.detach(), batch, objective, kl)
        if self.config.diagnostics:
            report |= self._measure_gradients(batch)
        self.optimizer.step()
        size = float(batch.num_inputs)
        return report, {"train loss": size, "train accuracy": size}

    def _measure_predictions(
        self, logits: Tensor, batch: Batch, objective: Tensor, kl: Tensor
    ) -> dict[str, Tensor]:
        """Losses, accuracies and rewards of the predictions made before the update."""
        loss = objectives.cross_entropy(logits, batch.labels).mean()
        if self.config.multi_label:
            report = {"train loss": loss}
            if self.config.diagnostics:
                report |= {"reg objective value": objective.mean(), "kl reg": kl.mean()}
            return report
        correct = (logits.argmax(-1) == batch.labels).float()  # [B]
        report = {"train loss": loss, "train accuracy": correct.mean()}
        if not self.config.diagnostics:
            return report
        value, std = objectives.reward_mean_std(logits, batch.rewards)  # [B], [B]
        reward = value if batch.drawn is None else batch.drawn_rewards()
        report |= {
            "reg objective value": objective.mean(),
            "kl reg": kl.mean(),
            "reward": reward.mean(),
        }
        if batch.num_changed:
            per_input = {
                "reg objective": objective,
                "train accuracy": correct,
                "reward": reward,
                "avg reward std": std,
            }
            report |= part_means(per_input, batch.num_changed)
        return report

    def _measure_gradients(self, batch: Batch) -> dict[str, Tensor]:
        """Norms of the update's gradient, and of those of its two parts, before the update."""
        update = flat([param.grad for param in self.params])  # type: ignore[misc]
        params_norm = norm(flat([param.detach() for param in self.params]))
        report = {"params_norm": params_norm} | norm_report("", update, params_norm)
        if not batch.num_changed:
            return report
        changed = self._changed_gradient(batch)
        report |= norm_report(f" {CHANGED}", changed, params_norm)
        if batch.num_changed < batch.num_inputs:
            others = others_gradient(update, changed, batch.num_changed, batch.num_inputs)
            report |= norm_report(f" {OTHERS}", others, params_norm)
        return report

    def _changed_gradient(self, batch: Batch) -> Tensor:
        """[P] gradient of the loss, were the changed inputs the whole batch."""
        part = batch.changed_part()
        objective, _ = self.method.penalised(
            self.policy_logits(part.inputs), part, self.config.kl_regularization_coeff
        )
        loss = -objective.mean() if self.method.maximised else objective.mean()
        return flat(torch.autograd.grad(loss, self.params))

    def validate(self) -> dict[str, float]:
        """Loss, and accuracy where there is one label per input, on the test inputs."""
        pass_over_loader()
        logits = self.logits_without_grad(self.data.test_inputs)
        loss = objectives.cross_entropy(logits, self.test_targets).mean()
        if self.config.multi_label:
            return {"test loss": loss.item()}
        accuracy = (logits.argmax(-1) == self.test_targets).float().mean()
        loss_value, accuracy_value = torch.stack([loss, accuracy]).tolist()
        return {"test loss": loss_value, "test accuracy": accuracy_value}

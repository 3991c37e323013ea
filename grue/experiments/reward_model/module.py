"""Trainable reward model: a sequence classifier with gain and bias."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from common.errors import UserError
from common.training.attention_masks import masks_without_waits
from common.training.seeding import seeded
from grue.experiments.reward_model.config import RewardModelAlg
from grue.experiments.reward_model.objectives import Objective
from grue.models.heads import in_float32
from grue.models.loading import dropouts, with_adapters
from grue.models.precision import exactly
from grue.models.weights import check_weights, loaded, pretrained
from grue.scorers.inputs import Encoded, pad_right

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

Row = Mapping[str, Any]
"""An example: ``texts``, the encoded responses [m], and its ``target``."""


class RewardModule(nn.Module):
    """Module of ``gain * logit + bias`` for one logit; several logits are those of ratings.

    Gain and bias are trained with the rest, and set by normalisation (arXiv 1909.08593).
    """

    def __init__(self, model: PreTrainedModel, objective: Objective[Any]) -> None:
        super().__init__()
        self.model = model
        self.objective = objective
        trained = objective.num_outputs == 1
        self.gain = nn.Parameter(torch.ones(()), requires_grad=trained)
        self.bias = nn.Parameter(torch.zeros(()), requires_grad=trained)

    @masks_without_waits()
    def forward(self, targets: Tensor, **encoded: Tensor) -> dict[str, Tensor]:
        """Return the mean loss of B examples; ``encoded`` has texts [B m, P] and targets [B]."""
        logits = self.model(**encoded).logits.float()  # [B m, C]
        with exactly(logits.device):
            outputs = self.outputs(logits.view(len(targets), -1, logits.shape[-1]))
            return {"loss": self.objective.loss(outputs, targets).mean()}

    def outputs(self, logits: Tensor) -> Tensor:
        """Return scores [B, m] for logits [B, m, 1]; rating logits [B, m, C] unchanged."""
        if self.objective.num_outputs > 1:
            return logits
        return self.gain.to(logits) * logits.squeeze(-1) + self.bias.to(logits)

    def scale(self) -> tuple[float, float]:
        """Return gain and bias."""
        return float(self.gain.detach()), float(self.bias.detach())

    @torch.no_grad()
    def set_scale(self, gain: float, bias: float) -> None:
        """Set the gain and the bias."""
        self.gain.fill_(gain)
        self.bias.fill_(bias)


def collate(rows: Sequence[Row], *, pad_token: int) -> dict[str, Tensor]:
    """Return examples as tensors: encoded texts [B m, P], padded on the right, and targets [B]."""
    texts: list[Encoded] = [encoded for row in rows for encoded in row["texts"]]
    targets = torch.tensor([row["target"] for row in rows], dtype=torch.float32)
    return {**pad_right(texts, pad_token), "targets": targets}


def load_module(
    alg: RewardModelAlg, tokenizer: PreTrainedTokenizerBase, objective: Objective[Any], *, seed: int
) -> RewardModule:
    """Return the model with a new head, on the CPU.

    Random weights are drawn from ``seed``.

    Raises:
        UserError: there is no such model, or it has no classification head.
    """
    from transformers import AutoConfig, AutoModelForSequenceClassification

    kind, key = AutoModelForSequenceClassification, "alg.model_name"
    dtype = getattr(torch, alg.dtype)
    config = loaded(
        AutoConfig.from_pretrained,
        alg.model_name,
        key,
        revision=alg.revision,
        id2label={number: f"LABEL_{number}" for number in range(objective.num_outputs)},
        pad_token_id=tokenizer.pad_token_id,
    )
    dropped = {} if alg.dropout else dropouts(config)
    config.update(dict.fromkeys(dropped, 0.0))
    with seeded(seed):
        if alg.init == "random":
            config.vocab_size = len(tokenizer)
            model = kind.from_config(config).to(dtype)
        else:
            check_weights(alg.model_name, key, "alg.init")
            options = {"config": config, "dtype": dtype}
            model = pretrained(
                kind, alg.model_name, key, revision=alg.revision, new_head=True, **options
            )
        model.config = copy.deepcopy(model.config)  # the layers keep theirs
        model.config.update(dropped)
        in_float32(init_head(model, objective.num_outputs, alg.head_std))
        if alg.lora is not None:
            model = with_adapters(model, alg.lora, "SEQ_CLS", dropout=alg.dropout, key="alg.lora")
    return RewardModule(model, objective)


@torch.no_grad()
def init_head(model: nn.Module, num_outputs: int, std: float | None = None) -> nn.Linear:
    """Draw the weights of the last layer from Normal(0, std), 1 / sqrt(width + 1) by default.

    Its bias, if it has one, becomes 0. The layer is returned.

    Raises:
        UserError: the model has no such layer.
    """
    layers = [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear) and module.out_features == num_outputs
    ]
    if not layers:
        raise UserError(
            f"'alg.model_name': a {type(model).__name__} has no layer with {num_outputs} outputs; "
            "take a model that transformers knows for sequence classification"
        )
    head = layers[-1]
    head.weight.normal_(std=(head.in_features + 1) ** -0.5 if std is None else std)
    if head.bias is not None:
        head.bias.zero_()
    return head

"""Names of the architectures that a configuration may use."""

from __future__ import annotations

from common.errors import UserError
from common.registry import suggestion

BERT_PREFIX = "bert:"
VISION_MODELS = {
    **{name: name for name in ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")},
    "wide_resnet50": "wide_resnet50_2",
    "wide_resnet101": "wide_resnet101_2",
    **{f"vgg{depth}{bn}": f"vgg{depth}{bn}" for depth in (11, 13, 16, 19) for bn in ("", "_bn")},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 161, 169, 201)},
    "googlenet": "googlenet",
    "inception_v3": "inception_v3",
}
"""torchvision's names of the published architectures."""
BERT_SIZES = ("bert-tiny", "bert-mini", "bert-small", "bert-medium")
MODEL_TYPES = ("mlp", *VISION_MODELS, *BERT_SIZES)


class ModelError(UserError):
    """Error of a model that cannot be made by its name, or for the given data."""

    def __init__(self, model_type: str, why: str) -> None:
        super().__init__(f"'model_type' = '{model_type}': {why}")


def known_model(name: str) -> str:
    """Return ``name`` unchanged if it is a known architecture.

    Raises:
        ValueError: it is not.
    """
    if name in MODEL_TYPES or (name.startswith(BERT_PREFIX) and name != BERT_PREFIX):
        return name
    raise ValueError(
        f"unknown{suggestion(name, list(MODEL_TYPES))}; known: {', '.join(MODEL_TYPES)}, and "
        "bert:<hub id or folder>"
    )

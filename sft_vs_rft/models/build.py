"""Construction of classifiers by name: inputs in, logits out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from torch import nn

from sft_vs_rft.config import ControlledConfig
from sft_vs_rft.model_names import VISION_MODELS, ModelError
from sft_vs_rft.models.pooling import AveragePool

_SMALLEST_SIDE = {"vgg": 32, "densenet": 29, "googlenet": 15, "inception": 75}


def build_model(
    config: ControlledConfig, input_shape: tuple[int, ...], num_classes: int
) -> nn.Module:
    """Return the classifier that the configuration names, with fresh weights.

    Args:
        config: names the architecture.
        input_shape: shape of one input; empty for texts.
        num_classes: number of classes, C.

    Raises:
        ModelError: the architecture does not take inputs of this shape.
    """
    if config.model_type == "mlp":
        return mlp(input_shape, config.mlp_hidden_layer_sizes, num_classes)
    if config.is_bert:
        from sft_vs_rft.models.bert import bert

        return bert(config.model_type, num_classes, config.model_revision)
    return vision_model(config.model_type, input_shape, num_classes)


def mlp(
    input_shape: Sequence[int], hidden_layer_sizes: Sequence[int], num_classes: int
) -> nn.Module:
    """Return a multilayer perceptron with ReLU and biases.

    Layers are created from input to output with torch's default initialisation, so that a seeded
    generator gives the published weights.

    Returns:
        Module from [B, *input_shape] to [B, num_classes] logits.
    """
    widths = [math.prod(input_shape), *hidden_layer_sizes, num_classes]
    layers: list[nn.Module] = [nn.Flatten()]
    for width_in, width_out in itertools.pairwise(widths):
        layers += [nn.Linear(width_in, width_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def vision_model(model_type: str, input_shape: tuple[int, ...], num_classes: int) -> nn.Module:
    """Return a torchvision classifier whose first and last layer fit channels and classes.

    Random draws are in the published order: torchvision's own 1000-class model, then the last
    layer, then the first layer if the input is not RGB.

    Raises:
        ModelError: inputs are no images, or smaller than the architecture takes.
    """
    import torchvision.models
    from torchvision.models import VGG

    if len(input_shape) != 3:
        raise ModelError(model_type, "needs images, [channels, height, width]")
    channels, *sides = input_shape
    smallest = next((s for name, s in _SMALLEST_SIDE.items() if model_type.startswith(name)), 1)
    if min(sides) < smallest:
        raise ModelError(
            model_type,
            f"needs images of at least {smallest} x {smallest}, not {sides[0]} x {sides[1]}",
        )
    name = VISION_MODELS[model_type]
    extra: dict[str, Any] = {}
    if model_type in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": True}
    model: nn.Module = getattr(torchvision.models, name)(weights=None, **extra)
    last = "fc" if hasattr(model, "fc") else "classifier"
    _replace_last_layer(model, last, num_classes)
    if channels != 3:
        _replace_first_layer(model, channels)
    if isinstance(model, VGG):
        model.avgpool = AveragePool(model.avgpool.output_size)
    return model


def _replace_last_layer(model: nn.Module, name: str, num_classes: int) -> None:
    layer = getattr(model, name)
    if isinstance(layer, nn.Sequential):  # VGG: linear layers with dropout between them
        of_imagenet = layer[-1]
        assert isinstance(of_imagenet, nn.Linear), of_imagenet
        layer[-1] = nn.Linear(of_imagenet.in_features, num_classes)
    else:
        setattr(model, name, nn.Linear(layer.in_features, num_classes))


def _replace_first_layer(model: nn.Module, channels: int) -> None:
    """Replace the first convolution by one of the same form over ``channels``."""
    path, old = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, name = path.rpartition(".")
    new = nn.Conv2d(
        channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]  # torch's types leave open how many sides
        old.stride,  # type: ignore[arg-type]  # likewise
        old.padding,  # type: ignore[arg-type]  # likewise
        bias=old.bias is not None,
    )
    setattr(model.get_submodule(parent), name, new)

"""Classifiers: inputs in, logits out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from torch import nn


def mlp(
    input_shape: Sequence[int], hidden_layer_sizes: Sequence[int], num_classes: int
) -> nn.Module:
    """A multilayer perceptron with ReLU and biases.

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

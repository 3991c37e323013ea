"""Average pooling of images with a deterministic gradient."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class AveragePool(nn.AdaptiveAvgPool2d):
    """Adaptive average pooling with a deterministic gradient on GPUs, if determinism is configured.

    It has no weights, like the module that it replaces.
    """

    output_size: tuple[int, int]
    """Rows and columns of averages."""

    def __init__(self, output_size: tuple[int, int]) -> None:
        super().__init__(output_size)

    def forward(self, images: Tensor) -> Tensor:
        """Return images [..., height, width] as averages [..., *output_size]."""
        if not torch.are_deterministic_algorithms_enabled():
            return super().forward(images)
        rows, columns = (
            _averages(size, count, images)
            for size, count in zip(images.shape[-2:], self.output_size, strict=True)
        )
        return rows @ images @ columns.mT


def _averages(size: int, count: int, like: Tensor) -> Tensor:
    """Return [count, size] weights of ``count`` averages over stretches of ``size`` numbers.

    Stretch i goes from floor(i size / count) to ceil((i + 1) size / count), as in torch. The
    weights are of the type and on the device of ``like``.
    """
    numbers = torch.arange(count, device=like.device)[:, None]
    places = torch.arange(size, device=like.device)
    ends = -(-(numbers + 1) * size // count)
    inside = ((places >= numbers * size // count) & (places < ends)).to(like)
    return inside / inside.sum(1, keepdim=True)

"""What a device can do at best: what speeds are set against."""

from __future__ import annotations

import torch

from tests.benchmarks.timing import seconds_of

_COPIED = 2**30
"""Bytes of the copy that tells the memory's bandwidth, on a GPU."""
_COPIED_ON_CPU = 2**26
_DENSE_TFLOPS = {
    "H200": {"float32": 67, "tf32": 495, "bf16": 989},
    "H100": {"float32": 67, "tf32": 495, "bf16": 989},
    "A100": {"float32": 19.5, "tf32": 156, "bf16": 312},
    "L4": {"float32": 30.3, "tf32": 60, "bf16": 121},
}
"""10^12 operations per second without sparsity, as the maker's data sheets give them (SXM)."""


def bandwidth(device: torch.device) -> float:
    """Bytes per second that the device's memory reads and writes, measured by copies."""
    size = _COPIED if device.type == "cuda" else _COPIED_ON_CPU
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    target.copy_(source)
    times = 10
    seconds = seconds_of(lambda: [target.copy_(source) for _ in range(times)], device)
    return 2 * size * times / seconds


def peak_flops(device: torch.device, precision: str) -> tuple[str, float] | None:
    """The device's name and its operations per second; None where its data sheet is not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    for known, peaks in _DENSE_TFLOPS.items():
        if known in name:
            return name, peaks[precision] * 1e12
    return None

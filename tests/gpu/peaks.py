"""What a device can do at most: measured, or as its maker says."""

from __future__ import annotations

import torch

from tests.benchmarks.timing import medians_in_turns

_ROUNDS = 5
_PEAKS = {
    ("H100", "float32"): 66.9e12, ("H100", "bf16"): 989.4e12,
    ("H200", "float32"): 66.9e12, ("H200", "bf16"): 989.4e12,
    ("A100", "float32"): 19.5e12, ("A100", "bf16"): 312.0e12,
}  # fmt: skip
"""Floating-point operations per second of the SXM cards' data sheets, without sparsity; float32
without TF32."""


def bandwidth(device: torch.device, num_bytes: int) -> float:
    """Bytes per second that a copy on the device reads and writes."""
    source = torch.ones(num_bytes // 4, device=device)
    target = torch.empty_like(source)
    seconds = medians_in_turns({"copy": lambda: target.copy_(source)}, _ROUNDS, device)["copy"]
    return 2 * num_bytes / seconds


def peak(device: torch.device, precision: str) -> tuple[str, float] | None:
    """The device's name and its operations per second; None where they are not known."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    found = [flops for (card, kind), flops in _PEAKS.items() if card in name and kind == precision]
    return (name, found[0]) if found else None

"""Numbers between the host and the device."""

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host on the device; neither waits for the other."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)


def to_host(*tensors: Tensor) -> list[Tensor]:
    """Float32 tensors of one device on the host: from a GPU in one transfer, which waits for it once."""
    if all(t.device.type == "cpu" for t in tensors):
        return list(tensors)
    flat = torch.cat([t.flatten() for t in tensors]).cpu()
    parts = torch.split(flat, [t.numel() for t in tensors])
    return [part.view(t.shape) for part, t in zip(parts, tensors, strict=True)]

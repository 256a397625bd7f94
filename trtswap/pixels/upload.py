"""Numbers that the host works out, on their way to the device."""

import torch
from torch import Tensor


def on_device(values: Tensor, device: torch.device) -> Tensor:
    """A small tensor of the host on the device; neither waits for the other."""
    return values.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else values.to(device)

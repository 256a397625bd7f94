"""How many frames are read, and how many faces go through the networks, at once: from the memory that is free."""

import os

import torch

# Sizes to choose from; few, so that engines, CUDA graphs and allocations are used again.
BUCKETS = (1, 2, 4, 8, 16, 32)
# More than this gains nothing on a CPU: a batch of four leaves its caches already.
LARGEST_ON_CPU = 4
# Bytes of activations for each pixel of the canvas: full-size SimSwap, BiSeNet and GFPGAN took 630 MB a face of 512.
BYTES_PER_CANVAS_PIXEL = 2500
# Batches that are on their way at once: one in each of five roles, one in each queue, two that wait for the tracker.
BATCHES_ON_THE_WAY = 11
# Share of the free memory that may be planned with; the rest is the codecs', the weights' and other programs'.
SHARE = 0.25


def faces_at_once(canvas_size: int, device: torch.device) -> int:
    """How many faces go through the networks at once on a canvas of that side, pixels."""
    return _largest(canvas_size**2 * BYTES_PER_CANVAS_PIXEL, device)


def frames_at_once(frame_bytes: int, device: torch.device) -> int:
    """How many frames are a batch, for frames whose planes have so many bytes."""
    return _largest(frame_bytes * BATCHES_ON_THE_WAY, device)


def free_bytes(device: torch.device) -> int:
    """Memory of the device that nobody uses now."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if not hasattr(os, "sysconf") or "SC_AVPHYS_PAGES" not in os.sysconf_names:
        return 1 << 32
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _largest(bytes_each: int, device: torch.device) -> int:
    fitting = SHARE * free_bytes(device) / max(1, bytes_each)
    limit = BUCKETS[-1] if device.type == "cuda" else LARGEST_ON_CPU
    return max(bucket for bucket in BUCKETS if bucket == 1 or bucket <= min(fitting, limit))

"""How much is worked on at once: frames and faces, from the memory that is free, and batches, from the cores."""

import os

import torch

from trtswap.backends import Choice
from trtswap.backends import device as gpus
from trtswap.errors import InputError

# Sizes to choose from; few, so that engines, CUDA graphs and allocations are used again.
BUCKETS = (1, 2, 4, 8, 16, 32)
# More than this gains nothing on a CPU: a batch of four leaves its caches already, and so do activations of so many
# bytes. Full-size networks take as long for each of four faces as for one (5.6 and 5.3 s of one core), and 6.1 GB in
# place of 2.4; those of the pack avatar as long for each of four as of two, and 1,260 MB in place of 955 (two workers,
# ONNX Runtime).
LARGEST_ON_CPU = 4
ACTIVATIONS_ON_CPU = 350 << 20
# Bytes of a batch's planes: two frames of 1080p swap 2 to 3 % slower than four, in 90 MB less.
PLANES_ON_CPU = 8 << 20
# Bytes of activations for each pixel of the canvas: full-size SimSwap, BiSeNet and GFPGAN took 630 MB a face of 512.
BYTES_PER_CANVAS_PIXEL = 2500
# Batches that are on their way at once: one in each of five roles, one in each queue, two that wait for the tracker,
# two more where the faces of several are made.
BATCHES_ON_THE_WAY = 13
# Batches whose faces are made at the same time on a CPU; more was never measured.
WORKERS_ON_CPU = 2
# Share of the free memory that may be planned with; the rest is the codecs', the weights' and other programs'.
SHARE = 0.25


def faces_at_once(canvas_size: int, device: torch.device, *, workers: int = 1) -> int:
    """How many faces each worker sends through the networks at once on a canvas of that side, pixels."""
    each = canvas_size**2 * BYTES_PER_CANVAS_PIXEL
    return _largest(workers * each, device, gain=ACTIVATIONS_ON_CPU // each)


def frames_at_once(frame_bytes: int, device: torch.device) -> int:
    """How many frames are a batch, for frames whose planes have so many bytes."""
    return _largest(frame_bytes * BATCHES_ON_THE_WAY, device, gain=PLANES_ON_CPU // max(1, frame_bytes))


def workers_for(choice: Choice, threads: int | None) -> int:
    """How many workers make the faces of a video fastest.

    Args:
        threads: CPU threads of all networks together; every core where None.
    """
    return min(WORKERS_ON_CPU, threads or cores()) if shares_cores(choice) else 1


def threads_of_each(workers: int, choice: Choice, threads: int | None) -> int | None:
    """CPU threads of each call of a network; None leaves it to the backend.

    Raises:
        InputError: several workers where there can be one.
    """
    if workers == 1:
        return threads
    if not shares_cores(choice):
        raise InputError(
            f"workers is {workers}, but {choice.backend} on {choice.device} makes the faces of one batch at a time; "
            "expected 1, or onnxruntime or openvino on a CPU."
        )
    return max(1, (threads or cores()) // workers)


def shares_cores(choice: Choice) -> bool:
    """Whether several calls of a network may run at the same time, each on its share of the CPU's cores."""
    return choice.device.type == "cpu" and choice.backend in ("onnxruntime", "openvino")


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _largest(bytes_each: int, device: torch.device, *, gain: int) -> int:
    """The largest size that fits; on a CPU none beyond ``gain``, which is the last that gains anything."""
    fitting = SHARE * gpus.device_of(device).free_bytes() / max(1, bytes_each)
    limit = BUCKETS[-1] if device.type == "cuda" else min(LARGEST_ON_CPU, gain)
    return max(bucket for bucket in BUCKETS if bucket == 1 or bucket <= min(fitting, limit))

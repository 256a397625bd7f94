"""What single backends can be told beyond the graph and the device."""

from dataclasses import dataclass, field

import torch

from trtswap.backends import device as gpus
from trtswap.backends.rtx_provider import Shapes
from trtswap.errors import InputError


@dataclass(frozen=True, kw_only=True)
class OnnxRuntimeOptions:
    """Of ONNX Runtime.

    Attributes:
        threads: CPU threads of one call; every core where None.
        shapes: for TensorRT for RTX, which compiles for shapes: smallest, best and largest of each input that has
            dynamic dimensions; its own guess where empty.
    """

    threads: int | None = None
    shapes: Shapes = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class OpenVinoOptions:
    """Of OpenVINO.

    Attributes:
        threads: CPU threads of one call; where None, all calls together have every core.
        calls: how many calls run at the same time; further ones wait for one of them.
        kept_as: hash of the graph's file, under which what is compiled is kept (:mod:`~trtswap.backends.compiled`);
            None keeps nothing.
    """

    threads: int | None = None
    calls: int = 1
    kept_as: str | None = None


@dataclass(frozen=True, kw_only=True)
class TorchOptions:
    """Of PyTorch, whose calls share the thread pool of the process: set it with ``torch.set_num_threads``.

    Attributes:
        half: dtype of convolutions and matrix products, ``torch.float16`` or ``torch.bfloat16``; None: the graph's.
    """

    half: torch.dtype | None = None


@dataclass(frozen=True, kw_only=True)
class TensorRtOptions:
    """Of TensorRT.

    Attributes:
        host_code: load engines that carry code for the CPU, too; see :class:`~trtswap.options.RuntimeOptions`.
    """

    host_code: bool = False


BFLOAT16_CAPABILITY = (8, 0)
"""Compute capability from which GPUs multiply bfloat16 in hardware: Ampere's (CUDA C++ Programming Guide, 17.1)."""


def has_bfloat16(device: torch.device) -> bool:
    """Whether a device is a GPU with arithmetic of bfloat16; Turing, such as the T4, has none."""
    if device.type != "cuda":
        return False
    capability = gpus.find_gpu(device).facts.compute_capability
    return tuple(int(part) for part in capability.split(".")) >= BFLOAT16_CAPABILITY


BackendOptions = OnnxRuntimeOptions | OpenVinoOptions | TorchOptions | TensorRtOptions


def on_cores(backend: str, threads: int | None, *, calls: int = 1, kept_as: str | None = None) -> BackendOptions | None:
    """How a backend uses the CPU's cores; None where it uses none.

    Args:
        backend: that runs; not ``auto``.
        threads: of one call; the backend's default where None.
        calls: how many run at the same time.
        kept_as: see :class:`OpenVinoOptions`; means nothing to the others.

    Raises:
        InputError: ``threads`` of a backend that has none of its own.
    """
    if backend == "onnxruntime":
        return OnnxRuntimeOptions(threads=threads)
    if backend == "openvino":
        return OpenVinoOptions(threads=threads, calls=calls, kept_as=kept_as)
    if backend == "torch" and threads is not None:
        raise InputError(
            f"threads is {threads}, but the torch backend shares the thread pool of the process; "
            "set it with torch.set_num_threads and pass threads=None."
        )
    if backend == "tensorrt" and threads is not None:
        raise InputError(f"threads is {threads}, but tensorrt runs on a GPU and uses no CPU threads; expected None.")
    return None

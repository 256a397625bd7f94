"""TensorRT for RTX inside of ONNX Runtime: the provider that NVIDIA's plugin package brings.

It compiles a graph when a session is made, keeps what it has compiled in a folder, and needs no cuDNN. Names and
meanings of its options are those of ``tensorrt_rtx_provider_options.h`` 0.5.0, which travels in the package.
"""

import ctypes
import threading
from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from trtswap.errors import BackendError

PACKAGE = "onnxruntime-ep-nv-tensorrt-rtx-cu13"
MODULE = "onnxruntime_ep_nv_tensorrt_rtx"
NAME = "NvTensorRTRTXExecutionProvider"
Shape = tuple[int, ...]
Shapes = Mapping[str, tuple[Shape, Shape, Shape]]
"""Smallest, best and largest shape of every input that has dynamic dimensions."""

_LOCK = threading.Lock()  # a library is registered once in a process


def is_installed() -> bool:
    """Whether NVIDIA's package is here."""
    return find_spec(MODULE) is not None


def runs_on(capability: str) -> bool:
    """Whether the provider takes GPUs of a compute capability: 8.6, 8.9, and 12.0 on."""
    return capability in ("8.6", "8.9") or int(capability.split(".", maxsplit=1)[0]) >= 12


def find_device(onnxruntime: Any, gpu: torch.device) -> Any:
    """The provider's device for a GPU, an ``OrtEpDevice``.

    Raises:
        BackendError: the provider cannot be loaded, or does not know the GPU.
    """
    _register(onnxruntime)
    known = [device for device in onnxruntime.get_ep_devices() if device.ep_name == NAME]
    if len(known) > 1:
        place = _bus_id(gpu)
        known = [d for d in known if place in {str(value).lower() for value in d.device.metadata.values()}]
    if not known:
        raise BackendError(
            f"{gpu}: TensorRT for RTX in ONNX Runtime found no GPU that it runs on. It needs one of compute capability "
            "8.6, 8.9, or 12.0 and later, and a driver for CUDA 13 (580 or newer). Take --backend torch, or --device "
            "cpu."
        )
    return known[0]


def provider_options(*, stream: int, shapes: Shapes, cache: Path) -> dict[str, str]:
    """Options of a session.

    Work is queued on the given stream and never waited for; CUDA graphs are left out, since they want one shape.

    Args:
        stream: the ``cudaStream_t`` as a number.
        shapes: that shall run; the provider's own guess where empty.
        cache: folder in which compiled kernels are kept.
    """
    options = {
        "has_user_compute_stream": "1",
        "user_compute_stream": str(stream),
        "enable_cuda_graph": "0",
        "nv_runtime_cache_path": str(cache),
    }
    if shapes:
        for index, kind in enumerate(("min", "opt", "max")):
            options[f"nv_profile_{kind}_shapes"] = _profile({name: s[index] for name, s in shapes.items()})
    return options


def spanned(profiles: Sequence[tuple[Shape, Shape, Shape]]) -> tuple[Shape, Shape, Shape]:
    """One profile of an input that allows what any of several allow, best at the first one's best shape."""
    lowest = tuple(map(min, zip(*(least for least, _, _ in profiles), strict=True)))
    highest = tuple(map(max, zip(*(most for _, _, most in profiles), strict=True)))
    return lowest, profiles[0][1], highest


def _profile(shapes: Mapping[str, Sequence[int]]) -> str:
    return ";".join(f"{name}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _register(onnxruntime: Any) -> None:
    package: Any = import_module(MODULE)
    _load_cuda_runtime(Path(package.__file__).parent)
    with _LOCK:
        if any(device.ep_name == NAME for device in onnxruntime.get_ep_devices()):
            return
        try:
            onnxruntime.register_execution_provider_library(NAME, package.get_library_path())
        except Exception as e:
            if "already registered" in str(e):
                return
            missing = "; NVIDIA's driver is not installed" if "libcuda.so" in str(e) or "libnvidia-ml" in str(e) else ""
            raise BackendError(
                f"TensorRT for RTX cannot be loaded into ONNX Runtime {onnxruntime.__version__}{missing}: {e}. Take "
                f"--device cpu, or install the driver and {PACKAGE} again."
            ) from e


def _load_cuda_runtime(folder: Path) -> None:
    """CUDA's runtime under the name that the provider asks for: a system's or PyTorch's own, else the package's.

    The package ships it under its full version alone, which the loader does not find.
    """
    try:
        ctypes.CDLL("libcudart.so.13", mode=ctypes.RTLD_GLOBAL)
    except OSError:
        for file in sorted(folder.glob("libcudart.so.13*")):
            ctypes.CDLL(str(file), mode=ctypes.RTLD_GLOBAL)


def _bus_id(gpu: torch.device) -> str:
    """Address on the PCI bus, such as ``0000:65:00.0``, by which ONNX Runtime tells GPUs apart."""
    properties: Any = torch.cuda.get_device_properties(gpu)
    return f"{properties.pci_domain_id:04x}:{properties.pci_bus_id:02x}:{properties.pci_device_id:02x}.0"

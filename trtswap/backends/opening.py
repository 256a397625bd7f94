"""Which backend runs, and opening a graph with it."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from trtswap.backends.engine import Engine
from trtswap.errors import BackendError, InputError

if TYPE_CHECKING:
    from trtswap.pack import StageSpec

BACKENDS = ("auto", "onnxruntime", "tensorrt", "torch")


@dataclass(frozen=True)
class Choice:
    """The backend and device that will run, and one sentence for people that says why."""

    backend: str
    device: torch.device
    reason: str


def choose(backend: str = "auto", device: str | torch.device = "auto") -> Choice:
    """Decide which backend runs where.

    ``auto`` takes PyTorch on a GPU that is present, else ONNX Runtime on the CPU. What is asked for by name is
    taken or refused, never replaced.

    Args:
        backend: one of ``BACKENDS``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.

    Raises:
        InputError: no such backend or kind of device.
        BackendError: the backend or device is not available here.
    """
    if backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}.")
    if backend == "tensorrt":
        raise BackendError(
            "The tensorrt backend is not part of this version of trtswap; use backend='torch' on a GPU or 'auto'."
        )
    place = None if device == "auto" else _explicit_device(device)
    if backend == "auto":
        return _automatic(place)
    if backend == "torch":
        _require("onnx", "The torch backend reads graphs with onnx", 'pip install "trtswap[export]"')
        place = place or torch.device(
            *(("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else ("cpu",))
        )
        return Choice("torch", place, f"torch on {place}, as asked for.")
    _require("onnxruntime", "The onnxruntime backend needs ONNX Runtime", "pip install onnxruntime")
    place = place or torch.device("cpu")
    if place.type == "cuda":
        _require_onnxruntime_cuda()
    return Choice("onnxruntime", place, f"onnxruntime on {place}, as asked for.")


def open_engine(
    graph: "Path | str | StageSpec",
    *,
    backend: str = "auto",
    device: str | torch.device = "auto",
    threads: int | None = None,
    half: torch.dtype | None = None,
    cuda_graphs: bool = False,
) -> Engine:
    """Load a graph.

    Args:
        graph: an ONNX file, or a stage of a pack.
        backend, device: as :func:`choose` takes them.
        threads: CPU threads of an ONNX Runtime session; None lets it use every core. The torch backend shares
            the thread pool of its process and takes no number of its own.
        half, cuda_graphs: of the torch backend, see :class:`~trtswap.backends.torch.TorchEngine`.

    Raises:
        InputError: an argument has a value that nothing here takes.
        BackendError: the backend is not available, or cannot load the file.
    """
    choice = choose(backend, device)
    file, precision = (
        (Path(graph), "as in the graph") if isinstance(graph, str | Path) else (graph.path, graph.precision)
    )
    if choice.backend == "torch":
        if threads is not None:
            raise InputError(
                f"threads is {threads}, but the torch backend shares the thread pool of the process; "
                "set it with torch.set_num_threads and pass threads=None."
            )
        from trtswap.backends.torch import TorchEngine  # noqa: PLC0415 - imports onnx

        return TorchEngine(file, device=choice.device, precision=precision, half=half, cuda_graphs=cuda_graphs)
    if half is not None or cuda_graphs:
        raise InputError("half and cuda_graphs are options of the torch backend; expected none for another.")
    from trtswap.backends.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415 - imports onnxruntime

    return OnnxRuntimeEngine(file, device=choice.device, precision=precision, threads=threads)


def _automatic(place: torch.device | None) -> Choice:
    tensorrt = "TensorRT is not part of this version"
    if place is None and torch.cuda.is_available() and find_spec("onnx") is None:
        why = 'a GPU is here, but the torch backend that would use it needs: pip install "trtswap[export]"'
        return Choice("onnxruntime", torch.device("cpu"), f"onnxruntime on the CPU: {why}.")
    if place is None and torch.cuda.is_available():
        place = torch.device("cuda", torch.cuda.current_device())
    if place is not None and place.type == "cuda":
        _require("onnx", "The torch backend reads graphs with onnx", 'pip install "trtswap[export]"')
        return Choice("torch", place, f"torch on {torch.cuda.get_device_name(place)}: {tensorrt}.")
    _require("onnxruntime", "The onnxruntime backend needs ONNX Runtime", "pip install onnxruntime")
    why = "PyTorch sees no CUDA device" if place is None else "the device asked for"
    return Choice("onnxruntime", torch.device("cpu"), f"onnxruntime on the CPU: {why}.")


def _explicit_device(device: str | torch.device) -> torch.device:
    try:
        place = torch.device(device)
    except RuntimeError as e:
        raise InputError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N.") from e
    if place.type == "cpu":
        return torch.device("cpu")
    if place.type != "cuda":
        raise InputError(f"device is {device!r}, expected auto, cpu, cuda or cuda:N.")
    if not torch.cuda.is_available():
        raise BackendError(
            f"device is {str(device)!r}, but PyTorch sees no CUDA device. Check the driver with nvidia-smi and that a "
            "CUDA build of torch is installed, or use device='cpu'."
        )
    index = torch.cuda.current_device() if place.index is None else place.index
    if index >= torch.cuda.device_count():
        raise BackendError(f"device is {str(device)!r}, but there are {torch.cuda.device_count()} CUDA devices.")
    return torch.device("cuda", index)


def _require(module: str, need: str, remedy: str) -> None:
    if find_spec(module) is None:
        raise BackendError(f"{need}, which is not installed: {remedy}.")


def _require_onnxruntime_cuda() -> None:
    import onnxruntime  # noqa: PLC0415 - a heavy library, imported on use

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise BackendError(
            "This build of ONNX Runtime has no CUDA provider: install onnxruntime-gpu in place of onnxruntime, use "
            "backend='torch' for the GPU, or device='cpu'."
        )

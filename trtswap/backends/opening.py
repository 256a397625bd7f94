"""Which backend runs, and opening a graph with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from trtswap.arguments import expect
from trtswap.backends import device as gpus
from trtswap.backends.engine import Engine
from trtswap.backends.options import BackendOptions, OnnxRuntimeOptions, OpenVinoOptions, TensorRtOptions, TorchOptions
from trtswap.backends.trt.library import installed_libraries, suited
from trtswap.backends.trt.plans import missing_plans, places_here
from trtswap.errors import BackendError, InputError, PackError

if TYPE_CHECKING:
    from trtswap.model.pack import StageSpec

T = TypeVar("T", OnnxRuntimeOptions, OpenVinoOptions, TensorRtOptions, TorchOptions)
BACKENDS = ("auto", "onnxruntime", "openvino", "tensorrt", "torch")
# Frames that repay what OpenVINO needs longer to open a pack: 1.4 CPU seconds with the pack avatar, of which each frame
# saves 0.02.
REPAID = 64


@dataclass(frozen=True)
class Choice:
    """The backend and device that will run, and one sentence for people that says why."""

    backend: str
    device: torch.device
    reason: str


def choose(
    backend: str = "auto",
    device: str | torch.device = "auto",
    *,
    graphs: "Sequence[StageSpec]" = (),
    frames: int | None = None,
) -> Choice:
    """Decide which backend runs where.

    ``auto`` takes TensorRT where there is a GPU and an engine of every graph, else PyTorch on a GPU that is present.
    On a CPU it takes OpenVINO where that is installed and the CPU has AVX-512, on which it was measured to be faster
    (``bench/cpu_runtimes.py``), else ONNX Runtime, and for fewer than ``REPAID`` frames, too, and for packs that work
    with points alone: of `mesh` it makes 23 frames a second, OpenVINO 20 with 1.3 times the memory. What is asked for
    by name is taken or refused, never replaced.

    Args:
        backend: one of ``BACKENDS``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:1``.
        graphs: what is to run; TensorRT has to be compiled for each, so without them ``auto`` does not take it.
        frames: how many frames are to be swapped; None: many, or nobody knows.

    Raises:
        InputError: no such backend or kind of device.
        BackendError: the backend or device is not available here.
    """
    expect("backend", backend, str, "its name")
    expect("device", device, str | torch.device, "auto, cpu, cuda or cuda:N")
    if backend not in BACKENDS:
        raise InputError(f"backend is {backend!r}, expected one of {', '.join(BACKENDS)}.")
    place = None if device == "auto" else _explicit_device(device)
    if backend == "auto":
        return _automatic(place, graphs, frames)
    if backend == "tensorrt":
        gpu = gpus.find_gpu(place)
        installed_libraries()
        return Choice("tensorrt", gpu.device, f"tensorrt on {gpu.facts.name}, as asked for.")
    if backend == "torch":
        _require("onnx", "The torch backend reads graphs with onnx", 'pip install "trtswap[export]"')
        place = place or torch.device(
            *(("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else ("cpu",))
        )
        return Choice("torch", place, f"torch on {place}, as asked for.")
    place = place or torch.device("cpu")
    if backend == "openvino":
        if place.type != "cpu":
            raise BackendError(f"device is {str(place)!r}; the openvino backend runs on the CPU: expected cpu or auto.")
        for package in ("openvino", "onnx"):
            _require(package, f"The openvino backend needs {package}", 'pip install "trtswap[openvino]"')
        return Choice("openvino", place, f"openvino on {place}, as asked for.")
    _require("onnxruntime", "The onnxruntime backend needs ONNX Runtime", "pip install onnxruntime")
    if place.type == "cuda":
        from trtswap.backends.onnxruntime import gpu_provider  # noqa: PLC0415 - imports onnxruntime

        provider = gpu_provider(gpus.find_gpu(place))
        return Choice("onnxruntime", place, f"onnxruntime on {place} with its {provider}, as asked for.")
    return Choice("onnxruntime", place, f"onnxruntime on {place}, as asked for.")


def open_engine(
    graph: "Path | str | StageSpec",
    *,
    backend: str = "auto",
    device: str | torch.device = "auto",
    options: BackendOptions | None = None,
    role: str = "main",
) -> Engine:
    """Load a graph.

    Args:
        graph: an ONNX file, or a stage of a pack.
        backend, device: as :func:`choose` takes them.
        options: of the backend that runs; its defaults where None.
        role: whose work the engine does mostly. On a GPU its work is queued on the stream of that role
            (:meth:`~trtswap.backends.device.Device.role`), and the engines of one role share scratch memory.

    Raises:
        InputError: an argument has a value that nothing here takes.
        BackendError: the backend is not available, or cannot load the file.
        PackError: a file that is of no pack keeps weights in other files, which a TensorRT plan would not know, or has
            a node at which ONNX Runtime ends the process.
        PlanError: there is no TensorRT engine of the graph, or it is stale or damaged.
    """
    choice = choose(backend, device, graphs=() if isinstance(graph, str | Path) else (graph,))
    file, precision = (
        (Path(graph), "as in the graph") if isinstance(graph, str | Path) else (graph.path, graph.precision)
    )
    if choice.backend == "tensorrt":
        host_code = _check_options(options, TensorRtOptions, choice).host_code
        return _open_tensorrt(file, graph, choice.device, role, host_code=host_code)
    if choice.backend == "torch":
        from trtswap.backends.torch.engine import TorchEngine  # noqa: PLC0415 - imports onnx

        options = _check_options(options, TorchOptions, choice)
        return TorchEngine(file, device=choice.device, precision=precision, options=options, role=role)
    if choice.backend == "openvino":
        from trtswap.backends.openvino import OpenVinoEngine  # noqa: PLC0415 - imports openvino

        return OpenVinoEngine(file, precision=precision, options=_check_options(options, OpenVinoOptions, choice))
    from trtswap.backends.onnxruntime import OnnxRuntimeEngine  # noqa: PLC0415 - imports onnxruntime
    from trtswap.model.nodes import check_nodes  # noqa: PLC0415 - imports this package

    if isinstance(graph, str | Path) and file.is_file():
        try:
            check_nodes(file)
        except PackError as e:
            raise BackendError(f"{file} cannot be loaded: {e}") from e
    options = _check_options(options, OnnxRuntimeOptions, choice)
    return OnnxRuntimeEngine(file, device=choice.device, precision=precision, options=options, role=role)


def _check_options(options: BackendOptions | None, kind: type[T], choice: Choice) -> T:
    """The options, or the defaults of their kind."""
    if options is None:
        return kind()
    if not isinstance(options, kind):
        raise InputError(f"options are {options}, but {choice.backend} runs: expected {kind.__name__} or None.")
    return options


def _open_tensorrt(
    file: Path, graph: "Path | str | StageSpec", device: torch.device, role: str, *, host_code: bool
) -> Engine:
    from trtswap.backends.trt.engine import TensorRtEngine  # noqa: PLC0415 - heavy, imported on use
    from trtswap.model.pack import sha256_of  # noqa: PLC0415 - imports this package
    from trtswap.model.self_contained import check_self_contained  # noqa: PLC0415 - as the line before

    if isinstance(graph, str | Path):
        if not file.is_file():
            raise BackendError(f"{file} cannot be loaded: there is no such file.")
        check_self_contained(file)
        sha256 = sha256_of(file)
    else:
        sha256 = graph.sha256
    return TensorRtEngine.open(file, sha256, gpu=gpus.find_gpu(device), role=role, host_code=host_code)


def _automatic(place: torch.device | None, graphs: "Sequence[StageSpec]", frames: int | None) -> Choice:
    gpu = _gpu_if_any(place)
    if gpu is None:
        return _on_the_cpu("PyTorch sees no CUDA device" if place is None else "the device asked for", graphs, frames)
    against = _why_not_tensorrt(gpu, graphs)
    if against is None:
        return Choice("tensorrt", gpu.device, f"tensorrt on {gpu.facts.name}: its engines are built.")
    if find_spec("onnx") is None:
        remedy = 'pip install "trtswap[export]"'
        if place is not None:
            _require("onnx", f"TensorRT: {against}. The torch backend reads graphs with onnx", remedy)
        why = f"a GPU is here, but the torch backend that would use it needs: {remedy}. TensorRT: {against}"
        return _on_the_cpu(why, graphs, frames)
    return Choice("torch", gpu.device, f"torch on {gpu.device}. TensorRT: {against}.")


def _on_the_cpu(why: str, graphs: "Sequence[StageSpec]", frames: int | None) -> Choice:
    """The faster of the CPU's runtimes that are here."""
    against = _why_not_openvino(graphs, frames)
    if against is None:
        return Choice("openvino", torch.device("cpu"), f"openvino on the CPU, which has AVX-512: {why}.")
    _require("onnxruntime", "The onnxruntime backend needs ONNX Runtime", "pip install onnxruntime")
    return Choice("onnxruntime", torch.device("cpu"), f"onnxruntime on the CPU: {why}. OpenVINO: {against}.")


def _why_not_openvino(graphs: "Sequence[StageSpec]", frames: int | None) -> str | None:
    """What keeps ``auto`` from OpenVINO; None where nothing does."""
    if find_spec("openvino") is None or find_spec("onnx") is None:
        return 'not installed, pip install "trtswap[openvino]"'
    if torch.backends.cpu.get_cpu_capability() != "AVX512":
        return "taken by itself only on a CPU with AVX-512, where it was measured to be faster"
    if frames is not None and frames < REPAID:
        return f"takes longer to open, which {frames} frame{'' if frames == 1 else 's'} would not repay"
    if graphs and not any(graph.kind.half and not graph.points for graph in graphs):
        return "slower, and larger, for a pack that has no network which makes pictures"
    return None


def _gpu_if_any(place: torch.device | None) -> gpus.Gpu | None:
    try:
        return gpus.find_gpu(place)
    except BackendError:
        return None


def _why_not_tensorrt(gpu: gpus.Gpu, graphs: "Sequence[StageSpec]") -> str | None:
    """What keeps ``auto`` from TensorRT; None where nothing does."""
    if not graphs:
        return "taken for a pack whose engines are built: `trtswap build-engines`"
    kind = suited(gpu.facts.compute_capability)
    try:
        here = places_here(gpu)
    except BackendError as e:
        return f'{str(e).rstrip(".")}. {gpu.facts.name} wants {kind.title}: pip install "trtswap[{kind.extra}]"'
    missing = missing_plans([(g.name, g.sha256) for g in graphs], here)
    if not missing:
        return None
    libraries = " or ".join(place.title for place in here)
    better = f'; {kind.title} suits this GPU better: pip install "trtswap[{kind.extra}]"'
    if kind.name in {place.library for place in here}:
        better = ""
    return f"no engine of {', '.join(missing)} for this GPU and {libraries}; `trtswap build-engines`{better}"


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

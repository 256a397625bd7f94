"""ONNX Runtime as an engine, on the CPU and on CUDA, without copies between torch and ONNX Runtime."""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.dlpack import from_dlpack

from trtswap.backends import device as gpus
from trtswap.backends import rtx_provider
from trtswap.backends.engine import TensorSpec
from trtswap.backends.graph_engine import GraphEngine, check_threads, known_shape
from trtswap.backends.lane import Lane
from trtswap.backends.options import OnnxRuntimeOptions
from trtswap.backends.trt.plans import plans_folder
from trtswap.errors import BackendError

CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
DTYPES: Mapping[str, tuple[torch.dtype, type[np.generic]]] = {
    "tensor(float)": (torch.float32, np.float32),
    "tensor(float16)": (torch.float16, np.float16),
    "tensor(double)": (torch.float64, np.float64),
    "tensor(int64)": (torch.int64, np.int64),
    "tensor(int32)": (torch.int32, np.int32),
    "tensor(int8)": (torch.int8, np.int8),
    "tensor(uint8)": (torch.uint8, np.uint8),
    "tensor(bool)": (torch.bool, np.bool_),
}


# Bytes of a graph from which on each run gives its memory back: networks that run in turn would else keep what each of
# them needed at most. It costs SimSwap, BiSeNet and GFPGAN 2 % and saves a quarter of their memory (1.8 GB,
# not 2.4); small networks it would cost 30 %.
LARGE_GRAPH = 32 << 20


class OnnxRuntimeEngine(GraphEngine):
    """One ONNX Runtime session.

    Inputs are bound by address and outputs are written into torch tensors that are new on every call. An output
    whose shape the graph does not name in terms of its inputs is allocated by ONNX Runtime and shared by DLPack.

    On CUDA the session runs on the stream of its role, one call after the other, ordered after and before the caller's
    current stream by events; nothing waits on the host.
    """

    backend = "onnxruntime"

    def __init__(
        self,
        file: Path,
        *,
        device: torch.device,
        precision: str,
        options: OnnxRuntimeOptions | None = None,
        role: str = "main",
    ) -> None:
        """Load a graph.

        Raises:
            InputError: ``threads`` is below 1.
            BackendError: ONNX Runtime is not installed, cannot read the file, or cannot use the device.
        """
        try:
            import onnxruntime  # noqa: PLC0415 - imported on use
        except ImportError as e:
            raise BackendError(f"The onnxruntime backend needs ONNX Runtime: {e}. pip install onnxruntime.") from e
        options = options or OnnxRuntimeOptions()
        check_threads(options.threads)
        if not file.is_file():
            raise BackendError(f"{file} cannot be loaded: there is no such file.")
        gpu = gpus.find_gpu(device) if device.type == "cuda" else None
        self._lane = gpu.lane(role) if gpu is not None else None
        provider = gpu_provider(gpu) if gpu is not None else CPU
        with _backend_errors(onnxruntime, f"{file} cannot be loaded by ONNX Runtime {onnxruntime.__version__}"):
            self._session = _session(onnxruntime, file, options, provider=provider, device=device, lane=self._lane)
        if provider not in self._session.get_providers():
            raise BackendError(
                f"{file}: ONNX Runtime {onnxruntime.__version__} could not start its {provider}, which needs "
                "the CUDA version it was built for. Use backend='torch' for the GPU, or device='cpu'."
            )
        self._onnxruntime = onnxruntime
        self._gives_memory_back = device.type == "cpu" and file.stat().st_size >= LARGE_GRAPH
        self._numpy_dtypes = {a.name: DTYPES[a.type][1] for a in self._arguments() if a.type in DTYPES}
        super().__init__(
            file,
            device=device,
            precision=precision,
            inputs=[_spec(file, a) for a in self._session.get_inputs()],
            outputs=[_spec(file, a) for a in self._session.get_outputs()],
        )

    def _arguments(self) -> list[Any]:
        return [*self._session.get_inputs(), *self._session.get_outputs()]

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        # Outputs are made on the caller's stream, which has nothing else to do with the lane's.
        binding = self._session.io_binding()
        for name, tensor in tensors.items():
            self._bind(binding.bind_input, name, tensor)
        outputs: dict[str, Tensor] = {}
        with _backend_errors(self._onnxruntime, f"{self.file.name} failed to run"):
            for name, spec in self.outputs.items():
                shape = known_shape(spec, sizes)
                if shape is None:
                    binding.bind_output(name, self.device.type, self.device.index or 0)
                else:
                    outputs[name] = torch.empty(shape, dtype=spec.dtype, device=self.device)
                    self._bind(binding.bind_output, name, outputs[name])
        with _backend_errors(self._onnxruntime, f"{self.file.name} failed to run"), self._on_lane():
            self._session.run_with_iobinding(binding, self._run_options())
        if len(outputs) < len(self.outputs):
            shared = zip(self.outputs, binding.get_outputs(), strict=True)
            outputs |= {name: from_dlpack(value) for name, value in shared if name not in outputs}
        return {name: outputs[name] for name in self.outputs}

    def _bind(self, bind: Any, name: str, tensor: Tensor) -> None:
        place = self.device.type, self.device.index or 0
        bind(name, *place, self._numpy_dtypes[name], tuple(tensor.shape), tensor.data_ptr())

    def _run_options(self) -> Any:
        options = self._onnxruntime.RunOptions()
        options.log_severity_level = 4
        if self._gives_memory_back:
            options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        if self._lane is not None:
            options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        return options

    def _on_lane(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._lane is None else self._lane.entered()

    def _release(self) -> None:
        self._session = None


def session_options(onnxruntime: Any, threads: int | None) -> Any:
    """Options of every session: all graph optimisations, deterministic kernels, and errors only as exceptions.

    Idle threads sleep. ONNX Runtime would let them spin, which takes the cores from decoder and encoder: YuNet at
    640x384 on two busy cores cost 18 ms of CPU time per frame with spinning, and 8 ms more after each run, against
    10 ms and none without.
    """
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.use_deterministic_compute = True
    options.log_severity_level = 4
    options.intra_op_num_threads = threads or 0
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def gpu_provider(gpu: gpus.Gpu) -> str:
    """Name of the provider that runs graphs on a GPU: TensorRT for RTX where it is installed and takes the GPU.

    Raises:
        BackendError: none is here.
    """
    import onnxruntime  # noqa: PLC0415 - imported on use

    if rtx_provider.is_installed() and rtx_provider.runs_on(gpu.facts.compute_capability):
        return rtx_provider.NAME
    if CUDA in onnxruntime.get_available_providers():
        return CUDA
    remedy = "onnxruntime-gpu in place of onnxruntime"
    if rtx_provider.runs_on(gpu.facts.compute_capability):
        remedy = f"{rtx_provider.PACKAGE}, or {remedy}"
    raise BackendError(
        f"This ONNX Runtime has no provider for {gpu.facts.name}: pip install {remedy}; or use backend='torch' for the "
        "GPU, or device='cpu'."
    )


def _session(
    onnxruntime: Any, file: Path, options: OnnxRuntimeOptions, *, provider: str, device: torch.device, lane: Lane | None
) -> Any:
    """A session with a provider, on the lane's stream where there is one."""
    settings = session_options(onnxruntime, options.threads)
    if lane is None:
        return onnxruntime.InferenceSession(file, settings, providers=[CPU])
    stream = lane.stream.cuda_stream
    if provider == rtx_provider.NAME:  # a plugin is given with its device, not by name
        cache = plans_folder() / "onnxruntime"
        given = rtx_provider.provider_options(stream=stream, shapes=options.shapes, cache=cache)
        settings.add_provider_for_devices([rtx_provider.find_device(onnxruntime, device)], given)
        return onnxruntime.InferenceSession(file, settings)
    given = {"device_id": str(device.index or 0), "user_compute_stream": str(stream), "use_tf32": "0"}
    return onnxruntime.InferenceSession(file, settings, providers=[(CUDA, given), CPU])


def _spec(file: Path, argument: Any) -> TensorSpec:
    if argument.type not in DTYPES:
        raise BackendError(f"{file}: {argument.name} is {argument.type}; expected one of {', '.join(DTYPES)}.")
    shape = (dim if isinstance(dim, int | str) else f"{argument.name}_{i}" for i, dim in enumerate(argument.shape))
    return TensorSpec(argument.name, tuple(shape), DTYPES[argument.type][0])


@contextmanager
def _backend_errors(onnxruntime: Any, what: str) -> Iterator[None]:
    """ONNX Runtime's exceptions, which share no base class, as :class:`BackendError`."""
    state = onnxruntime.capi.onnxruntime_pybind11_state
    kinds = tuple(
        getattr(state, kind)
        for kind in ("Fail", "EPFail", "EngineError", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel",
                     "NotImplemented", "NoSuchFile", "RuntimeException")
    )  # fmt: skip
    try:
        yield
    except (*kinds, RuntimeError, ValueError) as e:
        raise BackendError(f"{what}: {e}") from e

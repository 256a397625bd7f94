"""OpenVINO as an engine, on the CPU, without copies between torch and OpenVINO."""

import queue
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from trtswap.backends import onnx_file
from trtswap.backends.compiled import Blob, compile_once, entry_of
from trtswap.backends.engine import TensorSpec
from trtswap.backends.graph_engine import GraphEngine, check_threads, known_shape
from trtswap.backends.options import OpenVinoOptions
from trtswap.errors import BackendError, InputError

try:
    import openvino
except ImportError as e:
    raise BackendError(f'The openvino backend needs OpenVINO: {e}. pip install "trtswap[openvino]".') from e

SETTINGS: Mapping[str, Any] = {
    "INFERENCE_PRECISION_HINT": "f32",  # else it takes bfloat16 or float16 by itself where the CPU has them
    "ENABLE_CPU_PINNING": False,  # decoder and encoder share the cores
}


class OpenVinoEngine(GraphEngine):
    """One graph compiled by OpenVINO for the CPU.

    Inputs are read where they lie and outputs are written into torch tensors that are new on every call; an output
    whose shape the graph does not name in terms of its inputs is copied out of OpenVINO's memory.

    Arithmetic is float32, and 8-bit where the graph has quantised layers; layers in float16 are computed in float32.

    OpenVINO's kernel of instance normalisation (MVN) sums one picture in as many parts as it has threads, and several
    pictures each in one. Quantised layers blow that last bit up to whole steps: a face of SimSwap in INT8 differed by
    0.03 between batch 1 and 2. Graphs that have the kernel therefore run one element of a batch after the other, at 5 %
    of SimSwap's speed, so that results do not depend on the batch; on the number of threads they still do.
    """

    backend = "openvino"

    def __init__(self, file: Path, *, precision: str, options: OpenVinoOptions | None = None) -> None:
        """Load a graph.

        Raises:
            InputError: ``threads`` or ``calls`` is below 1.
            BackendError: the file is no ONNX graph, or one that OpenVINO cannot run.
        """
        options = options or OpenVinoOptions()
        threads, calls = options.threads, options.calls
        check_threads(threads)
        if calls < 1:
            raise InputError(f"calls is {calls}, expected 1 or more.")
        with onnx_file.refused(file):
            model = onnx_file.load(file, weights=False)
            onnx_file.opset(file, model, backend=self.backend)
            inputs, outputs = onnx_file.specs(file, model)
        settings = {**SETTINGS, "NUM_STREAMS": calls}
        if threads is not None:
            settings["INFERENCE_NUM_THREADS"] = calls * threads
        with _backend_errors(f"{file} cannot be loaded by OpenVINO {openvino.__version__}"):
            self._compiled = _compiled(file, settings, options.kept_as)
            self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()
            for _ in range(calls):
                self._idle.put(self._compiled.create_infer_request())
        super().__init__(
            file,
            device=torch.device("cpu"),
            precision=f"fp32 (graph {precision})" if "fp16" in precision else precision,
            inputs=inputs,
            outputs=outputs,
        )
        self._ports = {spec.name: self._compiled.output(number) for number, spec in enumerate(outputs)}
        self._one_by_one = _shared_batch([*inputs, *outputs]) if _has_mvn(self._compiled) else None

    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        batch = self._one_by_one
        with _backend_errors(f"{self.file.name} failed to run"):
            if batch is None:
                return self._infer(tensors, sizes)
            rows = [
                self._infer({name: t[i : i + 1] for name, t in tensors.items()}, {**sizes, batch: 1})
                for i in range(sizes[batch])
            ]
        return {name: torch.cat([row[name] for row in rows]) for name in self.outputs}

    def _infer(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        outputs = {
            name: torch.empty(shape, dtype=spec.dtype)
            for name, spec in self.outputs.items()
            if (shape := known_shape(spec, sizes)) is not None
        }
        with self._request() as request:
            for name, tensor in tensors.items():
                request.set_tensor(name, _shared(tensor))
            for name, tensor in outputs.items():
                request.set_tensor(self._ports[name], _shared(tensor))
            request.infer()
            for name in self.outputs.keys() - outputs.keys():
                outputs[name] = torch.from_numpy(request.get_tensor(self._ports[name]).data.copy())
        return {name: outputs[name] for name in self.outputs}

    @contextmanager
    def _request(self) -> Iterator[Any]:
        """One that no other thread uses; waits for it."""
        request = self._idle.get()
        try:
            yield request
        finally:
            self._idle.put(request)

    def _release(self) -> None:
        del self._idle, self._compiled, self._ports


def _compiled(file: Path, settings: Mapping[str, Any], sha256: str | None) -> Any:
    """The graph compiled, or what was compiled of it before."""
    core = openvino.Core()
    if sha256 is None:
        return core.compile_model(file, "CPU", settings)
    processor = [core.get_property("CPU", name) for name in ("FULL_DEVICE_NAME", "OPTIMIZATION_CAPABILITIES")]
    made_by = {"openvino": openvino.__version__, "settings": settings, "processor": processor}

    # Not by OpenVINO's own cache: that knows a graph by its path and time, and a copy of the pack would be another.
    return compile_once(
        entry_of(sha256, made_by),
        lambda: core.compile_model(file, "CPU", settings),
        lambda compiled: compiled.export_model().getbuffer(),
        lambda kept: _imported(core, kept, settings),
    )


def _imported(core: Any, kept: Blob, settings: Mapping[str, Any]) -> Any:
    compiled = core.import_model(openvino.Tensor(kept, shared_memory=True), "CPU", settings)
    compiled.kept = kept  # the plugin may go on reading the weights where they are
    return compiled


def _shared(tensor: Tensor) -> Any:
    return openvino.Tensor(tensor.detach().numpy(), shared_memory=True)


def _has_mvn(compiled: Any) -> bool:
    """Whether OpenVINO runs part of the graph by its kernel of mean and variance normalisation."""
    nodes = compiled.get_runtime_model().get_ops()
    return any(node.get_rt_info()["layerType"].astype(str) == "MVN" for node in nodes)


def _shared_batch(specs: list[TensorSpec]) -> str | None:
    """The dynamic dimension that all tensors have first; None where they differ."""
    first = {spec.shape[0] if spec.shape else None for spec in specs}
    name = first.pop()
    return name if not first and isinstance(name, str) else None


@contextmanager
def _backend_errors(what: str) -> Iterator[None]:
    """OpenVINO's exceptions, which reach Python as RuntimeError, as :class:`BackendError`."""
    try:
        yield
    except (RuntimeError, ValueError, TypeError) as e:
        raise BackendError(f"{what}: {e}") from e

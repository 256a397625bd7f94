"""The part of TensorRT's Python API that trtswap uses: NVIDIA's own where it needs no GPU, ONNX Runtime elsewhere.

Graphs are parsed and compiled by TensorRT for RTX, with its checks, messages and progress; what comes out as a plan is
the graph itself, which contexts run on host memory. Names and parameters of what is made here are those of the real
bindings (a test compares them), and so is what happens when something is wrong: None or False, and a message to the
logger. The rules that a GPU enforces are enforced here too.
"""

import ctypes
import hashlib
import json
import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tensorrt_rtx as real
from numpy.typing import NDArray
from tensorrt_rtx import (  # noqa: F401 - part of the API
    BuilderFlag,
    DataType,
    Dims,
    ExecutionContextAllocationStrategy,
    HardwareCompatibilityLevel,
    ILogger,
    IProgressMonitor,
    LayerInformationFormat,
    MemoryPoolType,
    NetworkDefinitionCreationFlag,
    ProfilingVerbosity,
    TensorIOMode,
    init_libnvinfer_plugins,
)

from .machine import ALIGNMENT, Machine

machine = Machine()

MAGIC = b"EMULATED-PLAN\0"
_BUILD_FAULTS = {
    "build": "could not find any implementation for node /Conv",
    "build memory": "out of memory: requested 1073741824 bytes",
}


def _refuse(logger: Any, message: str) -> bool:
    logger.log(ILogger.Severity.ERROR, message)
    return False


class _Made:
    """An object of the library; without a driver the real ones take the process with them."""

    def __init__(self) -> None:
        if not machine.driver:
            raise SystemError("a TensorRT object was made on a machine without a driver: the process would crash")
        assert machine.current, f"{type(self).__name__} is made on whatever GPU is CUDA's current one"

    def __del__(self) -> None:
        machine.released.append(type(self).__name__)


class OnnxParser(real.OnnxParser):  # type: ignore[misc]  # of a library without types
    """The real one; what it has read is known to the builder."""

    def __init__(self, network: Any, logger: Any) -> None:
        super().__init__(network, logger)
        self._network = network

    def parse_from_file(self, model: str) -> bool:
        machine.parsed[id(self._network)] = model
        parsed: bool = super().parse_from_file(model)
        return parsed


class ITimingCache:
    __slots__ = ("_entries", "_header")

    def __init__(self, header: str, entries: dict[str, float]) -> None:
        self._header, self._entries = header, entries

    def combine(self, input_cache: "ITimingCache", ignore_mismatch: bool) -> bool:
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        self._entries |= input_cache._entries
        return True

    def serialize(self) -> bytes:
        return json.dumps({"header": self._header, "entries": self._entries}).encode()


def _cache_header() -> str:
    return f"{machine.tensorrt}/{machine.gpu.name}"


class IBuilderConfig:
    """The real one, but for what TensorRT for RTX has no use for: levels of compatibility, and times of kernels."""

    def __init__(self, config: Any, logger: Any) -> None:
        own = {"hardware_compatibility_level": HardwareCompatibilityLevel.NONE, "_cache": None, "_compatible": False}
        vars(self).update(own, _config=config, _logger=logger)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._config, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in vars(self):
            vars(self)[name] = value
        else:
            setattr(self._config, name, value)

    def set_flag(self, flag: BuilderFlag) -> None:
        if flag == BuilderFlag.VERSION_COMPATIBLE:
            self._compatible = True
        else:
            self._config.set_flag(flag)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if not serialized_timing_cache:
            return ITimingCache(_cache_header(), {})
        try:
            data = json.loads(bytes(serialized_timing_cache))
            return ITimingCache(data["header"], data["entries"])
        except (ValueError, KeyError, TypeError):
            _refuse(self._logger, "the timing cache cannot be deserialized")
            return None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._header != _cache_header() and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        cache: ITimingCache | None = self._cache
        return cache


class Builder(_Made, real.Builder):  # type: ignore[misc]  # of a library without types
    """The real one, which checks and compiles; what it gives is a plan that the emulator runs."""

    def __init__(self, logger: Any) -> None:
        _Made.__init__(self)
        real.Builder.__init__(self, logger)
        self._logger, self._profiles = logger, list[Any]()

    def create_network(self, flags: int = 0) -> Any:
        assert flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED), "TensorRT 10 would choose types itself"
        return super().create_network(flags)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(super().create_builder_config(), self._logger)

    def create_optimization_profile(self) -> Any:
        self._profiles.append(super().create_optimization_profile())
        return self._profiles[-1]

    def build_serialized_network(self, network: Any, config: IBuilderConfig) -> bytes | None:
        for fault in _BUILD_FAULTS.keys() & machine.faults:
            _refuse(self._logger, _BUILD_FAULTS[fault])
            return None
        if super().build_serialized_network(network, config._config) is None:
            return None
        model = onnx.load(machine.parsed[id(network)])
        if config._cache is not None:
            config._cache._entries |= {f"{node.op_type}/{i}": 1.0 for i, node in enumerate(model.graph.node)}
        inputs = [network.get_input(i).name for i in range(network.num_inputs)]
        head = {
            "tensorrt": machine.tensorrt,
            "gpu": [machine.gpu.name, machine.gpu.compute_capability],
            "hardware": int(config.hardware_compatibility_level),
            "version_compatible": config._compatible,
            "profiles": [{name: [list(s) for s in p.get_shape(name)] for name in inputs} for p in self._profiles],
        }
        body = json.dumps(head).encode() + b"\0" + model.SerializeToString()
        return MAGIC + hashlib.sha256(body).digest() + body


def _shape(proto: onnx.ValueInfoProto) -> Dims:
    return Dims([d.dim_value if d.HasField("dim_value") else -1 for d in proto.type.tensor_type.shape.dim])


def _rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """What is executed: a network with FP16 in it rounds as it would on a GPU, which ONNX Runtime does not do."""
    graph, half = model.graph, onnx.TensorProto.FLOAT16
    made_half = any(a.name == "to" and a.i == half for n in graph.node if n.op_type == "Cast" for a in n.attribute)
    if not made_half and all(t.data_type != half for t in graph.initializer):
        return model
    from trtswap.calibration.rounding import rounding_graph  # heavy, and most engines of the tests are FP32

    return rounding_graph(model)


class Runtime(_Made):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = logger
        self._host_code = False

    @property
    def engine_host_code_allowed(self) -> bool:
        return self._host_code

    @engine_host_code_allowed.setter
    def engine_host_code_allowed(self, value: bool) -> None:
        self._host_code = value

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "ICudaEngine | None":
        data = bytes(serialized_engine)
        start = len(MAGIC) + 32
        body = data[start:]
        if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != data[len(MAGIC) : start]:
            _refuse(self._logger, "the plan is corrupted: magic tag does not match")
            return None
        head, _, model = body.partition(b"\0")
        facts = json.loads(head)
        problem = self._misfit(facts)
        if problem is not None:
            _refuse(self._logger, problem)
            return None
        return ICudaEngine(self, facts, model)

    def _misfit(self, facts: dict[str, Any]) -> str | None:
        if facts["version_compatible"]:
            if not self._host_code:
                return "the plan holds host code, and engine_host_code_allowed is False"
        elif facts["tensorrt"] != machine.tensorrt:
            return f"serialized with version {facts['tensorrt']}, current version {machine.tensorrt}"
        if facts["hardware"] == HardwareCompatibilityLevel.NONE and facts["gpu"] != [
            machine.gpu.name,
            machine.gpu.compute_capability,
        ]:
            return f"the plan was built for {facts['gpu']}"
        return None


class ICudaEngine(_Made):
    def __init__(self, runtime: Runtime, facts: dict[str, Any], model: bytes) -> None:
        super().__init__()
        self._logger = runtime._logger
        self._profiles: list[dict[str, list[list[int]]]] = facts["profiles"]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        options.use_deterministic_compute = True
        proto = onnx.load_from_string(model)
        executed = _rounding(proto).SerializeToString()
        self._session = onnxruntime.InferenceSession(executed, options, providers=["CPUExecutionProvider"])
        graph = proto.graph
        used = {name for node in graph.node for name in node.input} - {t.name for t in graph.initializer}
        self._unused = {i.name: _shape(i) for i in graph.input if i.name not in used}
        self._inputs = {i.name: _shape(i) for i in graph.input if i.name in used}  # TensorRT drops the others
        self._outputs = {o.name: _shape(o) for o in graph.output}
        self._types = {
            t.name: onnx.helper.tensor_dtype_to_np_dtype(t.type.tensor_type.elem_type)
            for t in (*graph.input, *graph.output)
        }
        self._shapes: dict[tuple[tuple[int, ...], ...], dict[str, tuple[int, ...]]] = {}

    @property
    def num_io_tensors(self) -> int:
        return len(self._inputs) + len(self._outputs)

    @property
    def num_optimization_profiles(self) -> int:
        return max(1, len(self._profiles))

    @property
    def num_layers(self) -> int:
        return 1

    @property
    def device_memory_size_v2(self) -> int:
        profiles = range(self.num_optimization_profiles)
        return max(self.get_device_memory_size_for_profile_v2(i) for i in profiles)

    def get_device_memory_size_for_profile_v2(self, profile_index: int) -> int:
        return 512 + sum(prod(self.get_tensor_profile_shape(name, profile_index)[2]) for name in self._inputs)

    def get_tensor_name(self, index: int) -> str:
        return [*self._inputs, *self._outputs][index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return TensorIOMode.INPUT if name in self._inputs else TensorIOMode.OUTPUT

    def get_tensor_dtype(self, name: str) -> DataType:
        kind = self._types[name].name
        return DataType.__members__[{"float32": "FLOAT", "float16": "HALF"}.get(kind, kind.upper())]

    def get_tensor_shape(self, name: str) -> Dims:
        return (self._inputs | self._outputs)[name]

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if not self._profiles:
            return [self._inputs[name]] * 3
        return [Dims(shape) for shape in self._profiles[profile_index][name]]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> "IExecutionContext | None":
        if "context" in machine.faults:
            _refuse(self._logger, "out of memory: could not allocate the context's persistent memory")
            return None
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self)

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self)

    def _run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        unused = {n: np.zeros([max(1, d) for d in s], self._types[n]) for n, s in self._unused.items()}
        results: list[NDArray[Any]] = self._session.run(list(self._outputs), feed | unused)
        return results

    def _output_shapes(self, shapes: dict[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
        """Shapes of the outputs, found by running once on zeros: in graphs of packs they do not depend on data."""
        key = tuple(shapes.values())
        if key not in self._shapes:
            zeros = {name: np.zeros(shape, self._types[name]) for name, shape in shapes.items()}
            found = self._run(zeros)
            self._shapes[key] = {name: value.shape for name, value in zip(self._outputs, found, strict=True)}
        return self._shapes[key]


class EngineInspector(_Made):
    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        self._engine = engine

    def get_engine_information(self, format: LayerInformationFormat) -> str:
        assert format == LayerInformationFormat.JSON
        return json.dumps({"Layers": ["emulated"], "Bindings": [*self._engine._inputs, *self._engine._outputs]})


class IExecutionContext(_Made):
    def __init__(self, engine: ICudaEngine) -> None:
        super().__init__()
        self._engine = engine
        self._profile = 0  # "The newly created execution context will be assigned optimization profile 0."
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._addresses: dict[str, int] = {}
        self._memory = 0, 0
        self._state = 0
        self._updated = False

    def _change(self) -> None:
        """What was captured is void from now on, and the next run has updates to do, which no capture may.

        Developer guide, CUDA graphs: enqueueV3 is called once before a capture "to flush deferred updates"; "modifying
        the context from which the graph was captured will result in undefined behavior".
        """
        self._state += 1
        self._updated = False

    def _refuse(self, message: str) -> bool:
        return _refuse(self._engine._logger, message)

    def set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        if profile_index not in range(self._engine.num_optimization_profiles) or "profile" in machine.faults:
            return self._refuse(f"profile {profile_index} cannot be set")
        self._profile = profile_index
        self._shapes.clear()
        self._change()
        machine.streams[stream_handle].pending.add(id(self))
        return True

    def set_device_memory(self, memory: int, size: int) -> None:
        if (memory, size) != self._memory:
            self._change()
        self._memory = memory, size

    def get_max_output_size(self, name: str) -> int:
        # "If the profile or input shapes are not yet set, or the provided name does not map to an output, returns -1."
        if "unbounded" in machine.faults or name not in self._engine._outputs or self._missing_shapes():
            return -1
        most = {n: tuple(self._engine.get_tensor_profile_shape(n, self._profile)[2]) for n in self._engine._inputs}
        shape = self._engine._output_shapes(most)[name]
        return int(prod(shape) * self._engine._types[name].itemsize)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        if memory % ALIGNMENT or "address" in machine.faults:
            return self._refuse(f"address {memory} of {name} is not aligned to {ALIGNMENT} bytes")
        if "forget address" not in machine.faults:
            if self._addresses.get(name) != memory:
                self._change()
            self._addresses[name] = memory
        return True

    def set_input_shape(self, name: str, shape: Sequence[int]) -> bool:
        if name not in self._engine._inputs:
            return self._refuse(f"{name} is no input")
        low, _, high = self._engine.get_tensor_profile_shape(name, self._profile)
        if len(shape) != len(low) or any(not a <= s <= b for s, a, b in zip(shape, low, high, strict=True)):
            return self._refuse(f"shape {list(shape)} of {name} is outside of profile {self._profile}")
        if "shape" in machine.faults:
            return self._refuse(f"shape {list(shape)} of {name} is refused")
        if self._shapes.get(name) != tuple(shape):
            self._change()
        self._shapes[name] = tuple(shape)
        return True

    def _missing_shapes(self) -> bool:
        """Whether a dynamic input has no shape yet; those of the others are known."""
        for name, shape in self._engine._inputs.items():
            if -1 not in shape:
                self._shapes.setdefault(name, tuple(shape))
        return len(self._shapes) < len(self._engine._inputs)

    def infer_shapes(self) -> list[str]:
        self._missing_shapes()
        return [name for name in self._engine._inputs if name not in self._shapes or name not in self._addresses]

    def get_tensor_shape(self, name: str) -> Dims:
        if name not in self._engine._inputs | self._engine._outputs:
            return Dims((-1,))
        if self._missing_shapes() and name not in self._shapes:
            return self._engine.get_tensor_shape(name)  # with -1 for what is not known yet
        if name in self._shapes:
            return Dims(self._shapes[name])
        return Dims(self._engine._output_shapes(self._shapes)[name])

    def execute_async_v3(self, stream_handle: int) -> bool:
        stream = machine.streams.get(stream_handle)
        if stream is None:
            return self._refuse(f"there is no stream {stream_handle}")
        if stream_handle == 0:
            stream.synchronize()  # the real one waits for the device around work on the default stream
        if "enqueue" in machine.faults:
            return self._refuse("cuda failure 719: unspecified launch failure")
        problem = self._problem(stream_handle)
        if problem is not None:
            return self._refuse(problem)
        capturing = machine.capturing.get(stream_handle)
        if capturing is None:
            self._execute(dict(self._shapes), dict(self._addresses), self._memory)
            self._updated = True
            return True
        if "capture" in machine.faults or not self._updated:
            return self._refuse("operation not permitted when stream is capturing")
        shapes, addresses, memory, state = dict(self._shapes), dict(self._addresses), self._memory, self._state
        captured = weakref.ref(self)

        def run() -> None:
            context = captured()
            if context is None or context._state != state:
                raise RuntimeError("a graph is replayed whose context was changed or released: undefined behaviour")
            context._execute(shapes, addresses, memory)

        capturing.append(run)
        return True

    def _problem(self, stream_handle: int) -> str | None:
        if id(self) in machine.streams[stream_handle].pending:
            return "the stream was not synchronized after the profile was set"
        for name in (*self._engine._inputs, *self._engine._outputs):
            if name not in self._addresses:
                return f"the address of {name} is not set"
        if self._missing_shapes():
            return "not all input shapes are set"
        if self._memory[1] < self._engine.get_device_memory_size_for_profile_v2(self._profile):
            return f"device memory of {self._memory[1]} bytes is too small"
        return None

    def _execute(self, shapes: dict[str, tuple[int, ...]], addresses: dict[str, int], memory: tuple[int, int]) -> None:
        machine.launches += 1
        engine = self._engine
        _array(*memory, np.dtype(np.uint8), (memory[1],))[:] = 0x5A  # scratch memory is overwritten by every run
        feed = {n: self._tensor(n, shape, addresses).copy() for n, shape in shapes.items()}
        results = [_spoiled(value) for value in engine._run(feed)]
        for name, value in zip(engine._outputs, results, strict=True):
            self._tensor(name, value.shape, addresses)[...] = value

    def _tensor(self, name: str, shape: tuple[int, ...], addresses: dict[str, int]) -> NDArray[Any]:
        dtype = self._engine._types[name]
        return _array(addresses[name], prod(shape) * dtype.itemsize, dtype, shape)


def _spoiled(value: NDArray[Any]) -> NDArray[Any]:
    """Results as a kernel that is wrong would give them, if a test wants that."""
    if value.dtype.kind != "f":
        return 18 - value if "inexact" in machine.faults else value
    if "not finite" in machine.faults:
        return np.full_like(value, np.nan)
    return value * value.dtype.type(0.96) if "inexact" in machine.faults else value


def _array(address: int, size: int, dtype: "np.dtype[Any]", shape: tuple[int, ...]) -> NDArray[Any]:
    """Device memory at an address; reaching beyond what is alive is an error here and a fault on a GPU."""
    if not machine.owns(address, size):
        raise MemoryError(f"illegal memory access: {size} bytes at {address:#x} are not device memory that is alive")
    flat = np.ctypeslib.as_array((ctypes.c_uint8 * size).from_address(address))
    return flat.view(dtype).reshape(shape)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return machine.tensorrt
    raise AttributeError(name)

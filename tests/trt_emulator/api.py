"""The part of TensorRT's Python API that trtswap uses, executed by ONNX Runtime on host memory.

Names, parameters and return values are those of the real bindings (a test compares them), and so is what happens when
something is wrong: None or False, and a message to the logger. The rules that a GPU enforces are enforced here too.
"""

import ctypes
import enum
import hashlib
import json
import weakref
from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray

from .machine import ALIGNMENT, Machine

machine = Machine()

NEWEST_OPSET = 24
MAGIC = b"EMULATED-PLAN\0"


class DataType(enum.IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5
    INT64 = 8
    BF16 = 7


class TensorIOMode(enum.IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class MemoryPoolType(enum.IntEnum):
    WORKSPACE = 0


class BuilderFlag(enum.IntEnum):
    TF32 = 7
    VERSION_COMPATIBLE = 14


class NetworkDefinitionCreationFlag(enum.IntEnum):
    STRONGLY_TYPED = 1


class HardwareCompatibilityLevel(enum.IntEnum):
    NONE = 0
    AMPERE_PLUS = 1
    SAME_COMPUTE_CAPABILITY = 2


class ProfilingVerbosity(enum.IntEnum):
    LAYER_NAMES_ONLY = 0
    NONE = 1
    DETAILED = 2


class ExecutionContextAllocationStrategy(enum.IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class LayerInformationFormat(enum.IntEnum):
    ONELINE = 0
    JSON = 1


class ErrorCode(enum.IntEnum):
    SUCCESS = 0
    MODEL_DESERIALIZE_FAILED = 2
    INVALID_NODE = 5
    UNSUPPORTED_NODE = 8


_DTYPES = {
    onnx.TensorProto.FLOAT: (DataType.FLOAT, np.float32),
    onnx.TensorProto.FLOAT16: (DataType.HALF, np.float16),
    onnx.TensorProto.INT8: (DataType.INT8, np.int8),
    onnx.TensorProto.UINT8: (DataType.UINT8, np.uint8),
    onnx.TensorProto.INT32: (DataType.INT32, np.int32),
    onnx.TensorProto.INT64: (DataType.INT64, np.int64),
    onnx.TensorProto.BOOL: (DataType.BOOL, np.bool_),
}


class ILogger:
    class Severity(enum.IntEnum):
        INTERNAL_ERROR = 0
        ERROR = 1
        WARNING = 2
        INFO = 3
        VERBOSE = 4

    def __init__(self) -> None:
        self._ready = True

    def log(self, severity: "ILogger.Severity", msg: str) -> None:
        raise NotImplementedError

    def _error(self, msg: str) -> None:
        self.log(ILogger.Severity.ERROR, msg)


class Dims(tuple[int, ...]):
    """A shape, -1 for what is dynamic."""


class IHostMemory(bytes):
    @property
    def nbytes(self) -> int:
        return len(self)


class IProgressMonitor:
    def __init__(self) -> None:
        self._ready = True

    def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None: ...
    def step_complete(self, phase_name: str, step: int) -> bool: ...
    def phase_finish(self, phase_name: str) -> None: ...


class _Made:
    """An object of the library; without a driver the real ones take the process with them."""

    def __init__(self) -> None:
        if not machine.driver:
            raise SystemError("a TensorRT object was made on a machine without a driver: the process would crash")
        assert machine.current, f"{type(self).__name__} is made on whatever GPU is CUDA's current one"

    def __del__(self) -> None:
        machine.released.append(type(self).__name__)


class ITensor:
    __slots__ = ("_dtype", "_name", "_shape")

    def __init__(self, proto: onnx.ValueInfoProto) -> None:
        tensor = proto.type.tensor_type
        self._name = proto.name
        self._dtype = _DTYPES[tensor.elem_type][0]
        self._shape = Dims(d.dim_value if d.HasField("dim_value") else -1 for d in tensor.shape.dim)

    @property
    def name(self) -> str:
        return self._name

    @property
    def dtype(self) -> DataType:
        return self._dtype

    @property
    def shape(self) -> Dims:
        return self._shape


class INetworkDefinition(_Made):
    def __init__(self, flags: int, logger: ILogger) -> None:
        super().__init__()
        self._strong = bool(flags & 1 << int(NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        self._logger = logger
        self._model: onnx.ModelProto | None = None

    def _graph_inputs(self) -> list[onnx.ValueInfoProto]:
        assert self._model is not None
        constants = {t.name for t in self._model.graph.initializer}
        return [i for i in self._model.graph.input if i.name not in constants]

    @property
    def num_inputs(self) -> int:
        return len(self._graph_inputs())

    @property
    def num_outputs(self) -> int:
        assert self._model is not None
        return len(self._model.graph.output)

    @property
    def num_layers(self) -> int:
        assert self._model is not None
        return len(self._model.graph.node)

    def get_input(self, index: int) -> ITensor:
        return ITensor(self._graph_inputs()[index])

    def get_output(self, index: int) -> ITensor:
        assert self._model is not None
        return ITensor(self._model.graph.output[index])


class ParserError:
    def __init__(self, code: ErrorCode, desc: str, node: int, name: str, operator: str) -> None:
        self._values = code, desc, node, name, operator

    def code(self) -> ErrorCode:
        return self._values[0]

    def desc(self) -> str:
        return self._values[1]

    def node(self) -> int:
        return self._values[2]

    def node_name(self) -> str:
        return self._values[3]

    def node_operator(self) -> str:
        return self._values[4]

    def func(self) -> str:
        return "parse"


class OnnxParser(_Made):
    def __init__(self, network: INetworkDefinition, logger: ILogger) -> None:
        super().__init__()
        self._network = network
        self._found: list[ParserError] = []

    @property
    def num_errors(self) -> int:
        return len(self._found)

    def get_error(self, index: int) -> ParserError:
        return self._found[index]

    def parse_from_file(self, model: str) -> bool:
        try:
            proto = onnx.load(model)
        except Exception as e:  # noqa: BLE001 - as the parser does: an error of its own
            self._found.append(ParserError(ErrorCode.MODEL_DESERIALIZE_FAILED, str(e), -1, "", ""))
            return False
        opset = next((i.version for i in proto.opset_import if not i.domain), 0)
        for index, node in enumerate(proto.graph.node):
            if not onnx.defs.has(node.op_type, max_inclusive_version=opset) or "parse" in machine.faults:
                desc = f"no importer registered for op: {node.op_type} (opset {opset})"
                self._found.append(ParserError(ErrorCode.UNSUPPORTED_NODE, desc, index, node.name, node.op_type))
        if opset > NEWEST_OPSET:
            self._found.append(ParserError(ErrorCode.INVALID_NODE, f"opset {opset} is not supported", -1, "", ""))
        self._network._model = proto
        return not self._found


class IOptimizationProfile:
    __slots__ = ("_shapes",)

    def __init__(self) -> None:
        self._shapes: dict[str, list[list[int]]] = {}

    def set_shape(self, input: str, min: Sequence[int], opt: Sequence[int], max: Sequence[int]) -> None:
        self._shapes[input] = [list(min), list(opt), list(max)]


class ITimingCache:
    __slots__ = ("_entries", "_header")

    def __init__(self, header: str, entries: dict[str, float]) -> None:
        self._header, self._entries = header, entries

    def combine(self, input_cache: "ITimingCache", ignore_mismatch: bool) -> bool:
        if input_cache._header != self._header and not ignore_mismatch:
            return False
        self._entries |= input_cache._entries
        return True

    def serialize(self) -> IHostMemory:
        return IHostMemory(json.dumps({"header": self._header, "entries": self._entries}).encode())


def _cache_header() -> str:
    return f"{machine.tensorrt}/{machine.gpu.name}"


class IBuilderConfig(_Made):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = logger
        self._flags = {BuilderFlag.TF32}
        self._pools: dict[MemoryPoolType, int] = {}
        self._profiles: list[IOptimizationProfile] = []
        self._cache: ITimingCache | None = None
        self._values: dict[str, Any] = {}

    @property
    def builder_optimization_level(self) -> int:
        return int(self._values.get("level", 3))

    @builder_optimization_level.setter
    def builder_optimization_level(self, value: int) -> None:
        assert 0 <= value <= 5
        self._values["level"] = value

    @property
    def max_aux_streams(self) -> int:
        return int(self._values.get("aux", -1))

    @max_aux_streams.setter
    def max_aux_streams(self, value: int) -> None:
        self._values["aux"] = value

    @property
    def profiling_verbosity(self) -> ProfilingVerbosity:
        return self._values.get("verbosity", ProfilingVerbosity.LAYER_NAMES_ONLY)

    @profiling_verbosity.setter
    def profiling_verbosity(self, value: ProfilingVerbosity) -> None:
        self._values["verbosity"] = value

    @property
    def hardware_compatibility_level(self) -> HardwareCompatibilityLevel:
        return self._values.get("hardware", HardwareCompatibilityLevel.NONE)

    @hardware_compatibility_level.setter
    def hardware_compatibility_level(self, value: HardwareCompatibilityLevel) -> None:
        self._values["hardware"] = value

    @property
    def progress_monitor(self) -> IProgressMonitor | None:
        return self._values.get("monitor")

    @progress_monitor.setter
    def progress_monitor(self, value: IProgressMonitor | None) -> None:
        self._values["monitor"] = value

    def set_flag(self, flag: BuilderFlag) -> None:
        self._flags.add(flag)

    def clear_flag(self, flag: BuilderFlag) -> None:
        self._flags.discard(flag)

    def set_memory_pool_limit(self, pool: MemoryPoolType, pool_size: int) -> None:
        self._pools[pool] = int(pool_size)

    def add_optimization_profile(self, profile: IOptimizationProfile) -> int:
        if any(not low <= opt <= high for s in profile._shapes.values() for low, opt, high in zip(*s, strict=True)):
            self._logger._error("the optimization profile is invalid: min <= opt <= max does not hold")
            return -1
        self._profiles.append(profile)
        return len(self._profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> ITimingCache | None:
        if not serialized_timing_cache:
            return ITimingCache(_cache_header(), {})
        try:
            data = json.loads(bytes(serialized_timing_cache))
            return ITimingCache(data["header"], data["entries"])
        except (ValueError, KeyError, TypeError):
            self._logger._error("the timing cache cannot be deserialized")
            return None

    def set_timing_cache(self, cache: ITimingCache, ignore_mismatch: bool) -> bool:
        if cache._header != _cache_header() and not ignore_mismatch:
            return False
        self._cache = cache
        return True

    def get_timing_cache(self) -> ITimingCache | None:
        return self._cache


_BUILD_FAULTS = {
    "build": "could not find any implementation for node /Conv",
    "build memory": "out of memory: requested 1073741824 bytes",
}


class Builder(_Made):
    def __init__(self, logger: ILogger) -> None:
        super().__init__()
        self._logger = logger

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        return INetworkDefinition(flags, self._logger)

    def create_builder_config(self) -> IBuilderConfig:
        return IBuilderConfig(self._logger)

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: INetworkDefinition, config: IBuilderConfig) -> IHostMemory | None:
        problem = self._problem(network, config)
        if problem is None and not _report_progress(network, config.progress_monitor):
            problem = "the build was cancelled"
        if problem is not None:
            self._logger._error(problem)
            return None
        model = network._model
        assert model is not None
        if config._cache is not None:
            config._cache._entries |= {f"{node.op_type}/{i}": 1.0 for i, node in enumerate(model.graph.node)}
        head = {
            "tensorrt": machine.tensorrt,
            "gpu": [machine.gpu.name, machine.gpu.compute_capability],
            "hardware": int(config.hardware_compatibility_level),
            "version_compatible": BuilderFlag.VERSION_COMPATIBLE in config._flags,
            "profiles": [p._shapes for p in config._profiles],
        }
        body = json.dumps(head).encode() + b"\0" + model.SerializeToString()
        return IHostMemory(MAGIC + hashlib.sha256(body).digest() + body)

    def _problem(self, network: INetworkDefinition, config: IBuilderConfig) -> str | None:
        for fault, message in _BUILD_FAULTS.items():
            if fault in machine.faults:
                return message
        if not network._strong:
            return "the network is weakly typed, which TensorRT 11 has no more"
        if config.max_aux_streams != 0:
            return "auxiliary streams are not emulated"
        for tensor in (network.get_input(i) for i in range(network.num_inputs)):
            if -1 in tensor.shape and not config._profiles:
                return f"{tensor.name}: dynamic, and no optimization profile is defined"
            for profile in config._profiles:
                shapes = profile._shapes.get(tensor.name)
                if shapes is None or any(not _fits(s, tensor.shape) for s in shapes):
                    return f"{tensor.name}: the optimization profile has shapes {shapes}, the network {tensor.shape}"
        return None


def _fits(shape: Sequence[int], declared: Sequence[int]) -> bool:
    return len(shape) == len(declared) and all(d in (-1, s) for s, d in zip(shape, declared, strict=True))


def _rounding(model: onnx.ModelProto) -> onnx.ModelProto:
    """What is executed: a network with FP16 in it rounds as it would on a GPU, which ONNX Runtime does not do."""
    graph, half = model.graph, onnx.TensorProto.FLOAT16
    made_half = any(a.name == "to" and a.i == half for n in graph.node if n.op_type == "Cast" for a in n.attribute)
    if not made_half and all(t.data_type != half for t in graph.initializer):
        return model
    from trtswap.calibration.rounding import rounding_graph  # heavy, and most engines of the tests are FP32

    return rounding_graph(model)


def _report_progress(network: INetworkDefinition, monitor: IProgressMonitor | None) -> bool:
    """Tell the monitor about two nested phases; False when it wants to stop."""
    if monitor is None:
        return True
    monitor.phase_start("Building engine", None, 2)  # type: ignore[arg-type]  # the root has no parent
    going = monitor.step_complete("Building engine", 0)
    monitor.phase_start("Timing tactics", "Building engine", network.num_layers)
    for layer in range(network.num_layers):
        going = going and monitor.step_complete("Timing tactics", layer)
    monitor.phase_finish("Timing tactics")
    going = going and monitor.step_complete("Building engine", 1)
    monitor.phase_finish("Building engine")
    return going


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
            self._logger._error("the plan is corrupted: magic tag does not match")
            return None
        head, _, model = body.partition(b"\0")
        facts = json.loads(head)
        problem = self._misfit(facts)
        if problem is not None:
            self._logger._error(problem)
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
        self._unused = {i.name: ITensor(i) for i in graph.input if i.name not in used}
        self._inputs = {i.name: ITensor(i) for i in graph.input if i.name in used}  # TensorRT drops the others
        self._outputs = {o.name: ITensor(o) for o in graph.output}
        self._types = {t.name: _DTYPES[t.type.tensor_type.elem_type][1] for t in (*graph.input, *graph.output)}
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
        return (self._inputs | self._outputs)[name].dtype

    def get_tensor_shape(self, name: str) -> Dims:
        return (self._inputs | self._outputs)[name].shape

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[Dims]:
        if not self._profiles:
            return [self._inputs[name].shape] * 3
        return [Dims(shape) for shape in self._profiles[profile_index][name]]

    def create_execution_context(
        self, strategy: ExecutionContextAllocationStrategy = ExecutionContextAllocationStrategy.STATIC
    ) -> "IExecutionContext | None":
        if "context" in machine.faults:
            self._logger._error("out of memory: could not allocate the context's persistent memory")
            return None
        assert strategy == ExecutionContextAllocationStrategy.USER_MANAGED
        return IExecutionContext(self)

    def create_engine_inspector(self) -> "EngineInspector":
        return EngineInspector(self)

    def _run(self, feed: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
        unused = {n: np.zeros([max(1, d) for d in t.shape], self._types[n]) for n, t in self._unused.items()}
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
        self._engine._logger._error(message)
        return False

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
        return int(prod(shape) * np.dtype(self._engine._types[name]).itemsize)

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
        for name, tensor in self._engine._inputs.items():
            if -1 not in tensor.shape:
                self._shapes.setdefault(name, tuple(tensor.shape))
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
        dtype = np.dtype(self._engine._types[name])
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


def init_libnvinfer_plugins(logger: ILogger, namespace: str) -> bool:
    return True


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return machine.tensorrt
    raise AttributeError(name)

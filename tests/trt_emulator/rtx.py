"""What TensorRT for RTX has beyond TensorRT when a plan runs, which needs a GPU; all else the real one is tried for."""

from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from tensorrt_rtx import (
    CudaGraphStrategy,
    DynamicShapesKernelSpecializationStrategy,
    EngineInvalidityDiagnostics,
    EngineValidity,
)

from . import api

VERSION = "1.7.1.116"


class IRuntimeCache:
    """Kernels, here their names; a GPU's own are taken."""

    def __init__(self) -> None:
        self._kernels: list[str] = []

    def deserialize(self, blob: bytes) -> bool:
        gpu, _, kernels = bytes(blob).decode("utf-8", "replace").partition("|")
        if gpu != api.machine.gpu.name:
            return False
        self._kernels = kernels.split()
        return True

    def serialize(self) -> bytes:
        return f"{api.machine.gpu.name}|{' '.join(self._kernels)}".encode()


class IRuntimeConfig:
    __slots__ = ("_cache", "_strategy", "cuda_graph_strategy", "dynamic_shapes_kernel_specialization_strategy")

    def __init__(self) -> None:
        self._strategy: Any = None
        self._cache: IRuntimeCache | None = None
        self.dynamic_shapes_kernel_specialization_strategy = DynamicShapesKernelSpecializationStrategy.LAZY
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED

    def set_execution_context_allocation_strategy(self, strategy: api.ExecutionContextAllocationStrategy) -> None:
        self._strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache()

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self._cache = cache
        return True


class ICudaEngine(api.ICudaEngine):
    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig()

    def create_execution_context(self, runtime_config: Any = None) -> "api.IExecutionContext | None":
        assert isinstance(runtime_config, IRuntimeConfig)
        assert runtime_config._strategy == api.ExecutionContextAllocationStrategy.USER_MANAGED
        shapes = runtime_config.dynamic_shapes_kernel_specialization_strategy
        assert shapes == DynamicShapesKernelSpecializationStrategy.EAGER, "graphs would keep slow kernels"
        assert runtime_config.cuda_graph_strategy == CudaGraphStrategy.DISABLED, "a capture inside of a capture"
        assert runtime_config._cache is not None
        if "kernel" not in runtime_config._cache._kernels:
            runtime_config._cache._kernels.append("kernel")
            api.machine.finished += 1
        return super().create_execution_context(api.ExecutionContextAllocationStrategy.USER_MANAGED)


class Runtime(api.Runtime):
    engine_header_size = 64

    def get_engine_validity(self, buffer: bytes) -> tuple[EngineValidity, int]:
        assert len(buffer) == self.engine_header_size
        known = EngineInvalidityDiagnostics.__members__
        bits = sum(int(known[fault]) for fault in api.machine.faults & known.keys())
        if bits:
            return EngineValidity.INVALID, bits
        return (EngineValidity.SUBOPTIMAL if "slow here" in api.machine.faults else EngineValidity.VALID), 0

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "api.ICudaEngine | None":
        engine = super().deserialize_cuda_engine(serialized_engine)
        if engine is not None:
            engine.__class__ = ICudaEngine
        return engine


def module() -> ModuleType:
    """What ``import tensorrt_rtx`` gives."""
    made = ModuleType("tensorrt_rtx")
    made.__dict__.update({name: value for name, value in vars(api).items() if not name.startswith("__")})
    enums = (DynamicShapesKernelSpecializationStrategy, CudaGraphStrategy, EngineValidity, EngineInvalidityDiagnostics)
    own = (*enums, ICudaEngine, Runtime)
    made.__dict__.update({kind.__name__: kind for kind in own})
    made.__dict__.update(__version__=VERSION, __spec__=ModuleSpec("tensorrt_rtx", None))
    return made

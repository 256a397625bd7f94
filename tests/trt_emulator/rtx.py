"""What TensorRT for RTX has beyond TensorRT when a plan runs, which needs a GPU; all else the real one is tried for."""

import enum
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from . import api

VERSION = "1.7.1.116"


class DynamicShapesKernelSpecializationStrategy(enum.IntEnum):
    LAZY = 0
    EAGER = 1
    NONE = 2


class CudaGraphStrategy(enum.IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


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

    def serialize(self) -> api.IHostMemory:
        return api.IHostMemory(f"{api.machine.gpu.name}|{' '.join(self._kernels)}".encode())


class IRuntimeConfig:
    def __init__(self) -> None:
        self._strategy: Any = None
        self._cache: IRuntimeCache | None = None
        self._shapes = DynamicShapesKernelSpecializationStrategy.LAZY
        self._graphs = CudaGraphStrategy.DISABLED

    @property
    def dynamic_shapes_kernel_specialization_strategy(self) -> DynamicShapesKernelSpecializationStrategy:
        return self._shapes

    @dynamic_shapes_kernel_specialization_strategy.setter
    def dynamic_shapes_kernel_specialization_strategy(self, value: DynamicShapesKernelSpecializationStrategy) -> None:
        self._shapes = value

    @property
    def cuda_graph_strategy(self) -> CudaGraphStrategy:
        return self._graphs

    @cuda_graph_strategy.setter
    def cuda_graph_strategy(self, value: CudaGraphStrategy) -> None:
        self._graphs = value

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
        assert runtime_config._shapes == DynamicShapesKernelSpecializationStrategy.EAGER, (
            "graphs would keep slow kernels"
        )
        assert runtime_config._graphs == CudaGraphStrategy.DISABLED, "a capture inside of a capture"
        assert runtime_config._cache is not None
        if "kernel" not in runtime_config._cache._kernels:
            runtime_config._cache._kernels.append("kernel")
            api.machine.finished += 1
        return super().create_execution_context(api.ExecutionContextAllocationStrategy.USER_MANAGED)


class Runtime(api.Runtime):
    def deserialize_cuda_engine(self, serialized_engine: bytes) -> "api.ICudaEngine | None":
        engine = super().deserialize_cuda_engine(serialized_engine)
        if engine is not None:
            engine.__class__ = ICudaEngine
        return engine


def module() -> ModuleType:
    """What ``import tensorrt_rtx`` gives."""
    made = ModuleType("tensorrt_rtx")
    made.__spec__ = ModuleSpec("tensorrt_rtx", None)
    made.__dict__.update({name: value for name, value in vars(api).items() if not name.startswith("__")})
    own = (DynamicShapesKernelSpecializationStrategy, CudaGraphStrategy, ICudaEngine, Runtime)
    made.__dict__.update({kind.__name__: kind for kind in own}, __version__=VERSION)
    return made

"""A plan in memory."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import torch

from trtswap.backends.trt.kernels import KernelFile
from trtswap.backends.trt.library import Library, make_logger
from trtswap.errors import PlanError

if TYPE_CHECKING:
    import tensorrt as trt


LOG = logging.getLogger("trtswap.tensorrt")
INVALID: Mapping[str, str] = MappingProxyType(
    {
        "VERSION_MISMATCH": "it is of another version of the library",
        "UNSUPPORTED_CC": "it was not made for this GPU",
        "OLD_CUDA_DRIVER": "it needs a newer driver",
        "OLD_CUDA_RUNTIME": "it needs a newer CUDA runtime",
        "INSUFFICIENT_GPU_MEMORY": "the GPU has too little memory for it",
        "MALFORMED_ENGINE": "it is damaged",
        "CUDA_ERROR": "CUDA's driver or runtime is not installed well",
    }
)
"""What NVIDIA's own check may say of a plan: members of ``EngineInvalidityDiagnostics``, which are bits."""


class LoadedPlan:
    """A deserialised plan and what has to outlive it, on CUDA's current device.

    Args:
        library: that made it.
        data: the plan; its hash was checked, for it is code.
        name: for messages.
        host_code: allow code for the host in it, which version-compatible plans carry.
        kernels: where kernels are kept that are finished here; nowhere if None.

    Raises:
        PlanError: the library does not take it.
    """

    engine: "trt.ICudaEngine"

    def __init__(
        self, library: Library, data: bytes, *, name: str, host_code: bool, kernels: KernelFile | None = None
    ) -> None:
        trt = library.trt
        self.library = library
        self.logger: Any = make_logger(library)
        self._runtime = trt.Runtime(self.logger)
        self._runtime.engine_host_code_allowed = host_code
        if library.kind.ahead_of_time:
            self._check_validity(data, name)
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise PlanError(
                f"{name}: {library.title} does not take this engine: {self.logger.take_errors()}. Build it again with "
                "`trtswap build-engines`."
            )
        self.engine = engine
        self._kernels = kernels
        self._config: Any = self._runtime_config() if library.kind.ahead_of_time else None

    def _check_validity(self, data: bytes, name: str) -> None:
        """NVIDIA's own word on whether a plan that was made elsewhere runs here; the plan's header suffices for it."""
        rtx, runtime = self.library.trt, cast(Any, self._runtime)  # what TensorRT has not
        validity, bits = runtime.get_engine_validity(data[: runtime.engine_header_size])
        if validity == rtx.EngineValidity.SUBOPTIMAL:
            LOG.warning("%s: %s says that this engine may be slow here.", name, self.library.title)
        elif validity == rtx.EngineValidity.INVALID:
            known = rtx.EngineInvalidityDiagnostics.__members__
            reasons = [text for bit, text in INVALID.items() if int(bits) & int(known[bit])]
            raise PlanError(
                f"{name}: {self.library.title} says that this engine cannot run here: "
                f"{'; '.join(reasons) or self.logger.take_errors()}. Update the driver, or build it again with "
                "`trtswap build-engines`."
            )

    def _runtime_config(self) -> Any:
        """How contexts of a plan that was made ahead of time run.

        Kernels for given shapes are finished before the first run: finished later, in the background, a CUDA graph that
        is captured in the meantime would keep the slow ones. The library's own capture would be inside of ours.
        """
        rtx, engine = self.library.trt, cast(Any, self.engine)  # what TensorRT has not
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(rtx.ExecutionContextAllocationStrategy.USER_MANAGED)
        config.dynamic_shapes_kernel_specialization_strategy = rtx.DynamicShapesKernelSpecializationStrategy.EAGER
        config.cuda_graph_strategy = rtx.CudaGraphStrategy.DISABLED
        self._cache = config.create_runtime_cache()
        if self._kernels is not None:
            self._kernels.give(self._cache)
        config.set_runtime_cache(self._cache)
        return config

    def context(self) -> "trt.IExecutionContext | None":
        """A context whose scratch memory is given to it; None, and a message to the logger, where none can be made."""
        trt = self.library.trt
        if self._config is not None:
            return cast(Any, self.engine).create_execution_context(self._config)
        return self.engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)

    def keep_kernels(self) -> None:
        """Put on disk what was finished here since the last time."""
        if self._config is not None and self._kernels is not None:
            self._kernels.keep(self._cache)

    def close(self) -> None:
        """Release what was made of the engine, the engine, then the runtime it came from."""
        if self._config is not None:
            self.keep_kernels()
            del self._config, self._cache
        del self.engine
        del self._runtime


def tensor_names(plan: LoadedPlan) -> tuple[list[str], list[str]]:
    """Names of a plan's inputs and outputs, in its order."""
    trt = plan.library.trt
    engine = plan.engine
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return inputs, [name for name in names if name not in inputs]


def dtypes(library: Library) -> "Mapping[trt.DataType, torch.dtype]":
    """The library's types as PyTorch's."""
    trt = library.trt
    return {
        trt.DataType.FLOAT: torch.float32,
        trt.DataType.HALF: torch.float16,
        trt.DataType.BF16: torch.bfloat16,
        trt.DataType.INT8: torch.int8,
        trt.DataType.UINT8: torch.uint8,
        trt.DataType.INT32: torch.int32,
        trt.DataType.INT64: torch.int64,
        trt.DataType.BOOL: torch.bool,
    }

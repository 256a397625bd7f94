"""A plan in memory."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from trtswap.backends.trt.library import Library, make_logger
from trtswap.errors import PlanError

if TYPE_CHECKING:
    import tensorrt as trt


class LoadedPlan:
    """A deserialised plan and what has to outlive it, on CUDA's current device.

    Args:
        library: that made it.
        data: the plan; its hash was checked, for it is code.
        name: for messages.
        host_code: allow code for the host in it, which version-compatible plans carry.

    Raises:
        PlanError: the library does not take it.
    """

    engine: "trt.ICudaEngine"

    def __init__(self, library: Library, data: bytes, *, name: str, host_code: bool) -> None:
        trt = library.trt
        self.library = library
        self.logger: Any = make_logger(library)
        self._runtime = trt.Runtime(self.logger)
        self._runtime.engine_host_code_allowed = host_code
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise PlanError(
                f"{name}: {library.title} does not take this engine: {self.logger.take_errors()}. Build it again with "
                "`trtswap build-engines`."
            )
        self.engine = engine

    def close(self) -> None:
        """Release the engine, then the runtime it came from."""
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

"""TensorRT's own objects that runtime and builder share: the logger, the version, types, and loading a plan."""

import logging
from collections import deque
from collections.abc import Mapping

import tensorrt as trt
import torch

from trtswap.backends.device import Gpu
from trtswap.backends.trt.plans import Place
from trtswap.errors import BackendError, PlanError

LOG = logging.getLogger("trtswap.tensorrt")
OLDEST, TOO_NEW = (10, 13), (12,)

DTYPES: Mapping[trt.DataType, torch.dtype] = {
    trt.DataType.FLOAT: torch.float32,
    trt.DataType.HALF: torch.float16,
    trt.DataType.BF16: torch.bfloat16,
    trt.DataType.INT8: torch.int8,
    trt.DataType.UINT8: torch.uint8,
    trt.DataType.INT32: torch.int32,
    trt.DataType.INT64: torch.int64,
    trt.DataType.BOOL: torch.bool,
}


class LibraryLogger(trt.ILogger):
    """Passes TensorRT's messages on to :mod:`logging`, and keeps the last errors for exceptions to quote."""

    def __init__(self) -> None:
        trt.ILogger.__init__(self)
        self._errors: deque[str] = deque(maxlen=8)
        self._levels = {
            trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
            trt.ILogger.Severity.ERROR: logging.ERROR,
            trt.ILogger.Severity.WARNING: logging.WARNING,
            trt.ILogger.Severity.INFO: logging.INFO,
            trt.ILogger.Severity.VERBOSE: logging.DEBUG,
        }

    def log(self, severity: trt.ILogger.Severity, msg: str) -> None:
        """Called by TensorRT, from any of its threads."""
        level = self._levels[severity]
        if level == logging.ERROR:
            self._errors.append(msg.strip())
        # Errors come back as exceptions that quote them; in the log they would be said twice.
        LOG.log(min(level, logging.INFO), "%s", msg)

    def take_errors(self) -> str:
        """The errors since the last call, as one text, and forget them."""
        text = " | ".join(self._errors)
        self._errors.clear()
        return text or "TensorRT gave no reason"


def check_version() -> str:
    """TensorRT's version, such as ``11.4.0.106``.

    Raises:
        BackendError: it is not one that trtswap is written for.
    """
    numbers = tuple(int(part) for part in trt.__version__.split(".")[:2])
    if not OLDEST <= numbers < TOO_NEW:
        raise BackendError(
            f"TensorRT {trt.__version__} is installed, expected 10.13 or newer and below 12: "
            'pip install "trtswap[tensorrt]".'
        )
    return str(trt.__version__)


def place_of(gpu: Gpu) -> Place:
    """What a plan that is built here is tied to."""
    return Place(check_version(), gpu.facts.name, gpu.facts.compute_capability)


class LoadedPlan:
    """A deserialised plan and what has to outlive it, on CUDA's current device.

    Args:
        data: the plan; its hash was checked, for it is code.
        name: for messages.
        host_code: allow code for the host in it, which version-compatible plans carry.

    Raises:
        PlanError: TensorRT does not take it.
    """

    def __init__(self, data: bytes, *, name: str, host_code: bool) -> None:
        self.logger = LibraryLogger()
        self._runtime = trt.Runtime(self.logger)
        self._runtime.engine_host_code_allowed = host_code
        engine = self._runtime.deserialize_cuda_engine(data)
        if engine is None:
            raise PlanError(
                f"{name}: TensorRT {trt.__version__} does not take this engine: {self.logger.take_errors()}. Build it "
                "again with `trtswap build-engines`."
            )
        self.engine: trt.ICudaEngine = engine

    def close(self) -> None:
        """Release the engine, then the runtime it came from."""
        del self.engine
        del self._runtime


def tensor_names(engine: trt.ICudaEngine) -> tuple[list[str], list[str]]:
    """Names of a plan's inputs and outputs, in its order."""
    names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
    return inputs, [name for name in names if name not in inputs]

"""The one interface that every backend has: named tensors in, named tensors out."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

import torch
from torch import Tensor


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and element type of one graph input or output.

    ``shape`` holds an int for a fixed dimension and a name (``"N"``, ``"H"``) for a dynamic one.
    """

    name: str
    shape: tuple[int | str, ...]
    dtype: torch.dtype

    def __str__(self) -> str:
        dims = ",".join(str(d) for d in self.shape)
        return f"{self.name} [{dims}] {str(self.dtype).removeprefix('torch.')}"


@runtime_checkable
class Engine(Protocol):
    """One graph, loaded and ready on one device.

    Call it with all inputs by name; it returns all outputs by name, on the engine's device. Inputs are
    contiguous tensors on that device, of the dtype in ``inputs``; the engine does not modify them.

    Ownership: returned tensors stay valid until the next call of the same engine, which may write into the
    same memory. Who wants to keep one clones it.

    An engine is used by one thread at a time. It is a context manager; ``close`` may be called twice, and a
    closed engine raises :class:`~trtswap.errors.BackendError` when called.
    """

    @property
    def backend(self) -> str:
        """Name of the backend: ``onnxruntime``, ``openvino``, ``torch`` or ``tensorrt``."""

    @property
    def precision(self) -> str:
        """Arithmetic that runs, for people to read: ``fp32``, ``fp16+fp32`` ..."""

    @property
    def device(self) -> torch.device: ...

    @property
    def inputs(self) -> Mapping[str, TensorSpec]: ...

    @property
    def outputs(self) -> Mapping[str, TensorSpec]: ...

    def __call__(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Run once.

        Raises:
            InputError: a tensor is missing, unknown, or has another shape, dtype or device than declared.
            BackendError: the backend failed to run.
        """

    def close(self) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None: ...

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

    Ownership: returned tensors are the caller's own; the engine does not use their memory again.

    Any thread may call an engine at any time; where it runs fewer calls at once, the others wait. It is a context
    manager; ``close`` is called once no call is under way, may be called twice, and a closed engine raises
    :class:`~trtswap.errors.BackendError` when called.
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

    @property
    def max_rows(self) -> int | None:
        """Most rows of a call, where the first dimension of the first input is dynamic; None: any number."""

    def prepare(self, **shapes: tuple[int, ...]) -> None:
        """Make ready for inputs of these shapes, given for all inputs by name.

        On a GPU what runs for them is captured now, under the device's lock; elsewhere nothing happens. It waits for
        the device, other videos' work included, so it is called when engines are opened and before the first frame of
        a video, not between frames. A call with shapes that were not prepared runs as it is.

        Raises:
            InputError: a shape is missing, unknown, or none that the engine takes.
            BackendError: the backend failed to run.
        """

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

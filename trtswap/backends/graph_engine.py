"""What all engines do alike: hold declared specs, check inputs, answer empty batches, close once."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import ClassVar, Self

import torch
from torch import Tensor

from trtswap.backends.engine import TensorSpec
from trtswap.backends.forks import Birthplace, survives_in_children
from trtswap.errors import BackendError, InputError


class GraphEngine(ABC):
    """Base of the engines of this package; ``trtswap.backends.engine.Engine`` is the contract it fulfils.

    A batch without elements is answered without running: outputs of the declared shape, in which every dynamic
    dimension that no input names is 0 too.
    """

    backend: ClassVar[str]
    max_rows: int | None = None

    def __init__(
        self,
        file: Path,
        *,
        device: torch.device,
        precision: str,
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        for spec in (*inputs, *outputs):
            if any(isinstance(dim, int) and dim < 0 for dim in spec.shape):
                raise BackendError(f"{file} cannot be loaded: {spec} has a negative length.")
        self.file = file
        self.device = device
        self.precision = precision
        self.inputs: Mapping[str, TensorSpec] = MappingProxyType({spec.name: spec for spec in inputs})
        self.outputs: Mapping[str, TensorSpec] = MappingProxyType({spec.name: spec for spec in outputs})
        self._closed, self._birthplace = False, Birthplace()
        survives_in_children(self)

    def __call__(self, /, **tensors: Tensor) -> dict[str, Tensor]:
        self._check_open()
        sizes = self._check(tensors)
        if any(t.numel() == 0 for t in tensors.values()):
            return {name: self._empty(spec, sizes) for name, spec in self.outputs.items()}
        return self._run(tensors, sizes)

    def prepare(self, /, **shapes: tuple[int, ...]) -> None:
        self._check_open()
        sizes = self._sizes(shapes)
        if all(prod(shape) for shape in shapes.values()):
            self._prepare({name: tuple(shapes[name]) for name in self.inputs}, sizes)

    def _prepare(  # noqa: B027 - most backends have nothing to do
        self, shapes: Mapping[str, tuple[int, ...]], sizes: Mapping[str, int]
    ) -> None:
        """Make ready for checked, non-empty shapes; ``sizes`` as in :meth:`_run`."""

    def _check_open(self) -> None:
        self._birthplace.check()
        if self._closed:
            raise BackendError(f"{self.file.name}: the engine is closed; open another with open_engine.")

    @abstractmethod
    def _run(self, tensors: Mapping[str, Tensor], sizes: Mapping[str, int]) -> dict[str, Tensor]:
        """Run on checked, non-empty inputs; ``sizes`` has the length of every dynamic input dimension by name."""

    @abstractmethod
    def _release(self) -> None:
        """Let go of the graph and its memory; called once."""

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if self._birthplace.is_here:
                self._release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        inputs, outputs = (", ".join(map(str, specs.values())) for specs in (self.inputs, self.outputs))
        return f"{type(self).__name__}({self.file.name} on {self.device}: {inputs} -> {outputs})"

    def _check(self, tensors: Mapping[str, Tensor]) -> dict[str, int]:
        """Hold the inputs against their specs; returns the length of every dynamic dimension by name."""
        sizes = self._sizes({name: t.shape for name, t in tensors.items()})
        for name, spec in self.inputs.items():
            tensor = tensors[name]
            if tensor.dtype != spec.dtype or tensor.device != self.device or not tensor.is_contiguous():
                found = TensorSpec(name, tuple(tensor.shape), tensor.dtype)
                layout = "" if tensor.is_contiguous() else ", not contiguous (call .contiguous() first)"
                raise InputError(
                    f"{self.file.name}: input {found} on {tensor.device}{layout}; expected {spec} on {self.device}, "
                    "contiguous."
                )
        return sizes

    def _sizes(self, shapes: Mapping[str, Sequence[int]]) -> dict[str, int]:
        """Hold the inputs' shapes against their specs; returns the length of every dynamic dimension by name."""
        if shapes.keys() != self.inputs.keys():
            got, expected = ", ".join(shapes) or "nothing", ", ".join(map(str, self.inputs.values()))
            raise InputError(f"{self.file.name}: inputs are {got}; expected {expected}.")
        sizes: dict[str, int] = {}
        for name, spec in self.inputs.items():
            shape = shapes[name]
            if len(shape) != len(spec.shape) or any(
                isinstance(dim, int) and dim != size for dim, size in zip(spec.shape, shape, strict=True)
            ):
                raise InputError(
                    f"{self.file.name}: input {name} [{','.join(map(str, shape))}] has another shape; expected {spec}."
                )
            for dim, size in zip(spec.shape, shape, strict=True):
                if isinstance(dim, str) and sizes.setdefault(dim, size) != size:
                    raise InputError(
                        f"{self.file.name}: input {name} is {list(shape)}, expected {spec} with "
                        f"{dim}={sizes[dim]} as in the inputs before it."
                    )
        return sizes

    def _empty(self, spec: TensorSpec, sizes: Mapping[str, int]) -> Tensor:
        shape = [dim if isinstance(dim, int) else sizes.get(dim, 0) for dim in spec.shape]
        if prod(shape):
            raise InputError(f"{self.file.name}: an empty batch has no output {spec}, whose size is fixed.")
        return torch.empty(shape, dtype=spec.dtype, device=self.device)


def check_threads(threads: int | None) -> None:
    """Raises InputError where ``threads`` is neither None, for every core, nor 1 or more."""
    if threads is not None and threads < 1:
        raise InputError(f"threads is {threads}, expected 1 or more, or None for every core.")


def known_shape(spec: TensorSpec, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
    """The shape of an output for given lengths of the input dimensions; None where the graph does not name it."""
    shape = tuple(dim if isinstance(dim, int) else sizes.get(dim, -1) for dim in spec.shape)
    return None if -1 in shape else shape

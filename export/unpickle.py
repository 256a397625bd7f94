"""Reads the tensors of a pickled PyTorch module without ever running the pickle's own code.

This module stands in for :mod:`pickle` inside :func:`torch.load`, which looks up ``Unpickler`` and ``load`` in it and
does the rest: storages, and both of PyTorch's file formats. A pickle can name any callable; here only those of
``ALLOWED`` are looked up, classes of modules become :class:`Inert`, and everything else ends the reading.
"""

import pickle
import struct
import sys
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import torch
from torch import Tensor

from trtswap.errors import CheckpointError

# Storage types are not here: torch.load resolves them from a table of its own before it asks.
ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = MappingProxyType(
    {
        ("collections", "OrderedDict"): OrderedDict,
        ("builtins", "set"): set,
        ("__builtin__", "set"): set,
        ("torch._utils", "_rebuild_tensor"): torch._utils._rebuild_tensor,
        ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
        ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    }
)
MODULE_CLASSES = ("models.", "torch.nn.modules.")

# What reading a damaged or foreign file raises, in torch.load and below it.
UNREADABLE = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    MemoryError,
    RecursionError,
    struct.error,
)


class Inert:
    """Takes the place of every module in the pickle: it keeps the state it is given and does nothing."""

    dump_patches = False  # torch.load asks every class for it
    state: Mapping[str, Any] = MappingProxyType({})

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        if not isinstance(state, Mapping):
            raise pickle.UnpicklingError(f"the state of a module is a {type(state).__name__}, not a dictionary")
        self.state = state


class Unpickler(pickle.Unpickler):
    """Finds what ``ALLOWED`` lists, gives :class:`Inert` for classes of modules, refuses all else."""

    def find_class(self, module_name: str, global_name: str, /) -> Any:
        if (module_name, global_name) in ALLOWED:
            return ALLOWED[module_name, global_name]
        if module_name.startswith(MODULE_CLASSES):
            return Inert
        raise pickle.UnpicklingError(f"it names {module_name}.{global_name}, which is not on the allow-list")


def load(file: IO[bytes], **options: Any) -> Any:
    """As :func:`pickle.load`, restricted."""
    return Unpickler(file, **options).load()


def load_module_state(path: Path) -> dict[str, Tensor]:
    """Tensors by name of a module that was saved whole with ``torch.save(module, path)``.

    Raises:
        CheckpointError: the file is no such thing, or names anything outside the allow-list; nothing of it has run.
    """
    try:
        refuse_program(path)
        with path.open("rb") as file, warnings.catch_warnings():
            # That the classes are not the ones the file was written with is the point.
            warnings.simplefilter("ignore", torch.serialization.SourceChangeWarning)
            warnings.filterwarnings("ignore", message="Couldn't retrieve source code")
            module = torch.load(file, map_location="cpu", pickle_module=sys.modules[__name__], weights_only=False)
        if not isinstance(module, Inert):
            raise pickle.UnpicklingError(f"it holds a {type(module).__name__}, not a module")
        return dict(named_tensors(module))
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path}: cannot be read as a pickled module: {error}. Get the file again; do not load it by other means."
        ) from error


def refuse_program(path: Path) -> None:
    """Stop at a TorchScript archive, which torch.load would hand on to torch.jit.load, and that runs code."""
    with path.open("rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"  # as torch.load tells; zipfile.is_zipfile looks elsewhere
    if is_zip and "constants.pkl" in torch._C.PyTorchFileReader(str(path)).get_all_records():
        raise pickle.UnpicklingError("it is a TorchScript program")


def named_tensors(module: Inert, prefix: str = "") -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers of a module and the modules in it, named as ``state_dict`` does."""
    for group in ("_parameters", "_buffers"):
        for name, tensor in module.state[group].items():
            if tensor is not None:
                yield prefix + name, tensor.detach()
    for name, child in module.state["_modules"].items():
        if child is not None:
            yield from named_tensors(child, f"{prefix}{name}.")

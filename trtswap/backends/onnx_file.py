"""What an ONNX file declares, for backends that do not tell it themselves. Needs the package onnx."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from trtswap.backends.engine import TensorSpec
from trtswap.backends.torch.ops import DTYPES, OPSETS
from trtswap.errors import BackendError

try:
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
except ImportError as e:
    raise BackendError(f'Graphs are read with onnx: {e}. pip install "trtswap[export]".') from e


def load(file: Path, *, weights: bool = True) -> onnx.ModelProto:
    """Read a graph.

    Args:
        weights: also read weights that lie in files beside it.

    Raises:
        BackendError: there is no such file, or it holds no ONNX graph.
    """
    try:
        model = onnx.load(file, load_external_data=weights)
    except (OSError, DecodeError, ValueError, onnx.checker.ValidationError) as e:
        raise BackendError(f"{file} cannot be loaded as an ONNX graph: {e}") from e
    if not model.graph.output:
        raise BackendError(f"{file} cannot be loaded: it holds no ONNX graph with outputs.")
    _check_nodes(file, model)
    return model


def _check_nodes(file: Path, model: onnx.ModelProto) -> None:
    """Hold each node against its operator's schema: runtimes may take that for granted (OpenVINO's readers end the
    process at a Conv without inputs). Weights are not looked at, which would take a copy of the whole file.
    """
    context = onnx.checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {entry.domain: entry.version for entry in model.opset_import}
    for number, node in enumerate(model.graph.node):
        if any(a.HasField("g") or a.graphs for a in node.attribute):  # they need the names around them
            continue
        try:
            onnx.checker.check_node(node, context)
        except (onnx.checker.ValidationError, ValueError, RuntimeError) as e:
            label = f"{node.op_type} {node.name or f'number {number}'}"
            raise BackendError(f"{file} cannot be loaded as an ONNX graph: {label}: {e}") from e


@contextmanager
def refused(file: Path) -> Iterator[None]:
    """Whatever goes wrong while a stranger's graph is taken apart becomes a BackendError."""
    try:
        yield
    except BackendError:
        raise
    except Exception as e:  # attributes of other types than declared, names that are no text, numbers out of range
        raise BackendError(f"{file} cannot be loaded: the graph is damaged: {type(e).__name__}: {e}") from e


def opset(file: Path, model: onnx.ModelProto, *, backend: str) -> int:
    """The version of ONNX's own operators.

    Raises:
        BackendError: one outside ``OPSETS``.
    """
    found = next((i.version for i in model.opset_import if i.domain in ("", "ai.onnx")), 0)
    if found not in OPSETS:
        raise BackendError(
            f"{file}: the graph has opset {found}; the {backend} backend runs {OPSETS[0]} to {OPSETS[-1]}. Export it "
            f"again with opset {OPSETS[-1]}, or use backend='onnxruntime'."
        )
    return found


def specs(file: Path, model: onnx.ModelProto) -> tuple[list[TensorSpec], list[TensorSpec]]:
    """Inputs, of which weights are none, and outputs, in the graph's order.

    Raises:
        BackendError: one of a type that PyTorch does not have.
    """
    constants = {t.name for t in model.graph.initializer}
    inputs = [_spec(file, i) for i in model.graph.input if i.name not in constants]
    return inputs, [_spec(file, o) for o in model.graph.output]


def dtype(file: Path, name: str, number: int) -> torch.dtype:
    """The type of a tensor, by its number in ``onnx.TensorProto.DataType``.

    Raises:
        BackendError: PyTorch does not have it.
    """
    if number not in DTYPES:
        kind = onnx.TensorProto.DataType.Name(number)
        raise BackendError(f"{file}: tensor {name} holds {kind}, which PyTorch does not know.")
    return DTYPES[number]


def _spec(file: Path, value: onnx.ValueInfoProto) -> TensorSpec:
    tensor = value.type.tensor_type
    shape = (
        d.dim_value if d.HasField("dim_value") else d.dim_param or f"{value.name}_{i}"
        for i, d in enumerate(tensor.shape.dim)
    )
    return TensorSpec(value.name, tuple(shape), dtype(file, value.name, tensor.elem_type))

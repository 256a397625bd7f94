"""PyTorch module -> checked ONNX graph.

Graphs are opset 19: from opset 20 on, GridSample calls its modes by names that TensorRT's parser does not know
and silently reads as "nearest".
"""

import ast
import inspect
import logging
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common as passes
import torch
from onnx import ModelProto, NodeProto, ValueInfoProto, helper, numpy_helper, shape_inference
from onnxscript import optimizer, rewriter
from onnxscript.rewriter.rules import common as rules
from torch import nn
from torch.onnx import ONNXProgram

from trtswap.backends.engine import TensorSpec
from trtswap.errors import ExportError
from trtswap.export.rules import check_rules

OPSET = 19

# Any size would do for tracing; they differ from each other and from 0 and 1, which the tracer takes for constants.
# A: cells of a detector; height, width, K: of whole frames and of windows in them.
_EXAMPLE_SIZES = {"B": 2, "N": 2, "H": 320, "W": 256, "A": 3360, "K": 128, "height": 324, "width": 260, "F": 3}
_EXAMPLE_SIZES |= {"half_height": 162, "half_width": 130}
# So many times a smaller number, which several may have in common.
_MULTIPLES = {"H": (32, "_H"), "W": (32, "_W"), "K": (8, "_K")}
_HALVES = {"height": (2, "half_height"), "width": (2, "half_width")}

_ONNX_TYPES = {torch.float32: onnx.TensorProto.FLOAT, torch.uint8: onnx.TensorProto.UINT8}


def export_graph(
    module: nn.Module,
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
    *,
    name: str,
    inline: Callable[[ModelProto], ModelProto] | None = None,
) -> ModelProto:
    """Turn a module into an ONNX graph that has exactly the given inputs and outputs.

    Constants are folded (BatchNorm into the convolution before it), shapes inferred, the graph checked. The same
    module gives the same bytes: nothing of the machine, its paths or the time gets into the file.

    Args:
        module: in evaluation mode; takes the inputs in order and returns the outputs in order (one tensor, or a
            tuple). Named dimensions of the specs are dynamic; ``H`` and ``W`` are multiples of 32.
        inputs: as :func:`trtswap.model.pack.contract` gives them.
        outputs: likewise.
        name: of the graph, for error messages and for readers of the file.
        inline: puts other graphs in the places of operators that stand for them. What is around them has no layers
            whose parts could become one, and is not searched for such.

    Raises:
        ExportError: the module cannot be traced with dynamic dimensions, or its outputs are not as specified.
    """
    if module.training:
        raise ExportError(
            f"graph {name}: the module is in training mode, expected evaluation mode. Call .eval() first."
        )
    program = _trace(module, inputs, outputs, name)
    _fold(program.model, _RULES if inline is None else _NOTHING)
    model = program.model_proto
    model.graph.name = name
    _strip(model)
    if inline is not None:
        model = inline(model)
    _declare(model.graph.input, inputs)
    model = _inferred(model, name)
    _scale_instead_of_size(model)
    _check_outputs(model, outputs, name)
    _declare(model.graph.output, outputs)
    return checked(model, name)


def checked(model: ModelProto, name: str) -> ModelProto:
    """Infer all shapes afresh; hold the graph against ONNX's rules, trtswap's opset, and what TensorRT's parser takes.

    Raises:
        ExportError: what is wrong, with the graph's name.
    """
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if opsets != {"": OPSET}:
        raise ExportError(f"graph {name} needs the operator sets {opsets}, expected ONNX opset {OPSET} alone.")
    model = _inferred(model, name)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as e:
        raise ExportError(f"graph {name} is not valid ONNX: {e}") from e
    check_rules(model, name)
    return model


def _inferred(model: ModelProto, name: str) -> ModelProto:
    del model.graph.value_info[:]
    try:
        return shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError as e:
        raise ExportError(f"graph {name} has no consistent shapes: {e}") from e


def _trace(module: nn.Module, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], name: str) -> ONNXProgram:
    names = sorted({d for spec in inputs for d in spec.shape if isinstance(d, str)})
    dims = _dimensions(names)
    examples = tuple(
        torch.zeros([d if isinstance(d, int) else _EXAMPLE_SIZES[d] for d in s.shape], dtype=s.dtype) for s in inputs
    )
    shapes = tuple({i: dims[d] for i, d in enumerate(s.shape) if isinstance(d, str)} for s in inputs)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                module,
                examples,
                input_names=[s.name for s in inputs],
                output_names=[s.name for s in outputs],
                dynamic_shapes=(shapes,) if _takes_any(module) else shapes,
                opset_version=OPSET,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    except torch.onnx.errors.OnnxExporterError as e:
        raise ExportError(f"graph {name} cannot be traced with dynamic {', '.join(names)}: {e}") from e
    if program is None:
        raise ExportError(f"graph {name}: torch.onnx.export returned nothing.")
    return program


def _takes_any(module: nn.Module) -> bool:
    """Whether it takes as many tensors as there are: ``*tensors`` are one argument for the tracer."""
    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(module.forward).parameters.values())


def _dimensions(names: Sequence[str]) -> dict[str, Any]:
    """The tracer's own dimension for each name."""
    multiples = _MULTIPLES | {name: of for name, of in _HALVES.items() if of[1] in names}
    roots = {name: torch.export.Dim(name) for name in {multiples.get(name, (1, name))[1] for name in names}}
    return {
        name: multiples[name][0] * roots[multiples[name][1]] if name in multiples else roots[name] for name in names
    }


# Not onnxscript's default rules: those take a constant up to 1e-8 for zero and drop the epsilon of a division.
_RULES = (
    rules.fuse_batchnorm_into_conv_rule,
    rules.fuse_batchnorm_into_gemm_rule,
    rules.min_max_rule,
    rules.max_min_rule,
    rules.collapse_slice_rule,
    rules.collapse_slice2_rule,
    rules.slice_split_rule,
    rules.materialize_reshape_shape_rule,
    rules.reshape_reshape_rule,
    rules.squeeze_reshape_1d_rule,
    rules.unsqueeze_unsqueeze_rule,
    rules.cast_cast_rule,
    rules.no_op_cast_rule,
    rules.no_op_expand_rule,
    rules.no_op_transpose_rule,
    rules.transpose_transpose_rule,
)


_NOTHING = (rules.no_op_transpose_rule, rules.no_op_expand_rule, rules.no_op_cast_rule, rules.transpose_transpose_rule)
"""Where no layers are: copies of whole frames that change nothing."""

# Elements of the largest constant that is computed with. GFPGAN's largest convolution has 512 * 512 * 9 weights, and
# the sums of their squares, and the weights without their first dimension, are wanted as constants.
_FOLDED = 1 << 22


def _fold(model: onnx_ir.Model, rewrites: Sequence[Any]) -> None:
    """Compute what is constant, fuse batch norms, drop what changes nothing or is there twice."""
    optimizer.inline(model)
    for _ in range(2):  # a rewrite can make more constant
        optimizer.fold_constants(model, input_size_limit=_FOLDED, output_size_limit=_FOLDED)
        rewriter.rewrite(model, rewrites)
    for tidy in (
        passes.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        passes.DeduplicateInitializersPass(),
        passes.CommonSubexpressionEliminationPass(),
        passes.RemoveUnusedNodesPass(),
        passes.NameFixPass(),
    ):
        tidy(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter reports its progress and absent optional packages; none of it concerns who exports a pack."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _strip(model: ModelProto) -> None:
    """Remove stack traces and paths; name the nodes after the modules they come from."""
    model.producer_name, model.producer_version = "trtswap", ""
    model.doc_string = model.graph.doc_string = ""
    del model.metadata_props[:], model.graph.metadata_props[:], model.graph.value_info[:], model.functions[:]
    count: Counter[str] = Counter()
    for node in model.graph.node:
        scope = _scope(node)
        count[scope] += 1
        node.name = f"{scope}_{count[scope]}"
    for part in (*model.graph.node, *model.graph.initializer, *model.graph.input, *model.graph.output):
        part.doc_string = ""
        del part.metadata_props[:]


def _scope(node: NodeProto) -> str:
    """``network/layer1/0/conv/Conv``: the module path that the tracer noted, then the operator."""
    noted = {p.key: p.value for p in node.metadata_props}.get("pkg.torch.onnx.name_scopes", "['', '']")
    path = ast.literal_eval(noted)[-2:][0].replace(".", "/")
    return f"{path}/{node.op_type}" if path and not path.startswith("_") else node.op_type


def value_info(spec: TensorSpec) -> ValueInfoProto:
    """A graph input or output with the contract's type and dimension names."""
    return helper.make_tensor_value_info(spec.name, _ONNX_TYPES[spec.dtype], spec.shape)


def _declare(values: Sequence[ValueInfoProto], specs: Sequence[TensorSpec]) -> None:
    for value, spec in zip(values, specs, strict=True):
        value.CopyFrom(value_info(spec))


def _check_outputs(model: ModelProto, outputs: Sequence[TensorSpec], name: str) -> None:
    for value, spec in zip(model.graph.output, outputs, strict=True):
        kind, dims = value.type.tensor_type.elem_type, value.type.tensor_type.shape.dim
        fits = len(dims) == len(spec.shape) and all(
            not d.HasField("dim_value") or d.dim_value == s for d, s in zip(dims, spec.shape, strict=True)
        )
        if not fits or kind != _ONNX_TYPES[spec.dtype]:
            found = ",".join(str(d.dim_value or d.dim_param or "?") for d in dims)
            kind_name = onnx.TensorProto.DataType.Name(kind).lower()
            raise ExportError(f"graph {name}, output {value.name} [{found}] {kind_name}: expected {spec}.")


def _scale_instead_of_size(model: ModelProto) -> None:
    """Resize to a size that is computed at run time only because of the batch -> Resize by constant scales.

    TensorRT wants constants here, and the batch dimension in a size tensor is not one.
    """
    shapes = {v.name: _static_shape(v) for v in (*model.graph.value_info, *model.graph.input, *model.graph.output)}
    constants = {t.name for t in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "Resize" or len(node.input) < 4 or node.input[3] in constants:
            continue
        before, after = shapes.get(node.input[0], ()), shapes.get(node.output[0], ())
        if len(before) != 4 or len(after) != 4 or 0 in (*before[1:], *after[1:]):
            continue
        scales = np.array([1, *(a / b for a, b in zip(after[1:], before[1:], strict=True))], np.float32)
        tensor = numpy_helper.from_array(scales, f"{node.output[0]}_scales")
        model.graph.initializer.append(tensor)
        node.input[:] = [node.input[0], "", tensor.name]
    _drop_unused(model)


def _static_shape(value: ValueInfoProto) -> tuple[int, ...]:
    """Dimensions, 0 where not known."""
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim)


def _drop_unused(model: ModelProto) -> None:
    wanted = {v.name for v in model.graph.output}
    kept = []
    for node in reversed(model.graph.node):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    tensors = [t for t in model.graph.initializer if t.name in wanted]
    del model.graph.node[:], model.graph.initializer[:]
    model.graph.node.extend(reversed(kept))
    model.graph.initializer.extend(tensors)

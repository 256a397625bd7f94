"""Smallest and largest value of every tensor of a graph, measured in ONNX Runtime."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto, helper

from trtswap.backends.onnxruntime import session_options
from trtswap.calibration.samples import Row
from trtswap.errors import CalibrationError
from trtswap.export.arithmetic import element_types

SLICE = 256
"""Tensors that one session measures. More mean fewer runs of the graph, and more of its tensors in memory at a time."""

Extent = tuple[float, float]


def extents(
    model: ModelProto,
    rows: Sequence[Row],
    *,
    threads: int | None = None,
    ran: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Extent]:
    """Smallest and largest value of each float32 tensor that a graph computes or is given.

    A tensor is not fetched: two reductions are put behind it, and their results are the session's outputs.

    Args:
        model: the graph, with the types of its tensors in it.
        rows: inputs, one run each.
        threads: CPU threads; every core where None.
        ran: called after each run with the runs so far, and all.

    Raises:
        CalibrationError: a tensor has a value that is not finite, which names it.
    """
    types, found = element_types(model), dict[str, Extent]()
    constants = {t.name for t in model.graph.initializer}
    made = [v.name for v in model.graph.input] + [t for n in model.graph.node for t in n.output if t]
    tensors = [t for t in made if types.get(t) == TensorProto.FLOAT and t not in constants]
    slices, done = list(_slices(tensors)), 0
    for some in slices:
        for extent in _measured(_with_reductions(model, some), some, rows, threads):
            done += 1
            ran(done, len(slices) * len(rows))
            for name, (low, high) in extent.items():
                before = found.get(name, (low, high))
                found[name] = min(low, before[0]), max(high, before[1])
    _check_finite(model, found)
    return found


def _slices(tensors: Sequence[str]) -> Iterator[list[str]]:
    for start in range(0, len(tensors), SLICE):
        yield list(tensors[start : start + SLICE])


def _measured(
    model: ModelProto, tensors: Sequence[str], rows: Iterable[Row], threads: int | None
) -> Iterator[dict[str, Extent]]:
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), session_options(onnxruntime, threads), providers=["CPUExecutionProvider"]
    )
    for row in rows:
        values = [float(v) for v in session.run(None, dict(row))]
        yield dict(zip(tensors, zip(values[::2], values[1::2], strict=True), strict=True))


def _with_reductions(model: ModelProto, tensors: Sequence[str]) -> ModelProto:
    """A graph whose outputs are the smallest and the largest value of some of its tensors, in turn.

    Each reduction stands right behind what it reduces, so that the tensor can be freed as soon as without it.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    wanted, nodes = set(tensors), list[NodeProto]()
    outputs = {t: [_scalar(f"{t}/low"), _scalar(f"{t}/high")] for t in tensors}
    for names, node in [([v.name for v in model.graph.input], None), *((n.output, n) for n in model.graph.node)]:
        nodes += [node] if node is not None else []
        for t in wanted.intersection(names):
            nodes.append(helper.make_node("ReduceMin", [t], [f"{t}/low"], keepdims=0))
            nodes.append(helper.make_node("ReduceMax", [t], [f"{t}/high"], keepdims=0))
    del changed.graph.node[:], changed.graph.output[:]
    changed.graph.node.extend(nodes)
    changed.graph.output.extend(v for pair in outputs.values() for v in pair)
    return changed


def _scalar(name: str) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, [])


def _check_finite(model: ModelProto, found: Mapping[str, Extent]) -> None:
    for name, extent in found.items():
        if not np.isfinite(extent).all():
            raise CalibrationError(
                f"graph {model.graph.name}: tensor {name} ranges from {extent[0]} to {extent[1]} in FP32; expected "
                "finite numbers. The graph or its weights are damaged."
            )

"""The proof that a graph computes what its PyTorch module does.

Why not Polygraphy's Comparator: it takes as long (1.5 s for the avatar's restorer at three batch sizes) and compares
element by element, where this wants the error against the largest value, the share of equal labels and each row alone.
All that it would replace is the dozen lines that run the graph.
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from onnx import ModelProto
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from trtswap.errors import ExportError

BATCHES = (1, 2, 5)
RELATIVE_TOLERANCE = 1e-4
LABEL_AGREEMENT = 0.9999
SLACK = 2.0  # two roundings of one network are this much further apart than each is from the truth, at most
COARSEST = 1e-2  # of the largest value, however badly a network rounds


@dataclass(frozen=True)
class Comparison:
    """How far a graph in ONNX Runtime is from its PyTorch module, per batch size.

    Attributes:
        batches: batch sizes that ran.
        relative_difference: for each, max|graph - module| / max|module|, the worst of all float outputs.
        agreeing_labels: for each, the share of equal elements in integer outputs; empty where there are none.
        gflop: floating-point operations of the module's convolutions and matrix products for one row of the batch,
            in 1e9; a multiplication and its addition count as two.
    """

    batches: tuple[int, ...]
    relative_difference: tuple[float, ...]
    agreeing_labels: tuple[float, ...]
    gflop: float

    def figures(self) -> dict[str, Any]:
        """For ``[stages.NAME.figures]`` of pack.toml."""
        found = {
            "batches": self.batches,
            "max_relative_difference": tuple(float(f"{d:.2e}") for d in self.relative_difference),
            "agreeing_labels": self.agreeing_labels,
        }
        return {key: list(values) for key, values in found.items() if values} | {"gflop": round(self.gflop, 3)}


Inputs = dict[str, Tensor]


def compare(
    model: ModelProto,
    module: nn.Module,
    make_inputs: Callable[[int], Inputs],
    *,
    batches: Sequence[int] = BATCHES,
) -> Comparison:
    """Run the graph in ONNX Runtime on the CPU at several batch sizes and compare it with the module.

    The module takes the rows one at a time, so the comparison also proves that no row of the graph depends on its
    neighbours. A graph that is far from the module is right all the same where rounding does that: where it is about as
    near to the module in float64 as the module's own FP32 is.

    Args:
        model: made by :func:`export_graph`.
        module: what it was made from.
        make_inputs: named inputs for a batch size, in the module's order; see :func:`image_like`.
        batches: batch sizes.

    Raises:
        ExportError: a difference above ``RELATIVE_TOLERANCE`` or labels that agree less than ``LABEL_AGREEMENT``, and
            above ``SLACK`` times the module's own rounding; with graph, tensor, batch and figures.
    """
    inputs = make_inputs(max(batches))
    with FlopCounterMode(display=False) as counter:
        wanted = _answers(module, inputs)
    names = [v.name for v in model.graph.output]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    exact = cache(lambda: _answers(deepcopy(module).double(), {k: v.double() for k, v in inputs.items()}))
    relative, labels = [], []
    for batch in batches:
        found = session.run(names, {k: v[:batch].numpy() for k, v in inputs.items()})
        judged = [
            _judge(f"graph {model.graph.name}, output {name}, batch {batch}", i, f, wanted, exact)
            for i, (name, f) in enumerate(zip(names, found, strict=True))
        ]
        floats = [value for value, w in zip(judged, wanted, strict=True) if w.dtype.kind == "f"]
        agree = [value for value, w in zip(judged, wanted, strict=True) if w.dtype.kind != "f"]
        relative += [max(floats)] if floats else []
        labels += [min(agree)] if agree else []
    gflop = counter.get_total_flops() / max(batches) / 1e9
    return Comparison(tuple(batches), tuple(relative), tuple(labels), gflop)


Answers = list[NDArray[Any]]  # one array per output, all rows in it


def _answers(module: nn.Module, inputs: Inputs) -> Answers:
    """What the module says to each row alone."""
    count = next(iter(inputs.values())).shape[0]
    with torch.no_grad():
        rows = [_as_tuple(module(*(v[i : i + 1] if len(v) == count else v for v in inputs.values())))
                for i in range(count)]  # fmt: skip
    return [torch.cat(parts).numpy() for parts in zip(*rows, strict=True)]


def _as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _judge(where: str, output: int, found: NDArray[Any], wanted: Answers, exact: Callable[[], Answers]) -> float:
    """How far one output is from the module's: relative difference, or share of equal labels.

    Raises:
        ExportError: it is too far from the module, and clearly further from the module in float64 than the module is.
    """
    own = wanted[output][: len(found)]
    is_float = own.dtype.kind == "f"
    error, limit = (_relative_difference, RELATIVE_TOLERANCE) if is_float else (_disagreement, 1 - LABEL_AGREEMENT)
    value = error(found, own)
    if not value <= limit:
        truth = exact()[output][: len(found)]
        rounding, distance = error(own, truth), error(found, truth)
        limit = max(limit, min(SLACK * rounding, COARSEST))
        if not distance <= limit:
            differs = (
                f"ONNX Runtime differs from PyTorch by {value:.2e} of the largest value"
                if is_float
                else f"{1 - value:.4%} of the labels are PyTorch's"
            )
            raise ExportError(
                f"{where}: {differs}; from float64 it is {distance:.2e} away and PyTorch's FP32 {rounding:.2e}, "
                f"expected at most {limit:.0e}."
            )
    return value if is_float else 1 - value


def _relative_difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    if found.shape != wanted.shape or not np.isfinite(wanted).all():
        return float("inf")
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny))


def _disagreement(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float((found != wanted).mean()) if found.shape == wanted.shape else 1.0


def image_like(shape: Sequence[int], generator: torch.Generator) -> Tensor:
    """Random pictures that excite a network as photos do: smooth colour fields with some noise.

    Args:
        shape: [N, C, H, W].
        generator: where the randomness comes from; the same state gives the same pictures.

    Returns:
        float32 [N, C, H, W], 0..1.
    """
    n, c, h, w = shape
    coarse = torch.rand(n, c, 7, 7, generator=generator)
    smooth = nn.functional.interpolate(coarse, (h, w), mode="bicubic", align_corners=False)
    return (smooth + 0.05 * torch.randn(n, c, h, w, generator=generator)).clamp(0, 1)

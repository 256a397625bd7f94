"""The proof that a graph computes what its PyTorch module does.

Why not Polygraphy's Comparator: it takes as long (1.5 s for the avatar's restorer at three batch sizes) and compares
element by element, where this wants the error against the largest value, the share of equal labels and each row alone.
All that it would replace is the dozen lines that run the graph.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
    neighbours.

    Args:
        model: made by :func:`export_graph`.
        module: what it was made from.
        make_inputs: named inputs for a batch size, in the module's order; see :func:`image_like`.
        batches: batch sizes.

    Raises:
        ExportError: a difference above ``RELATIVE_TOLERANCE`` or labels that agree less than ``LABEL_AGREEMENT``,
            with graph, tensor, batch and figures.
    """
    inputs = make_inputs(max(batches))
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        rows = [_as_tuple(module(*(v[i : i + 1] for v in inputs.values()))) for i in range(max(batches))]
    names = [v.name for v in model.graph.output]
    wanted = dict(zip(names, map(torch.cat, zip(*rows, strict=True)), strict=True))
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    relative, labels = [], []
    for batch in batches:
        found = session.run(names, {k: v[:batch].numpy() for k, v in inputs.items()})
        pairs = {n: (f, wanted[n][:batch].numpy()) for n, f in zip(names, found, strict=True)}
        floats = {n: _relative_difference(*p) for n, p in pairs.items() if p[1].dtype.kind == "f"}
        agree = {n: _agreement(*p) for n, p in pairs.items() if p[1].dtype.kind != "f"}
        _check_figures(model.graph.name, batch, floats, agree)
        relative += [max(floats.values())] if floats else []
        labels += [min(agree.values())] if agree else []
    gflop = counter.get_total_flops() / max(batches) / 1e9
    return Comparison(tuple(batches), tuple(relative), tuple(labels), gflop)


def _as_tuple(result: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _relative_difference(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    if found.shape != wanted.shape or not np.isfinite(wanted).all():
        return float("inf")
    return float(np.abs(found - wanted).max() / max(np.abs(wanted).max(), np.finfo(np.float32).tiny))


def _agreement(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    return float((found == wanted).mean()) if found.shape == wanted.shape else 0.0


def _check_figures(graph: str, batch: int, floats: Mapping[str, float], labels: Mapping[str, float]) -> None:
    for tensor, difference in floats.items():
        if not difference <= RELATIVE_TOLERANCE:
            raise ExportError(
                f"graph {graph}, output {tensor}, batch {batch}: ONNX Runtime differs from PyTorch by "
                f"{difference:.2e} of the largest value, expected at most {RELATIVE_TOLERANCE:.0e}."
            )
    for tensor, share in labels.items():
        if not share >= LABEL_AGREEMENT:
            raise ExportError(
                f"graph {graph}, output {tensor}, batch {batch}: {share:.4%} of the labels are PyTorch's, "
                f"expected at least {LABEL_AGREEMENT:.2%}."
            )


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

"""Run each graph of a pack and hold what comes out against the contract."""

from typing import Any

import torch
from torch import Tensor

from trtswap.backends import open_engine
from trtswap.backends.engine import Engine, TensorSpec
from trtswap.errors import PackError
from trtswap.model.pack import Pack, StageSpec, check_engine

CHECKED_BATCHES = (1, 3)
CHECKED_SIDE = 320  # pixels, of the pictures that a detect graph is tried on


def check_stage(stage: StageSpec) -> dict[str, Any]:
    """Open a graph, hold it against the contract and run it.

    Raises:
        PackError: the graph breaks the contract.
        BackendError: it does not load or run.
    """
    with open_engine(stage, backend="onnxruntime", device="cpu") as engine:
        check_engine(stage, engine)
        batches = (1,) if stage.single else CHECKED_BATCHES
        for batch in batches:
            check_run(stage, engine, batch)
        return {
            "stage": stage.name,
            "inputs": [str(spec) for spec in engine.inputs.values()],
            "outputs": [str(spec) for spec in engine.outputs.values()],
            "size": stage.size,
            "precision": stage.precision,
            "template": list(stage.templates),
            "batches": list(batches),
        }


def references(pack: Pack) -> str:
    """Whether faces can be chosen by a reference with this pack, in words."""
    if not pack.tells_people_apart:
        return "none, it cannot tell people apart (no --map, no --reference)"
    return f"a cosine of {pack.similarity():g} counts as the same person"


def check_run(stage: StageSpec, engine: Engine, batch: int) -> None:
    """Run a graph on grey pictures; its outputs must be finite and have the contract's shapes.

    Raises:
        PackError: names the graph, the output, what was found and what was expected.
    """
    inputs, outputs = stage.contract
    found = engine(**{spec.name: _filled(spec, batch) for spec in inputs})
    for spec in outputs:
        shape = tuple(batch if isinstance(d, str) else d for d in spec.shape)
        got = found[spec.name]
        if got.shape != shape:
            raise PackError(
                f"{stage.path}: graph {stage.name}, output {spec.name} at batch {batch}: its shape is "
                f"{tuple(got.shape)}, expected {shape}."
            )
        if not got.isfinite().all():
            raise PackError(f"{stage.path}: graph {stage.name}, output {spec.name} at batch {batch}: not finite.")


def _filled(spec: TensorSpec, batch: int) -> Tensor:
    sizes = {"B": batch, "N": batch, "H": CHECKED_SIDE, "W": CHECKED_SIDE}
    shape = [sizes[d] if isinstance(d, str) else d for d in spec.shape]
    return torch.full(shape, 0.5 if len(shape) == 4 else shape[-1] ** -0.5, dtype=spec.dtype)

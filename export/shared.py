"""Graphs that come with trtswap, for every pack that has none of the kind: ``trtswap/packs/shared``."""

import tomllib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import tomli_w
from onnx import ModelProto, TensorProto, helper, numpy_helper
from torch import nn

from trtswap.export.build import example_inputs
from trtswap.export.compare import compare
from trtswap.export.graph import export_graph
from trtswap.export.rules import check_rules
from trtswap.export.writer import stage_table
from trtswap.model.pack import StageSpec, sha256_of

WORTH_HALVING = 32  # numbers of a tensor from which on it is kept in float16; the exact ones of arithmetic are fewer


def write_shared(
    spec: StageSpec, network: nn.Module, folder: Path, *, weights: Mapping[str, Mapping[str, str]]
) -> None:
    """Write a graph, and its entry in ``stages.toml``, where the others stay.

    Args:
        spec: of the stage; its path is where the graph goes.
        network: takes and gives what the contract says.
        folder: of the shared graphs.
        weights: where the network's weights come from, as in a pack.toml.

    Raises:
        ExportError: the graph differs from the network, or TensorRT would not take it.
    """
    model = export_graph(network, *spec.contract, name=spec.name)
    in_half(model)
    check_rules(model, spec.name)
    found = compare(model, network, lambda batch: example_inputs(spec, batch))
    figures = {"parameters": sum(p.numel() for p in network.parameters())} | found.figures()
    onnx.save(model, spec.path)
    table = stage_table(spec) | {"sha256": sha256_of(spec.path), "figures": figures}
    file = folder / "stages.toml"
    known = tomllib.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    known["stages"] = known.get("stages", {}) | {spec.name: table}
    known["weights"] = known.get("weights", {}) | {name: dict(entry) for name, entry in weights.items()}
    file.write_text(tomli_w.dumps(known), encoding="utf-8", newline="\n")


def in_half(model: ModelProto) -> None:
    """Keep weights that float16 holds exactly in float16, and make float32 of them where they are used."""
    nodes = []
    for tensor in model.graph.initializer:
        if tensor.data_type != TensorProto.FLOAT:
            continue
        value = numpy_helper.to_array(tensor)
        half = value.astype(np.float16)
        if value.size < WORTH_HALVING or not np.array_equal(half.astype(np.float32), value):
            continue
        name, kept = tensor.name, f"{tensor.name}_half"
        tensor.CopyFrom(numpy_helper.from_array(half, kept))
        nodes.append(helper.make_node("Cast", [kept], [name], f"{name}/Cast", to=TensorProto.FLOAT))
    every = [*nodes, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(every)

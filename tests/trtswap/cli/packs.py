"""Packs that are like another one except for one thing."""

import hashlib
import re
import shutil
from pathlib import Path

import onnx
from onnx import TensorProto, helper


def altered(pack: Path, folder: Path, stage: str, graph: onnx.ModelProto, *, true_hash: bool = True) -> Path:
    """A copy of a pack in ``folder`` whose ``stage`` is another graph; pack.toml says its hash, or the old one."""
    shutil.copytree(pack, folder)
    file = folder / f"{stage}.onnx"
    before = hashlib.sha256(file.read_bytes()).hexdigest()
    onnx.save(graph, file)
    if true_hash:
        toml = folder / "pack.toml"
        toml.write_text(toml.read_text().replace(before, hashlib.sha256(file.read_bytes()).hexdigest()))
    return folder


def swap_spec(pack: Path) -> tuple[int, int]:
    """Crop size and latent length of a pack's swap stage."""
    table = (pack / "pack.toml").read_text().partition("[stages.swap]")[2]
    size, latent = (re.search(rf"^{key} = (\d+)", table, re.MULTILINE) for key in ("size", "latent"))
    assert size is not None
    assert latent is not None
    return int(size[1]), int(latent[1])


def swap_graph(
    nodes: list[onnx.NodeProto], size: int, latent: int, constants: dict[str, onnx.TensorProto]
) -> onnx.ModelProto:
    """A graph from ``faces`` and ``latents`` to ``swapped``."""
    faces, swapped = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, size, size]) for name in ("faces", "swapped")
    )
    latents = helper.make_tensor_value_info("latents", TensorProto.FLOAT, ["N", latent])
    graph = helper.make_graph(nodes, "swap", [faces, latents], [swapped], list(constants.values()))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)


def slow_swap_graph(size: int, latent: int, minutes: float = 2) -> onnx.ModelProto:
    """Gives the faces back unchanged, after many products of large matrices that nobody looks at in between."""
    side = 2048
    rounds = int(minutes * 60 * 50e9 / (2 * side**3))  # about 50 GFLOP/s
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go_on"], ["goes_on"]),
            helper.make_node("MatMul", ["square", "square"], ["product"]),
            helper.make_node("Mul", ["product", "zero"], ["next"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("round", TensorProto.INT64, []),
            helper.make_tensor_value_info("go_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("square", TensorProto.FLOAT, [side, side]),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("next", TensorProto.FLOAT, [side, side]),
        ],
    )
    nodes = [
        helper.make_node("ReduceSum", ["faces"], ["sum"], keepdims=0),
        helper.make_node("Expand", ["sum", "shape"], ["start"]),
        helper.make_node("Loop", ["rounds", "", "start"], ["end"], body=body),
        helper.make_node("ReduceSum", ["end"], ["rest"], keepdims=0),
        helper.make_node("Mul", ["rest", "zero"], ["nothing"]),
        helper.make_node("Add", ["faces", "nothing"], ["swapped"]),
    ]
    constants = {
        "shape": helper.make_tensor("shape", TensorProto.INT64, [2], [side, side]),
        "rounds": helper.make_tensor("rounds", TensorProto.INT64, [], [rounds]),
        "zero": helper.make_tensor("zero", TensorProto.FLOAT, [], [0.0]),
    }
    return swap_graph(nodes, size, latent, constants)


def misshapen_swap_graph(size: int, latent: int) -> onnx.ModelProto:
    """Takes what the contract says and gives pictures of half the size."""
    model = swap_graph(
        [helper.make_node("Slice", ["faces", "from", "to", "axes"], ["swapped"])],
        size,
        latent,
        {
            "from": helper.make_tensor("from", TensorProto.INT64, [2], [0, 0]),
            "to": helper.make_tensor("to", TensorProto.INT64, [2], [size // 2, size // 2]),
            "axes": helper.make_tensor("axes", TensorProto.INT64, [2], [2, 3]),
        },
    )
    for dimension in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = size // 2
    return model

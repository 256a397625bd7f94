"""Which other files an ONNX file keeps its weights in, read without the package onnx."""

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from trtswap.errors import PackError
from trtswap.model.self_contained import check_self_contained, outside_files
from trtswap.packs import SHIPPED


def elsewhere(location: str) -> TensorProto:
    """A tensor whose numbers lie in another file."""
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[3], raw_data=b"")
    onnx.external_data_helper.set_external_data(tensor, location)
    return tensor


def model_of(*, nodes: list[onnx.NodeProto], tensors: list[TensorProto]) -> ModelProto:
    return helper.make_model(helper.make_graph(nodes, "g", [], [], tensors))


def with_branch(tensor: TensorProto) -> onnx.NodeProto:
    constant = helper.make_node("Constant", [], ["y"], value=tensor)
    branch = helper.make_graph([constant], "b", [], [])
    return helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)


def in_a_sparse_tensor(model: ModelProto, tensor: TensorProto) -> ModelProto:
    model.graph.sparse_initializer.add().values.CopyFrom(tensor)
    return model


def in_a_function(model: ModelProto, tensor: TensorProto) -> ModelProto:
    node = helper.make_node("Constant", [], ["y"], value=tensor)
    model.functions.append(helper.make_function("own", "f", [], ["y"], [node], [helper.make_opsetid("", 19)]))
    return model


def in_training(model: ModelProto, tensor: TensorProto) -> ModelProto:
    model.training_info.add().initialization.initializer.append(tensor)
    return model


EMPTY = model_of(nodes=[], tensors=[])
INSIDE = numpy_helper.from_array(np.zeros(3, np.float32), "location")
MODELS = {
    "initializer": model_of(nodes=[], tensors=[INSIDE, elsewhere("../w.bin")]),
    "attribute": model_of(nodes=[helper.make_node("Constant", [], ["y"], value=elsewhere("../w.bin"))], tensors=[]),
    "list": model_of(nodes=[helper.make_node("Own", [], [], several=[INSIDE, elsewhere("../w.bin")])], tensors=[]),
    "subgraph": model_of(nodes=[with_branch(elsewhere("../w.bin"))], tensors=[]),
    "sparse": in_a_sparse_tensor(model_of(nodes=[], tensors=[]), elsewhere("../w.bin")),
    "function": in_a_function(model_of(nodes=[], tensors=[]), elsewhere("../w.bin")),
    "training": in_training(model_of(nodes=[], tensors=[]), elsewhere("../w.bin")),
}


@pytest.mark.parametrize("where", MODELS)
def test_weights_elsewhere_are_found_wherever_a_graph_can_name_them(where: str, tmp_path: Path) -> None:
    path = tmp_path / "g.onnx"
    path.write_bytes(MODELS[where].SerializeToString())
    assert outside_files(path) == ["../w.bin"]
    with pytest.raises(PackError, match=r"g\.onnx keeps weights in other files \('\.\./w\.bin'\)"):
        check_self_contained(path)


def test_numbers_that_are_written_longer_than_needed_hide_nothing(tmp_path: Path) -> None:
    """Protobuf takes 0xAA 0x80 0x00 for 0x2A: a search for the usual bytes would miss the field."""
    tensor = elsewhere("w.bin").SerializeToString()
    graph = bytes([0xAA, 0x80, 0x00, len(tensor)]) + tensor
    model = bytes([0xBA, 0x80, 0x00, len(graph) | 0x80, 0x00]) + graph
    (tmp_path / "g.onnx").write_bytes(model)
    assert [t.name for t in onnx.load_model_from_string(model).graph.initializer] == ["w"]
    assert outside_files(tmp_path / "g.onnx") == ["w.bin"]


def test_graphs_that_are_whole_pass(tmp_path: Path) -> None:
    assert not any(outside_files(path) for path in SHIPPED.glob("*/*.onnx"))
    named = model_of(nodes=[helper.make_node("Relu", ["location"], ["y"])], tensors=[INSIDE])
    (tmp_path / "g.onnx").write_bytes(named.SerializeToString())
    check_self_contained(tmp_path / "g.onnx")


@pytest.mark.parametrize("content", [b"", b"no model", b"\x3a\x05abc", b"\x3a" + b"\x80" * 12, b"\x00\x01"])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "g.onnx").write_bytes(content)
    with pytest.raises(PackError, match=r"g\.onnx is no ONNX model"):
        outside_files(tmp_path / "g.onnx")


def test_graphs_within_graphs_end_somewhere(tmp_path: Path) -> None:
    graph = b""
    for _ in range(2000):  # each a graph in an attribute of a node of the next
        for tag in (0x32, 0x2A, 0x0A):
            size, length = bytearray(), len(graph)
            while length > 127:
                size.append(length & 127 | 128)
                length >>= 7
            graph = bytes([tag, *size, length]) + graph
    size, length = bytearray(), len(graph)
    while length > 127:
        size.append(length & 127 | 128)
        length >>= 7
    (tmp_path / "g.onnx").write_bytes(bytes([0x3A, *size, length]) + graph)
    with pytest.raises(PackError, match=r"g\.onnx is no ONNX model"):
        outside_files(tmp_path / "g.onnx")

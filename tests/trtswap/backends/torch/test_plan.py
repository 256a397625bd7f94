"""The torch backend's plan: where values live, what is folded, what is refused."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from trtswap.backends import open_engine
from trtswap.backends.torch.engine import TorchEngine
from trtswap.backends.torch.ops import find
from trtswap.backends.torch.plan import Node, make_plan, upload
from trtswap.errors import BackendError

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.fixture
def written(tmp_path: Path) -> Callable[..., Path]:
    """Writes a graph given as text."""

    def write(text: str, opset: int = 19, **initialisers: np.ndarray) -> Path:
        model = onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : {opset}, "other" : 1]> {text}')
        model.graph.initializer.extend(numpy_helper.from_array(a, name) for name, a in initialisers.items())
        onnx.save(model, tmp_path / "graph.onnx")
        return tmp_path / "graph.onnx"

    return write


def node(name: str, inputs: list[str], outputs: list[str], **attributes: object) -> Node:
    operator = find(name, 19)
    assert operator is not None
    return Node(name, operator, tuple(inputs), tuple(outputs), attributes)


@pytest.mark.parametrize("name", ["mix", "identity", "rows", "adain"])
def test_shapes_are_computed_without_reading_device_memory(name: str, graph: Callable[[str], Path]) -> None:
    """Tensors on the meta device have no values, so that reading one back to the host raises."""
    with TorchEngine(graph(name), device=META, precision="fp32") as engine:
        sizes = {"N": 2, "H": 4, "W": 5, "D": 7}
        shapes = {k: [d if isinstance(d, int) else sizes[d] for d in s.shape] for k, s in engine.inputs.items()}
        outputs = engine(**{k: torch.empty(shape, device=META) for k, shape in shapes.items()})
        assert {t.device for t in outputs.values()} == {META}


def test_one_number_reaches_the_device_without_a_copy() -> None:
    number = upload(torch.tensor([[3]]), device=META)
    assert (number.shape, number.dtype, number.device) == ((1, 1), torch.int64, META)
    assert torch.equal(upload(torch.tensor([3, 4]), device=CPU), torch.tensor([3, 4]))


def test_shape_that_depends_on_values_is_refused(written: Callable[..., Path]) -> None:
    path = written("""
        g (float[N,4] x, int64[2] size) => (float[P,Q] y)
        { one = Constant <value_int = 1> () larger = Add (size, one) y = Reshape (x, larger) }""")
    with pytest.raises(BackendError, match=r"graph\.onnx cannot be loaded: Reshape .*its input larger decides a shape"):
        open_engine(path, backend="torch", device="cpu")


def test_constants_are_folded_and_dead_values_freed() -> None:
    nodes = [
        node("Exp", ["c"], ["e"]),
        node("Neg", ["e"], ["scale"]),
        node("Mul", ["x", "scale"], ["a"]),
        node("Relu", ["a"], ["b"]),
        node("Add", ["a", "b"], ["sum"]),
        node("Neg", ["sum"], ["y"]),
    ]
    plan = make_plan(nodes, inputs=["x"], outputs=["y"], constants={"c": torch.tensor([0.5])}, device=CPU)
    assert [step.label for step in plan.steps] == ["Mul", "Relu", "Add", "Neg"]
    x = torch.tensor([-1.0, 2.0])
    a = x * -torch.exp(torch.tensor(0.5))
    torch.testing.assert_close(plan.run({"x": x})["y"], -(a + torch.relu(a)))
    made = [slot for step in plan.steps for slot in step.outputs]
    assert [step.dead for step in plan.steps] == [(), (), (made[0], made[1]), (made[2],)]


def test_split_frees_what_nobody_reads() -> None:
    nodes = [node("Split", ["x"], ["a", "b", "c"], axis=0, num_outputs=3), node("Relu", ["b"], ["y"])]
    plan = make_plan(nodes, inputs=["x"], outputs=["y"], constants={}, device=CPU)
    a, b, c = plan.steps[0].outputs
    assert set(plan.steps[0].dead) == {a, c}
    assert plan.steps[1].dead == (b,)


@pytest.mark.parametrize("opset", [10, 20])
def test_other_opsets_are_refused(opset: int, written: Callable[..., Path]) -> None:
    path = written("g (float[N] x) => (float[N] y) { y = Relu (x) }", opset)
    with pytest.raises(BackendError, match=rf"opset {opset}; the torch backend runs 11 to 19.*backend='onnxruntime'"):
        open_engine(path, backend="torch", device="cpu")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("y = other.Relu (x)", r"Relu number 0 \(opset 19\): the torch backend has no operator other\.Relu"),
        ("y = NonZero (x)", r"no operator NonZero"),
        (
            'y = Resize <mode = "cubic"> (x, , s)',
            r"mode='cubic' is not supported .*expected one of \('nearest', 'linear'\)",
        ),
        ("y = MaxPool <kernel_shape = [2, 2], ceil_mode = 1> (x)", r"ceil_mode=1 is not supported"),
        ("y, i = MaxPool <kernel_shape = [2, 2]> (x)", r"has 2 outputs; the torch backend gives the first 1"),
        ("y = Relu <slope = 2> (x)", r"Relu number 0: Unrecognized attribute: slope"),
    ],
)
def test_what_would_be_computed_wrongly_is_refused(line: str, message: str, written: Callable[..., Path]) -> None:
    path = written(f"g (float[N,1,H,W] x) => (float[N,1,P,Q] y) {{ {line} }}", s=np.ones(4, np.float32))
    with pytest.raises(BackendError, match=message):
        open_engine(path, backend="torch", device="cpu")


def test_failing_node_is_named_with_its_inputs(written: Callable[..., Path]) -> None:
    path = written("g (float[N,M] x) => (float[N,5] y) { y = Reshape (x, to) }", to=np.array([-1, 5]))
    with open_engine(path, backend="torch", device="cpu") as engine:
        assert engine(x=torch.ones(2, 10))["y"].shape == (4, 5)
        with pytest.raises(BackendError, match=r"failed to run: Reshape number 0 .* on \[2, 3\] torch\.float32, \[2\]"):
            engine(x=torch.ones(2, 3))


def test_local_functions_are_inlined(tmp_path: Path) -> None:
    model = onnx.parser.parse_model("""
        <ir_version: 9, opset_import: ["" : 19, "local" : 1]>
        g (float[N] x) => (float[N] y) { y = local.Twice (x) }
        <domain: "local", opset_import: ["" : 19]>
        Twice (a) => (b) { b = Add (a, a) }""")
    onnx.save(model, tmp_path / "functions.onnx")
    with open_engine(tmp_path / "functions.onnx", backend="torch", device="cpu") as engine:
        assert engine(x=torch.tensor([1.5]))["y"].item() == 3


def test_float16_with_float32_islands(written: Callable[..., Path]) -> None:
    """Types are the graph's: half precision where it says so, single where it casts."""
    random = np.random.default_rng(1)
    path = written(
        """
        g (float[N,3,12,12] x) => (float[N,4,12,12] y)
        {
            half = Cast <to = 10> (x)
            features = Conv <pads = [1, 1, 1, 1]> (half, w)
            single = Cast <to = 1> (features)
            plain = InstanceNormalization (single, scale, bias)
            again = Cast <to = 10> (plain)
            active = LeakyRelu <alpha = 0.2> (again)
            y = Cast <to = 1> (active)
        }""",
        w=random.standard_normal((4, 3, 3, 3)).astype(np.float16),
        scale=np.ones(4, np.float32),
        bias=np.zeros(4, np.float32),
    )
    x = torch.from_numpy(random.standard_normal((2, 3, 12, 12)).astype(np.float32))
    found, expected = (open_engine(path, backend=b, device="cpu")(x=x)["y"] for b in ("torch", "onnxruntime"))
    torch.testing.assert_close(found, expected, rtol=4e-3, atol=4e-3)
    assert torch.equal(found, found.half().float())


def test_values_of_any_type_are_read(written: Callable[..., Path]) -> None:
    path = written("g (float[N] x) => (float[N] y) { c = Cast <to = 1> (b) y = Add (x, c) }", b=np.ones(1, np.float32))
    model = onnx.load(path)
    model.graph.initializer[0].CopyFrom(onnx.helper.make_tensor("b", onnx.TensorProto.BFLOAT16, [1], [-2.5]))
    onnx.save(model, path)
    with open_engine(path, backend="torch", device="cpu") as engine:
        assert engine(x=torch.tensor([1.0]))["y"].item() == -1.5


def test_missing_onnx_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "trtswap.backends.torch.engine")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(
        BackendError, match=r'The torch backend reads graphs with onnx: .*pip install "trtswap\[export\]"'
    ):
        importlib.import_module("trtswap.backends.torch.engine")

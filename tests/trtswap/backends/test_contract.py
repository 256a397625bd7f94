"""What every backend promises: the Engine contract, on the CPU and, where there is a GPU, on CUDA."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trtswap.backends import Engine, OnnxRuntimeOptions, TensorSpec, open_engine
from trtswap.errors import BackendError, InputError

Graph = Callable[[str], Path]
Open = Callable[[Path], Engine]

F32, U8 = torch.float32, torch.uint8


@pytest.fixture(
    params=[
        ("onnxruntime", "cpu"),
        ("openvino", "cpu"),
        ("torch", "cpu"),
        ("tensorrt", "emulated"),
        pytest.param(("onnxruntime", "cuda"), marks=pytest.mark.gpu),
        pytest.param(("torch", "cuda"), marks=pytest.mark.gpu),
        pytest.param(("tensorrt", "cuda"), marks=pytest.mark.gpu),
    ],
    ids="-".join,
)
def opened(request: pytest.FixtureRequest) -> Open:
    backend, device = request.param
    if backend == "tensorrt":
        if device == "emulated":
            request.getfixturevalue("emulator")
        else:
            pytest.importorskip("tensorrt")
            folder = request.getfixturevalue("tmp_path") / "engines"
            request.getfixturevalue("monkeypatch").setenv("TRTSWAP_ENGINES", str(folder))
        return open_built
    if device == "cuda" and backend == "onnxruntime":
        import onnxruntime

        if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
            pytest.skip("this build of ONNX Runtime has no CUDA provider")
    return partial(open_engine, backend=backend, device=device)


def open_built(path: Path) -> Engine:
    """Compile a graph, then open its engine by name, as it is done with those of packs."""
    from ...engines.plans import build

    build(path)
    return open_engine(path, backend="tensorrt")


def mix_inputs(engine: Engine, batch: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    faces, latents = torch.rand(batch, 3, 4, 5, generator=random), torch.rand(batch, 7, generator=random)
    return {"faces": faces.to(engine.device), "latents": latents.to(engine.device)}


def mix_outputs(faces: Tensor, latents: Tensor) -> dict[str, Tensor]:
    """What the graph `mix` computes, written down once more."""
    factor = torch.stack([row.sum() / len(row) for row in latents])
    return {
        "mixed": torch.stack([face * f for face, f in zip(faces, factor, strict=True)]),
        "score": torch.stack([row.max() for row in latents]),
        "labels": torch.stack([face.max(0).indices for face in faces]).to(U8),
    }


def test_is_an_engine_with_specs(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine:
        assert isinstance(engine, Engine)
        assert engine.backend in repr(type(engine)).lower()
        assert engine.inputs == {
            "faces": TensorSpec("faces", ("N", 3, "H", "W"), F32),
            "latents": TensorSpec("latents", ("N", "D"), F32),
        }
        assert list(engine.outputs.values()) == [
            TensorSpec("mixed", ("N", 3, "H", "W"), F32),
            TensorSpec("score", ("N",), F32),
            TensorSpec("labels", ("N", "H", "W"), U8),
        ]


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_runs_any_batch(opened: Open, graph: Graph, batch: int) -> None:
    with opened(graph("mix")) as engine:
        inputs = mix_inputs(engine, batch)
        outputs = engine(**inputs)
        assert list(outputs) == list(engine.outputs)
        for name, expected in mix_outputs(**inputs).items():
            assert outputs[name].device == engine.device
            assert outputs[name].is_contiguous()
            torch.testing.assert_close(outputs[name], expected, rtol=1e-6, atol=1e-6)


def test_sizes_may_change_from_call_to_call(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine:
        for batch in (1, 5, 0, 2):
            inputs = mix_inputs(engine, batch, seed=batch)
            mixed = engine(**inputs)["mixed"]
            torch.testing.assert_close(mixed, inputs["faces"] * inputs["latents"].mean(1).view(-1, 1, 1, 1))


def test_empty_batch_gives_empty_outputs(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine:
        outputs = engine(**mix_inputs(engine, 0))
        found = {name: (tuple(t.shape), t.dtype, t.device) for name, t in outputs.items()}
        assert found == {
            "mixed": ((0, 3, 4, 5), F32, engine.device),
            "score": ((0,), F32, engine.device),
            "labels": ((0, 4, 5), U8, engine.device),
        }


def test_shapes_computed_in_the_graph(opened: Open, graph: Graph) -> None:
    with opened(graph("rows")) as engine:
        for batch, height, width in ((2, 4, 5), (1, 3, 7)):
            images = torch.rand(batch, 3, height, width, device=engine.device)
            outputs = engine(images=images)
            assert torch.equal(outputs["flat"], images.flatten(1))
            torch.testing.assert_close(outputs["ramp"].cpu(), torch.arange(width) / width)


def test_inputs_are_not_modified_and_outputs_are_the_callers(opened: Open, graph: Graph) -> None:
    for name, shapes in (("mix", ((2, 3, 4, 5), (2, 7))), ("identity", ((2, 3, 8, 8), (2, 4)))):
        with opened(graph(name)) as engine:
            inputs = {
                key: torch.rand(shape, device=engine.device) for key, shape in zip(engine.inputs, shapes, strict=True)
            }
            before = {key: t.clone() for key, t in inputs.items()}
            outputs = engine(**inputs)
            first = {key: t.clone() for key, t in outputs.items()}
            for t in outputs.values():
                t.fill_(9)
            assert all(torch.equal(inputs[key], t) for key, t in before.items())
            assert all(torch.equal(t, first[key]) for key, t in engine(**inputs).items())


def test_outputs_stay_valid_until_the_next_call(opened: Open, graph: Graph) -> None:
    with opened(graph("rows")) as engine:
        images = torch.rand(2, 3, 64, 64, device=engine.device)
        outputs = engine(images=images)
        garbage = [torch.full((2, 3, 64, 64), 7.0, device=engine.device) for _ in range(20)]
        assert torch.equal(outputs["flat"], images.flatten(1))
        assert len(garbage) == 20


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: {"faces": t["faces"]}, r"inputs are faces; expected faces \[N,3,H,W\] float32, latents \[N,D\]"),
        (lambda t: t | {"mask": t["faces"]}, r"inputs are faces, latents, mask; expected faces"),
        (lambda t: t | {"faces": t["faces"].half()}, r"faces \[2,3,4,5\] float16 .*expected faces \[N,3,H,W\] float32"),
        (lambda t: t | {"faces": t["faces"][:, :2].contiguous()}, r"faces \[2,2,4,5\] .*expected faces \[N,3,H,W\]"),
        (lambda t: t | {"faces": t["faces"][0]}, r"faces \[3,4,5\] .*expected faces \[N,3,H,W\]"),
        (
            lambda t: t | {"faces": t["faces"][..., ::2]},
            r"not contiguous \(call .contiguous\(\) first\); expected faces",
        ),
        (lambda t: t | {"faces": t["faces"].to("meta")}, r"float32 on meta; expected faces .* on c"),
        (
            lambda t: t | {"latents": t["latents"][:1]},
            r"latents is \[1, 7\], expected latents \[N,D\] float32 with N=2",
        ),
    ],
    ids=["missing", "unknown", "dtype", "fixed dimension", "rank", "not contiguous", "device", "unequal batches"],
)
def test_wrong_inputs_are_named(
    opened: Open, graph: Graph, change: Callable[[dict[str, Tensor]], dict[str, Tensor]], message: str
) -> None:
    with opened(graph("mix")) as engine, pytest.raises(InputError, match=r"mix\.onnx: .*" + message):
        engine(**change(mix_inputs(engine, 2)))


def test_closed_engine_refuses_to_run(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine:
        inputs = mix_inputs(engine, 1)
        kept = engine(**inputs)["mixed"]
        expected = kept.clone()
    engine.close()
    assert torch.equal(kept, expected)
    with pytest.raises(BackendError, match=r"mix\.onnx: the engine is closed"):
        engine(**inputs)


def test_may_be_used_from_another_thread(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine, ThreadPoolExecutor(1) as thread:
        inputs = mix_inputs(engine, 2)
        there = thread.submit(engine, **inputs).result()["mixed"].clone()
        assert torch.equal(there, engine(**inputs)["mixed"])


def test_runs_inside_inference_mode_and_with_gradients_on(opened: Open, graph: Graph) -> None:
    with opened(graph("mix")) as engine:
        inputs = mix_inputs(engine, 2)
        with torch.inference_mode():
            inside = engine(**inputs)["mixed"].clone()
        inputs["faces"].requires_grad_()
        outside = engine(**inputs)["mixed"]
        assert not outside.requires_grad
        assert torch.equal(outside, inside)


def test_is_deterministic_and_agrees_with_the_reference(opened: Open, graph: Graph) -> None:
    path = graph("adain")
    with (
        opened(path) as engine,
        open_engine(path, backend="onnxruntime", device="cpu", options=OnnxRuntimeOptions(threads=1)) as reference,
    ):
        for batch in (1, 2, 5):
            inputs = {"faces": torch.rand(batch, 3, 16, 16), "latents": torch.randn(batch, 6)}
            expected = reference(**inputs)["swapped"]
            placed = {name: t.to(engine.device) for name, t in inputs.items()}
            with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                found, again = engine(**placed)["swapped"].clone(), engine(**placed)["swapped"]
            assert torch.equal(found, again)
            torch.testing.assert_close(found.cpu(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "cannot be loaded"), (b"this is no graph at all", "cannot be loaded"), (None, "cannot be loaded")],
    ids=["empty", "not ONNX", "missing"],
)
def test_damaged_file_is_named(opened: Open, tmp_path: Path, content: bytes | None, reason: str) -> None:
    path = tmp_path / "damaged.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BackendError, match=rf"damaged\.onnx {reason}"):
        opened(path)


def test_truncated_file_is_named(opened: Open, graph: Graph) -> None:
    path = graph("adain")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BackendError, match=r"adain\.onnx.* cannot be loaded"):
        opened(path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            '<ir_version: 9, opset_import: ["" : 19]> g (float[N] x) => (float[N] y) { y = NoSuchThing (x) }',
            "NoSuchThing",
        ),
        ('<ir_version: 9, opset_import: ["" : 99]> g (float[N] x) => (float[N] y) { y = Relu (x) }', "opset"),
    ],
    ids=["unknown operator", "opset too new"],
)
def test_graph_that_cannot_run_is_refused_when_loaded(opened: Open, tmp_path: Path, text: str, reason: str) -> None:
    import onnx

    path = tmp_path / "strange.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    with pytest.raises(BackendError, match=rf"(?s)strange\.onnx.*{reason}"):
        opened(path)

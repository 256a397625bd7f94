"""Foreign models in a pack must give what their declared pre- and postprocessing by hand gives."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from trtswap.errors import ExportError, InputError, PackError
from trtswap.export.wrap import Wrapping, wrap, wrap_pack
from trtswap.model.pack import Pack, StageSpec, sha256_of

SIZE, LATENT = 16, 8
Array = NDArray[Any]
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)

# Kinds of model that other projects publish; a batch of one is written into all but the restorer.
SWAP = """<ir_version: 8, opset_import: ["" : 17]>
swap (T[1,3,16,16] target, T[1,8] source) => (T[1,3,16,16] output) {
  c = Conv<pads=[1,1,1,1]>(target, w)
  p = MatMul(source, m)
  r = Reshape(p, shape)
  s = Add(c, r)
  output = Sigmoid(s)
}"""
RESTORE = """<ir_version: 7, opset_import: ["" : 11]>
restore (float[N,3,16,16] x) => (float[N,3,16,16] y) {
  c = Conv<pads=[1,1,1,1]>(x, w)
  y = Tanh(c)
}"""
PARSE = """<ir_version: 8, opset_import: ["" : 16]>
parse (float[1,3,16,16] input) => (float[1,5,16,16] output, float[1,5,16,16] auxiliary) {
  output = Conv<pads=[1,1,1,1]>(input, classify)
  auxiliary = Neg(output)
}"""
IDENTIFY = """<ir_version: 8, opset_import: ["" : 17]>
identify (float[1,3,112,112] data) => (float[1,8] embedding) {
  p = AveragePool<kernel_shape=[56,56], strides=[56,56]>(data)
  r = Reshape(p, flat)
  embedding = MatMul(r, project)
}"""


def save(path: Path, text: str, dtype: str = "float") -> Path:
    """A model file with random weights of the given element type."""
    model = onnx.parser.parse_model(text.replace("T[", f"{dtype}["))
    rng = np.random.default_rng(2)
    kind = np.float16 if dtype == "float16" else np.float32
    weights = {
        "w": rng.normal(0, 0.3, (3, 3, 3, 3)).astype(kind),
        "m": rng.normal(0, 1, (LATENT, 3)).astype(kind),
        "classify": rng.normal(0, 1, (5, 3, 3, 3)).astype(kind),
        "project": rng.normal(0, 1, (12, LATENT)).astype(kind),
        "shape": np.array([1, 3, 1, 1], np.int64),
        "flat": np.array([1, -1], np.int64),
        "first": np.array([0], np.int64),
        "end": np.array([1], np.int64),
        "three": np.array([3], np.int64),
        "row": np.zeros((1, 3, 16, 16), kind),
    }
    used = {name for node in model.graph.node for name in node.input}
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items() if k in used)
    onnx.save(model, path)
    return path


def wrapped(wrapping: Wrapping) -> tuple[StageSpec, onnx.ModelProto]:
    (one,) = wrap(wrapping)
    return one


def run(model: Path | bytes, inputs: dict[str, Array]) -> list[Array]:
    source = str(model) if isinstance(model, Path) else model
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, inputs)
    return found


def faces(size: int = SIZE) -> Array:
    return np.random.default_rng(0).random((3, 3, size, size), np.float32)


def one_by_one(path: Path, **inputs: Array) -> Array:
    """The model's first output for each row alone, as float32."""
    rows = [run(path, {k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(len(next(iter(inputs.values()))))]
    return np.concatenate(rows).astype(np.float32)


def channels(values: tuple[float, ...]) -> Array:
    return np.array(values, np.float32).reshape(1, 3, 1, 1)


def test_swap_with_imagenet_normalisation_in(tmp_path: Path) -> None:
    path = save(tmp_path / "swap.onnx", SWAP)
    stage, model = wrapped(Wrapping("swap", path, SIZE, ("arcface_112_v1",), mean=MEAN, std=STD))
    latents = np.random.default_rng(1).normal(size=(3, LATENT)).astype(np.float32)
    found = run(model.SerializeToString(), {"faces": faces(), "latents": latents})[0]
    wanted = one_by_one(path, target=(faces() - channels(MEAN)) / channels(STD), source=latents)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert (stage.size, stage.latent, stage.precision) == (SIZE, LATENT, "fp32")


def test_swap_in_bgr_0_255_and_imagenet_out(tmp_path: Path) -> None:
    path = save(tmp_path / "swap.onnx", SWAP)
    wrapping = Wrapping(
        *("swap", path, SIZE, ("arcface_112_v1",)),
        **{"mean": (104, 117, 123), "range": (0, 255), "colour": "bgr"},
        **{"out_mean": MEAN, "out_std": STD, "out_colour": "bgr"},
    )
    latents = np.random.default_rng(1).normal(size=(3, LATENT)).astype(np.float32)
    found = run(wrapped(wrapping)[1].SerializeToString(), {"faces": faces(), "latents": latents})[0]
    given = faces()[:, ::-1] * 255 - channels((104, 117, 123))
    wanted = one_by_one(path, target=given, source=latents) * channels(STD) + channels(MEAN)
    np.testing.assert_allclose(found, np.clip(wanted[:, ::-1], 0, 1), atol=1e-5)


def test_restore_in_minus_one_to_one(tmp_path: Path) -> None:
    path = save(tmp_path / "restore.onnx", RESTORE)
    wrapping = Wrapping("restore", path, SIZE, ("ffhq_512",), range=(-1, 1), out_range=(-1, 1))
    found = run(wrapped(wrapping)[1].SerializeToString(), {"faces": faces()})[0]
    np.testing.assert_allclose(found, np.clip((one_by_one(path, x=faces() * 2 - 1) + 1) / 2, 0, 1), atol=1e-6)


def test_parse_labels_are_the_best_class_renumbered(tmp_path: Path) -> None:
    path = save(tmp_path / "parse.onnx", PARSE)
    wrapping = Wrapping(
        "parse",
        path,
        SIZE,
        ("ffhq_512",),
        output="output",
        ignore=("auxiliary",),
        mean=MEAN,
        std=STD,
        classes=(0, 1, 17, 10, 11),
    )
    model = wrapped(wrapping)[1]
    assert "Neg" not in {node.op_type for node in model.graph.node}  # leads to an output that nobody wants
    found = run(model.SerializeToString(), {"faces": faces()})[0]
    scores = one_by_one(path, input=(faces() - channels(MEAN)) / channels(STD))
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.array([0, 1, 17, 10, 11])[scores.argmax(1)])


def test_identities_get_unit_length(tmp_path: Path) -> None:
    path = save(tmp_path / "arcface.onnx", IDENTIFY)
    stage, model = wrapped(Wrapping("identify", path, 112, ("arcface_112_v2",), range=(-1, 1), threshold=0.41))
    found = run(model.SerializeToString(), {"faces": faces(112)})[0]
    wanted = one_by_one(path, data=faces(112) * 2 - 1)
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted, axis=1, keepdims=True), atol=1e-6)
    assert (stage.latent, stage.threshold) == (LATENT, 0.41)


def test_half_precision_models_take_and_give_float32(tmp_path: Path) -> None:
    path = save(tmp_path / "swap.onnx", SWAP, "float16")
    stage, model = wrapped(Wrapping("swap", path, SIZE, ("arcface_112_v1",)))
    latents = np.random.default_rng(1).normal(size=(3, LATENT)).astype(np.float32)
    found = run(model.SerializeToString(), {"faces": faces(), "latents": latents})[0]
    wanted = one_by_one(path, target=faces().astype(np.float16), source=latents.astype(np.float16))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, atol=2e-3)
    assert stage.precision == "fp16"


def test_weights_in_nodes_count_for_the_precision(tmp_path: Path) -> None:
    model = onnx.load(save(tmp_path / "swap.onnx", SWAP, "float16"))
    constants = [onnx.helper.make_node("Constant", [], [t.name], value=t) for t in model.graph.initializer]
    nodes = [*constants, *model.graph.node]
    del model.graph.initializer[:], model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "nodes.onnx")
    assert wrapped(Wrapping("swap", tmp_path / "nodes.onnx", SIZE, ("arcface_112_v1",)))[0].precision == "fp16"


ROW = RESTORE.replace("y = Tanh(c)", "k = Concat<axis=1>(c, row) y = Slice(k, first, three, end)")
GELU = RESTORE.replace("Tanh(c)", "com.microsoft.Gelu(c)").replace('"" : 11', '"" : 11, "com.microsoft" : 1')


@pytest.mark.parametrize(
    ("text", "changes", "message"),
    [
        (
            RESTORE.replace("Tanh(c)", "Slice(c, first, end)"),
            {},
            r"made for a batch of one: three give \(1, 3, 16, 16\)",
        ),
        (ROW, {}, "made for a batch of one, in more places than Reshape constants"),
        (RESTORE.replace("Tanh(c)", "CumSum(c, first)"), {}, "the model mixes faces"),
        (RESTORE, {"size": 32}, r"input x \[\?,3,16,16\], expected \[N,3,32,32\]"),
        (RESTORE, {"faces": "nothing"}, r"--input nothing can mean; the model has x \[\?,3,16,16\]"),
        (SWAP, {}, "has the inputs source, which a restore model is not given"),
        (GELU, {}, "needs operators of com.microsoft"),
    ],
)
def test_models_that_do_not_fit_are_refused(tmp_path: Path, text: str, changes: dict[str, Any], message: str) -> None:
    path = save(tmp_path / "model.onnx", text)
    options: dict[str, Any] = {"stage": "restore", "model": path, "size": SIZE, "template": ("ffhq_512",)} | changes
    with pytest.raises(ExportError, match=message):
        wrapped(Wrapping(**options))


@pytest.mark.parametrize(
    ("stage", "threshold", "message"),
    [
        ("identify", None, r"stage identify: no threshold\. .*--threshold .*0\.41 for w600k_r50.*--threshold none"),
        ("identify", 0, r"threshold is 0, expected a number above 0, at most 1, or none"),
        ("identify", "half", r"threshold is half, expected a number"),
        ("swap", 0.4, r"threshold is 0\.4, but a swap model has none; only identify has"),
    ],
)
def test_who_wraps_an_identity_model_says_who_is_the_same_person(stage: str, threshold: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Wrapping(stage, Path("m.onnx"), SIZE, ("arcface_112_v2",), threshold=threshold)


def test_weights_beside_a_model_become_part_of_the_graph(identity_pack: Path, tmp_path: Path) -> None:
    inside, beside = save(tmp_path / "inside.onnx", RESTORE), tmp_path / "beside.onnx"
    onnx.save(onnx.load(inside), beside, save_as_external_data=True, size_threshold=0, location="beside.bin")
    options: Any = {"stage": "restore", "size": SIZE, "template": ("ffhq_512",)}
    one, other = (wrapped(Wrapping(model=path, **options))[1].SerializeToString() for path in (inside, beside))
    assert one == other
    parse = Wrapping("parse", save(tmp_path / "parse.onnx", PARSE), SIZE, ("ffhq_512",), output="output", ignore=("*",))
    made = wrap_pack(identity_pack, [parse, Wrapping(model=beside, **options)], tmp_path / "mine")
    assert made.weights["beside.bin"]["sha256"] == sha256_of(tmp_path / "beside.bin")


def test_weights_elsewhere_on_the_disk_are_refused(tmp_path: Path) -> None:
    model = onnx.load(save(tmp_path / "model.onnx", RESTORE))
    (tmp_path / "secret").write_bytes(bytes(400))
    (tensor,) = model.graph.initializer
    onnx.external_data_helper.set_external_data(tensor, "../secret")
    tensor.ClearField("raw_data")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "model.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(ExportError, match=r"cannot be read as an ONNX model: .*outside the directory"):
        wrapped(Wrapping("restore", tmp_path / "sub" / "model.onnx", SIZE, ("ffhq_512",)))


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(ExportError, match=r"model\.onnx cannot be read as an ONNX model"):
        wrapped(Wrapping("restore", tmp_path / "model.onnx", SIZE, ("ffhq_512",)))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (
            {"model": "m.onnx", "size": 16, "template": "ffhq_512", "colour": "grey"},
            "colour is 'grey', expected one of",
        ),
        ({"model": "m.onnx", "size": 16, "template": "ffhq_512", "std": [1, 0, 1]}, "zero cannot be divided by"),
        ({"model": "m.onnx", "size": "16", "template": "ffhq_512"}, "size is '16', which is of the wrong type"),
        ({"model": "m.onnx", "size": 16}, "stage swap: no template"),
        (
            {"model": "m.onnx", "size": 16, "template": "ffhq_512", "color": "rgb"},
            "unknown keys color; known: average, classes",
        ),
    ],
)
def test_wrong_declarations_are_refused(tmp_path: Path, table: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Wrapping.parse("swap", table, tmp_path)


def test_a_wrapped_pack_keeps_the_other_stages(identity_pack: Path, tmp_path: Path) -> None:
    arcface, swap = save(tmp_path / "arcface.onnx", IDENTIFY), save(tmp_path / "swapper.onnx", SWAP)
    made = wrap_pack(
        identity_pack,
        [
            Wrapping("identify", arcface, 112, ("arcface_112_v2",), threshold="none"),
            Wrapping(
                "swap", swap, SIZE, ("arcface_112_v2",), licence="CC BY-NC 4.0", url="https://example.org/swapper"
            ),
        ],
        tmp_path / "mine",
    )
    base = Pack.load(identity_pack)
    for name in ("detect", "parse", "restore"):
        assert _same(made.stages[name], base.stages[name])
    assert made.name == "mine"
    assert not made.tells_people_apart
    assert made.licence.startswith("Non-commercial use only, because of: CC BY-NC 4.0 (swapper.onnx)")
    assert made.weights["swapper"]["url"] == "https://example.org/swapper"
    assert "identity with identify by arcface.onnx, swap by swapper.onnx" in made.description


def test_stages_that_do_not_fit_each_other_are_refused(identity_pack: Path, tmp_path: Path) -> None:
    swap = save(tmp_path / "swapper.onnx", SWAP)
    with pytest.raises(PackError, match="latent of swap is 8, that of identify is 192"):
        wrap_pack(identity_pack, [Wrapping("swap", swap, SIZE, ("ffhq_512",))], tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def _same(one: StageSpec, other: StageSpec) -> bool:
    return (one.sha256, one.size, one.templates, one.weight) == (
        other.sha256,
        other.size,
        other.templates,
        other.weight,
    )

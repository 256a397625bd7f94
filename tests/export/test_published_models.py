"""Every published model that a recipe knows: a small network with the same interface, wrapped by the recipe, against
what the peers' code does with it, written out in NumPy."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import numpy_helper

from trtswap import Pack, Swapper
from trtswap.errors import CheckpointError, ExportError, InputError
from trtswap.export.wrap import Wrapping, wrap, wrap_pack
from trtswap.export.wrap.models import find_model, published_models
from trtswap.model.pack import StageSpec
from trtswap.pictures.arrays import read_image
from trtswap.pixels.geometry import TEMPLATES

Array = NDArray[Any]
LEVEL = 0.5 / 255
"""Half a level of 8 bits: how near to the peers' arithmetic every model has to come."""

HALF = np.full((1, 3, 1, 1), 0.5, np.float32)
MEAN, STD = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))

# A swap network in small: what it makes depends on the picture, on where in it, and on every number of the identity.
SWAP = """<ir_version: 8, opset_import: ["" : 17]>
swap (float[1,3,{s},{s}] target, float[1,512] source) => (float[1,3,{s},{s}] output{more}) {{
  c = Conv<pads=[1,1,1,1]>(target, w)
  p = MatMul(source, m)
  r = Reshape(p, shape)
  output = Add(c, r)
  {mask}
}}"""
PICTURES = """<ir_version: 8, opset_import: ["" : 17]>
swap (float[1,3,256,256] target, float[1,3,{s},{s}] source) => (float[1,3,256,256] output) {{
  c = Conv<pads=[1,1,1,1]>(target, w)
  k = Conv<pads=[1,1,1,1]>(source, w)
  g = GlobalAveragePool(k)
  output = Add(c, g)
}}"""
RESTORE = """<ir_version: 8, opset_import: ["" : 17]>
restore (float[1,3,{s},{s}] input) => (float[1,3,{s},{s}] output) {{
  g = GlobalAveragePool(input)
  k = Reshape(g, kernel)
  output = Conv<group=3>(input, k)
}}"""
CODEFORMER = """<ir_version: 8, opset_import: ["" : 17]>
restore (float[1,3,512,512] input, double[1] weight) => (float[1,3,512,512] output) {
  c = Conv<pads=[1,1,1,1]>(input, w)
  f = Cast<to=1>(weight)
  output = Mul(c, f)
}"""
XSEG = """<ir_version: 8, opset_import: ["" : 17]>
xseg (float[N,256,256,3] input) => (float[N,256,256,1] output) {
  output = MatMul(input, grey)
}"""
ARCFACE = """<ir_version: 8, opset_import: ["" : 17]>
arcface (float[1,3,112,112] input) => (float[1,512] embedding) {
  p = AveragePool<kernel_shape=[28,28], strides=[28,28]>(input)
  r = Reshape(p, flat)
  embedding = MatMul(r, project)
}"""
CROSSFACE = """<ir_version: 8, opset_import: ["" : 17]>
crossface (float[N,512] input) => (float[N,512] output) {
  h = Tanh(input)
  output = MatMul(h, emap)
}"""
BISENET = """<ir_version: 8, opset_import: ["" : 16]>
parse (float[1,3,512,512] input) => (float[1,19,512,512] output, float[1,19,512,512] a, float[1,19,512,512] b) {
  output = Conv<pads=[1,1,1,1]>(input, classify)
  a = Neg(output)
  b = Abs(output)
}"""


def save(path: Path, text: str, *, spare: tuple[str, ...] = ()) -> Path:
    """A model file with seeded weights; ``spare`` are those that no node uses, which it holds as well."""
    model = onnx.parser.parse_model(text)
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.normal(0, 0.3, (3, 3, 3, 3)).astype(np.float32),
        "m": rng.normal(0, 0.1, (512, 3)).astype(np.float32),
        "v": rng.normal(0, 0.3, (1, 3, 3, 3)).astype(np.float32),
        "emap": rng.normal(0, 0.05, (512, 512)).astype(np.float32),
        "project": rng.normal(0, 1, (48, 512)).astype(np.float32),
        "classify": rng.normal(0, 1, (19, 3, 3, 3)).astype(np.float32),
        "grey": np.array([[0.5], [0.3], [0.2]], np.float32),
        "shape": np.array([1, 3, 1, 1], np.int64),
        "kernel": np.array([3, 1, 1, 1], np.int64),
        "flat": np.array([1, -1], np.int64),
    }
    used = {name for node in model.graph.node for name in node.input} | set(spare)
    model.graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in weights.items() if k in used)
    onnx.save(model, path)
    return path


def run(model: Path | onnx.ModelProto, **inputs: Array) -> list[Array]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    found: list[Array] = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"]).run(None, inputs)
    return found


def recipe(name: str, file: Path) -> list[tuple[StageSpec, onnx.ModelProto]]:
    return list(wrap(find_model(name).wrapping(file, allow_unknown_hash=True)))


def pictures(size: int, count: int = 2) -> Array:
    return np.random.default_rng(0).random((count, 3, size, size), np.float32)


def unit(x: Array) -> Array:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True))


def latents(count: int = 2) -> Array:
    return unit(np.random.default_rng(1).normal(size=(count, 512)).astype(np.float32))


def rows(path: Path, **inputs: Array) -> Array:
    """The model's first output, row by row, as its own project runs it."""
    count = len(next(iter(inputs.values())))
    return np.concatenate([run(path, **{k: v[i : i + 1] for k, v in inputs.items()})[0] for i in range(count)])


@pytest.mark.parametrize("half", [False, True])
def test_inswapper_multiplies_latents_with_its_own_matrix(tmp_path: Path, half: bool) -> None:
    path = save(tmp_path / "inswapper_128.onnx", SWAP.format(s=128, more="", mask=""), spare=("emap",))
    model = onnx.load(path)
    matrix = next(t for t in model.graph.initializer if t.name == "emap")
    emap = numpy_helper.to_array(matrix)
    if half:
        emap = emap.astype(np.float16)
        matrix.CopyFrom(numpy_helper.from_array(emap, "emap"))
        onnx.save(model, path)
    ((stage, made),) = recipe("inswapper_128", path)
    faces, who = pictures(128), latents()
    wanted = rows(path, target=faces, source=unit(who @ emap.astype(np.float32)))
    assert np.abs(run(made, faces=faces, latents=who)[0] - wanted.clip(0, 1)).max() < LEVEL
    assert (stage.size, stage.templates, stage.latent) == (128, ("arcface_128",), 512)


def test_inswapper_without_its_matrix_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", SWAP.format(s=128, more="", mask=""))
    with pytest.raises(ExportError, match="no single square weight that latent_matrix unused can mean"):
        recipe("inswapper_128", path)


@pytest.mark.parametrize("name", ["hyperswap_1a_256", "hyperswap_1b_256", "hyperswap_1c_256"])
def test_hyperswap_gives_a_mask(tmp_path: Path, name: str) -> None:
    text = SWAP.format(
        s=256, more=", float[1,1,256,256] mask", mask="d = Conv<pads=[1,1,1,1]>(target, v) mask = Sigmoid(d)"
    )
    path = save(tmp_path / "hyperswap.onnx", text)
    ((stage, made),) = recipe(name, path)
    faces, who = pictures(256), latents()
    swapped, mask = run(made, faces=faces, latents=who)
    given = (faces - HALF) / HALF
    assert np.abs(swapped - (rows(path, target=given, source=who) * HALF + HALF).clip(0, 1)).max() < LEVEL
    alone = np.concatenate([run(path, target=given[i : i + 1], source=who[i : i + 1])[1] for i in range(2)])
    assert np.abs(mask - alone).max() < LEVEL
    assert stage.mask
    assert stage.templates == ("arcface_128",)


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("ghost_1_256", "arcface_112_v1"), ("ghost_2_256", "arcface_112_v1"), ("ghost_3_256", "arcface_112_v1"),
        ("hififace_unofficial_256", "mtcnn_512"),
    ],
)  # fmt: skip
def test_ghost_and_hififace_take_codes_as_they_are(tmp_path: Path, name: str, template: str) -> None:
    path = save(tmp_path / "ghost.onnx", SWAP.format(s=256, more="", mask=""))
    ((stage, made),) = recipe(name, path)
    faces, who = pictures(256), latents() * 7
    wanted = rows(path, target=(faces - HALF) / HALF, source=who) * HALF + HALF
    assert np.abs(run(made, faces=faces, latents=who)[0] - wanted.clip(0, 1)).max() < LEVEL
    assert stage.templates == (template,)


@pytest.mark.parametrize(("name", "size"), [("simswap_256", 256), ("simswap_unofficial_512", 512)])
def test_simswap(tmp_path: Path, name: str, size: int) -> None:
    path = save(tmp_path / "simswap.onnx", SWAP.format(s=size, more="", mask=""))
    ((_, made),) = recipe(name, path)
    faces, who = pictures(size), latents()
    given = (faces - MEAN) / STD if size == 256 else faces
    assert (
        np.abs(run(made, faces=faces, latents=who)[0] - rows(path, target=given, source=who).clip(0, 1)).max() < LEVEL
    )


@pytest.mark.parametrize(
    ("name", "side", "template"), [("blendswap_256", 112, "arcface_112_v2"), ("uniface_256", 256, "ffhq_512")]
)
def test_swap_models_that_take_the_sources_picture(tmp_path: Path, name: str, side: int, template: str) -> None:
    path = save(tmp_path / "swap.onnx", PICTURES.format(s=side))
    (encode, encoder), (swap, made) = recipe(name, path)
    faces, source = pictures(256), np.random.default_rng(5).random((2, 3, side, side), np.float32)
    (codes,) = run(encoder, faces=source)
    assert (encode.name, encode.size, encode.templates, encode.average) == ("encode", side, (template,), "none")
    assert swap.latent == encode.latent == codes.shape[1]
    target = (faces - HALF) / HALF if name == "uniface_256" else faces
    wanted = rows(path, target=target, source=source)
    wanted = wanted * HALF + HALF if name == "uniface_256" else wanted
    assert np.abs(run(made, faces=faces, latents=codes)[0] - wanted.clip(0, 1)).max() < LEVEL


RESTORERS = [m.name for m in published_models().values() if m.stage == "restore" and m.name != "codeformer"]


@pytest.mark.parametrize("name", [name for name in RESTORERS if not name.endswith("2048")])
def test_restorers_whose_weights_follow_from_the_face_take_one_at_a_time(tmp_path: Path, name: str) -> None:
    size = find_model(name).keys["size"]
    path = save(tmp_path / "restorer.onnx", RESTORE.format(s=size))
    ((stage, made),) = recipe(name, path)
    face = pictures(size, 1)
    wanted = (run(path, input=(face - HALF) / HALF)[0].clip(-1, 1) + 1) / 2
    assert np.abs(run(made, faces=face)[0] - wanted).max() < LEVEL
    assert stage.single
    assert stage.templates == (("arcface_128",) if name == "gpen_bfr_256" else ("ffhq_512",))


def test_codeformer_takes_a_fidelity(tmp_path: Path) -> None:
    path = save(tmp_path / "codeformer.onnx", CODEFORMER)
    ((stage, made),) = recipe("codeformer", path)
    face = pictures(512, 1)
    for weight in (0.0, 0.3, 1.0):
        given = {"input": (face - HALF) / HALF, "weight": np.array([weight])}
        wanted = (run(path, **given)[0].clip(-1, 1) + 1) / 2
        assert np.abs(run(made, faces=face, fidelity=np.float32([weight]))[0] - wanted).max() < LEVEL
    assert stage.fidelity == 0.5


def test_codeformer_with_a_constant_in_place_of_an_input(tmp_path: Path) -> None:
    path = save(tmp_path / "codeformer.onnx", CODEFORMER)
    options: Any = {"range": (-1, 1), "out_range": (-1, 1), "single": True, "faces": "input"}
    ((stage, made),) = wrap(Wrapping("restore", path, 512, ("ffhq_512",), constants={"weight": 0.7}, **options))
    face = pictures(512, 1)
    wanted = (run(path, input=(face - HALF) / HALF, weight=np.array([0.7]))[0].clip(-1, 1) + 1) / 2
    assert np.abs(run(made, faces=face)[0] - wanted).max() < LEVEL
    assert stage.fidelity is None


@pytest.mark.parametrize("name", ["xseg_1", "xseg_2", "xseg_3"])
def test_occluders_have_their_channels_last_and_blue_first(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "xseg.onnx", XSEG)
    ((stage, made),) = recipe(name, path)
    faces = pictures(256)
    wanted = rows(path, input=faces[:, ::-1].transpose(0, 2, 3, 1)).clip(0, 1)[..., 0]
    assert np.abs(run(made, faces=faces)[0][:, 0] - wanted).max() < LEVEL
    assert stage.name == "occlude"


@pytest.mark.parametrize("name", ["bisenet_resnet_18", "bisenet_resnet_34"])
def test_parsers_give_the_best_class_of_their_first_output(tmp_path: Path, name: str) -> None:
    path = save(tmp_path / "bisenet.onnx", BISENET)
    ((_, made),) = recipe(name, path)
    faces = pictures(512, 1)
    (labels,) = run(made, faces=faces)
    assert (labels == rows(path, input=(faces - MEAN) / STD).argmax(1)).mean() > 0.9999


def identify_and_encode(tmp_path: Path, crossface: str) -> tuple[Path, Path, list[tuple[StageSpec, onnx.ModelProto]]]:
    arcface, converter = save(tmp_path / "w600k.onnx", ARCFACE), save(tmp_path / "crossface.onnx", CROSSFACE)
    (identify,) = recipe("arcface_w600k_r50", arcface)
    wrapping = find_model(crossface).wrapping(converter, allow_unknown_hash=True)
    return arcface, converter, [identify, *wrap(wrapping, identify)]


@pytest.mark.parametrize("name", ["crossface_ghost", "crossface_hififace", "crossface_simswap"])
def test_converters_are_given_raw_embeddings(tmp_path: Path, name: str) -> None:
    arcface, converter, ((identify, made), (encode, joined)) = identify_and_encode(tmp_path, name)
    faces = pictures(112)
    raw = rows(arcface, input=faces * 2 - 1)
    assert np.abs(run(made, faces=faces)[0] - unit(raw)).max() < 1e-5
    wanted = run(converter, input=raw)[0]
    wanted = wanted if name == "crossface_ghost" else unit(wanted)
    assert np.abs(run(joined, faces=faces)[0] - wanted).max() < 1e-4
    assert (identify.threshold, encode.templates, encode.size) == (0.41, ("arcface_112_v2",), 112)


@pytest.fixture
def files(tmp_path: Path) -> dict[str, Path]:
    return {
        "arcface_w600k_r50": save(tmp_path / "w600k.onnx", ARCFACE),
        "crossface_ghost": save(tmp_path / "crossface.onnx", CROSSFACE),
        "ghost_1_256": save(tmp_path / "ghost.onnx", SWAP.format(s=256, more="", mask="")),
        "inswapper_128": save(tmp_path / "in.onnx", SWAP.format(s=128, more="", mask=""), spare=("emap",)),
        "blendswap_256": save(tmp_path / "blend.onnx", PICTURES.format(s=112)),
        "xseg_1": save(tmp_path / "xseg.onnx", XSEG),
        "codeformer": save(tmp_path / "codeformer.onnx", CODEFORMER),
        "bisenet_resnet_34": save(tmp_path / "bisenet.onnx", BISENET),
    }


def wrappings(files: dict[str, Path], *names: str) -> list[Wrapping]:
    return [find_model(name).wrapping(files[name], allow_unknown_hash=True) for name in names]


@pytest.mark.parametrize(
    ("names", "needed"),
    [
        (["inswapper_128"], "arcface_w600k_r50"),
        (["arcface_w600k_r50", "ghost_1_256"], "crossface_ghost"),
        (["crossface_ghost"], "arcface_w600k_r50"),
    ],
)
def test_a_model_with_another_networks_identities_is_refused(
    paste_pack: Path, files: dict[str, Path], tmp_path: Path, names: list[str], needed: str
) -> None:
    with pytest.raises(ExportError, match=rf"takes the identities of {needed}; .*--recipe {needed} --model FILE"):
        wrap_pack(paste_pack, wrappings(files, *names), tmp_path / "mine")
    assert not (tmp_path / "mine").exists()


def test_another_file_than_the_published_one_is_refused(files: dict[str, Path]) -> None:
    with pytest.raises(CheckpointError, match=r"is not the published arcface_w600k_r50\.onnx: .*--allow-unknown-hash"):
        find_model("arcface_w600k_r50").wrapping(files["arcface_w600k_r50"])
    with pytest.raises(InputError, match="there is no recipe 'nobody'; expected one of"):
        find_model("nobody")


def test_what_would_not_be_used_is_named(tmp_path: Path) -> None:
    swap = save(tmp_path / "swap.onnx", SWAP.format(s=128, more="", mask=""), spare=("emap",))
    with pytest.raises(ExportError, match="the weight emap would not be used"):
        wrap(Wrapping("swap", swap, 128, ("arcface_128",)))
    parse = save(tmp_path / "parse.onnx", BISENET)
    with pytest.raises(ExportError, match="the output a, the output b would not be used"):
        wrap(Wrapping("parse", parse, 512, ("ffhq_512",), output="output"))


def test_a_whole_pack_of_published_models_swaps(
    paste_pack: Path, files: dict[str, Path], tmp_path: Path, data: Path
) -> None:
    """Codes, a mask from an occluder, one face at a time, and a fidelity: all of it in one picture."""
    names = ("arcface_w600k_r50", "crossface_ghost", "ghost_1_256", "xseg_1", "codeformer", "bisenet_resnet_34")
    made = wrap_pack(paste_pack, wrappings(files, *names), tmp_path / "mine")
    assert made == Pack.load(tmp_path / "mine")
    with Swapper(made, backend="onnxruntime", device="cpu") as swapper:
        who = swapper.identity(data / "astronaut.png")
        assert who.code is not None
        assert abs(float(who.latent.norm()) - 1) < 1e-5
        assert abs(float(who.code.norm()) - 1) > 0.1
        who.save(tmp_path / "who")
        loaded = type(who).load(tmp_path / "who")
        assert bool((loaded.source == who.source).all())
        picture = np.asarray(read_image(data / "astronaut.png"))[None]
        one = swapper.swap(picture, who)
        assert (one != picture).any()
        assert np.array_equal(one, swapper.swap(picture, loaded))
    with (
        Swapper(paste_pack, backend="onnxruntime", device="cpu") as other,
        pytest.raises(InputError, match="made by the"),
    ):
        other.swap(picture, who)


def test_a_source_that_is_a_picture_is_one_picture(
    paste_pack: Path, files: dict[str, Path], tmp_path: Path, data: Path
) -> None:
    made = wrap_pack(paste_pack, wrappings(files, "blendswap_256"), tmp_path / "mine")
    assert made.stages["encode"].average == "none"
    with Swapper(made, backend="onnxruntime", device="cpu") as swapper:
        who = swapper.identity(data / "astronaut.png")
        assert who.source.numel() == 3 * 112**2
        with pytest.raises(
            InputError, match="2 pictures were given, but the swap network of this pack takes the source's"
        ):
            swapper.identity(data / "astronaut.png", data / "astronaut.png")


def test_templates_of_published_models_are_known() -> None:
    for model in published_models().values():
        template = model.keys.get("template", "ffhq_512")
        assert template in TEMPLATES, model.name

"""Packs written by hand: what loads, and what every mistake is called."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import tomli_w
import torch

from trtswap.backends import open_engine
from trtswap.errors import InputError, PackError
from trtswap.model.pack import Pack, check_engine, sha256_of

DETECT = """(float[B,3,H,W] images) => (float[B,4,4] boxes, float[B,4,5,2] landmarks, float[B,4] scores)
    {
        pixels = Constant <value_ints = [1, 2, 3]> ()
        mean = ReduceMean <keepdims = 0> (images, pixels)
        zero = Sub (mean, mean)
        last = Constant <value_ints = [-1]> ()
        row = Unsqueeze (zero, last)
        four = Constant <value_ints = [1, 4]> ()
        scores = Expand (row, four)
        column = Unsqueeze (scores, last)
        box = Constant <value_ints = [1, 4, 4]> ()
        boxes = Expand (column, box)
        deep = Unsqueeze (column, last)
        points = Constant <value_ints = [1, 4, 5, 2]> ()
        landmarks = Expand (deep, points)
    }"""
IDENTIFY = """(float[N,3,112,112] faces) => (float[N,3] latents)
    { space = Constant <value_ints = [2, 3]> () latents = ReduceMean <keepdims = 0> (faces, space) }"""
SWAP = "(float[N,3,64,64] faces, float[N,3] latents) => (float[N,3,64,64] swapped) { swapped = Identity (faces) }"
PARSE = """(float[N,3,32,32] faces) => (uint8[N,32,32] labels)
    { best = ArgMax <axis = 1, keepdims = 0> (faces) labels = Cast <to = 2> (best) }"""
RESTORE = "(float[N,3,128,128] faces) => (float[N,3,128,128] restored) { restored = Identity (faces) }"

GRAPHS = {"detect": DETECT, "identify": IDENTIFY, "swap": SWAP, "parse": PARSE, "restore": RESTORE}
TABLES: dict[str, dict[str, Any]] = {
    "detect": {"size": 640, "max_faces": 4, "threshold": 0.6},
    "identify": {"size": 112, "template": "arcface_112_v1", "latent": 3},
    "swap": {"size": 64, "template": ["arcface_112_v1", "arcface_112_v1_left"], "latent": 3},
    "parse": {"size": 32, "template": "ffhq_512"},
    "restore": {"size": 128, "template": "ffhq_512", "weight": 0.5},
}


class HandWritten:
    """A pack on disk whose pack.toml can be changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir()
        self.data: dict[str, Any] = {
            "format": 1, "name": "hand", "version": "3", "licence": "CC0-1.0", "landmarks": "five"
        }  # fmt: skip
        self.data["stages"] = {name: {"file": f"{name}.onnx"} | table for name, table in TABLES.items()}
        for name, text in GRAPHS.items():
            self.graph(name, text)

    def graph(self, stage: str, text: str) -> None:
        """Replace a graph, and its hash in pack.toml."""
        path = self.path / f"{stage}.onnx"
        onnx.save(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {stage} {text}'), path)
        self.change(stage, sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    def change(self, stage: str, **values: Any) -> None:
        """Set keys of a stage; None removes one."""
        table = self.data["stages"][stage] | values
        self.data["stages"][stage] = {key: value for key, value in table.items() if value is not None}
        self.save()

    def save(self) -> None:
        (self.path / "pack.toml").write_text(tomli_w.dumps(self.data), encoding="utf-8")


@pytest.fixture
def written(tmp_path: Path) -> HandWritten:
    return HandWritten(tmp_path / "hand")


def check(pack: Pack, backend: str = "onnxruntime") -> None:
    for stage in pack.stages.values():
        with open_engine(stage, backend=backend, device="cpu") as engine:
            check_engine(stage, engine)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_hand_written_pack_loads_and_runs(written: HandWritten, backend: str) -> None:
    pack = Pack.load(written.path)
    assert (pack.name, pack.version, pack.licence, pack.description) == ("hand", "3", "CC0-1.0", "")
    assert list(pack.stages) == ["detect", "identify", "swap", "parse", "restore"]
    assert pack.stages["swap"].templates == ("arcface_112_v1", "arcface_112_v1_left")
    assert pack.stages["restore"].weight == 0.5
    assert (pack.canvas_size, pack.canvas_template) == (128, "ffhq_512")
    check(pack, backend)
    with open_engine(pack.stages["swap"], backend=backend, device="cpu") as swap:
        faces = torch.rand(2, 3, 64, 64)
        assert torch.equal(swap(faces=faces, latents=torch.rand(2, 3))["swapped"], faces)
        assert swap.precision == "fp32"
    with open_engine(pack.stages["detect"], backend=backend, device="cpu") as detect:
        assert detect(images=torch.rand(2, 3, 64, 96))["landmarks"].shape == (2, 4, 5, 2)


def test_restorer_is_optional(written: HandWritten) -> None:
    del written.data["stages"]["restore"]
    written.save()
    pack = Pack.load(str(written.path))
    assert (pack.canvas_size, pack.canvas_template) == (32, "ffhq_512")


def test_who_is_the_same_person_is_said_by_the_pack_or_asked_for(written: HandWritten) -> None:
    pack = Pack.load(written.path)
    assert not pack.tells_people_apart
    assert pack.similarity(0.5) == 0.5
    with pytest.raises(InputError, match=r"pack hand cannot tell people apart: .*no threshold.*--similarity"):
        pack.similarity()
    written.change("identify", threshold=0.4)
    pack = Pack.load(written.path)
    assert pack.tells_people_apart
    assert (pack.similarity(), pack.similarity(-0.1)) == (0.4, -0.1)


def test_weights_outside_of_a_graph_are_refused(written: HandWritten) -> None:
    model = onnx.load(written.path / "swap.onnx")
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.arange(6.0), "w"))
    onnx.save(model, written.path / "swap.onnx", save_as_external_data=True, size_threshold=0, location="swap.bin")
    written.change("swap", sha256=sha256_of(written.path / "swap.onnx"))
    with pytest.raises(PackError, match=r"swap\.onnx keeps weights in other files \('swap\.bin'\).*Expected one file"):
        Pack.load(written.path)


def test_sizes_may_be_left_open_by_a_graph(written: HandWritten) -> None:
    written.graph("restore", "(float[N,3,S,S] faces) => (float[N,3,S,S] restored) { restored = Identity (faces) }")
    check(Pack.load(written.path))


def test_hash_is_that_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_of(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize("name", ["nothing", "hand.txt"])
def test_folder_without_toml_is_no_pack(tmp_path: Path, name: str) -> None:
    (tmp_path / "hand.txt").write_text("")
    with pytest.raises(PackError, match=rf"{name} is not a pack: it has no pack\.toml\. .*`trtswap export`"):
        Pack.load(tmp_path / name)


@pytest.mark.parametrize("content", [b"name = ", b"\xff\xfe", b"a = 1\na = 2"], ids=["cut off", "not UTF-8", "twice"])
def test_unreadable_toml(written: HandWritten, content: bytes) -> None:
    (written.path / "pack.toml").write_bytes(content)
    with pytest.raises(PackError, match=r"pack\.toml cannot be read as TOML: "):
        Pack.load(written.path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"format": 2}, r"pack\.toml: format is 2, this version of trtswap reads format 1"),
        ({"format": "1"}, r"format is '1'"),
        ({"name": 7}, r"pack\.toml: name is 7, expected str"),
        ({"licence": ["MIT"]}, r"licence is \['MIT'\], expected str"),
        ({"description": 1.5}, r"description is 1\.5, expected str"),
        ({"stages": 3}, r"stages is 3, expected dict"),
        (
            {"stages": {}},
            r"no graph for detect, identify, swap\. .*optional: landmarks, encode, parse, occlude, restore\.",
        ),
        ({"weights": {"yunet_n": "hash"}}, r"\[weights\]: yunet_n is 'hash', expected dict"),
    ],
    ids=str,
)
def test_mistakes_at_the_top(written: HandWritten, values: dict[str, Any], message: str) -> None:
    written.data |= values
    written.save()
    with pytest.raises(PackError, match=message):
        Pack.load(written.path)


@pytest.mark.parametrize("key", ["format", "name", "licence", "stages"])
def test_missing_keys_at_the_top(written: HandWritten, key: str) -> None:
    del written.data[key]
    written.save()
    with pytest.raises(PackError, match=rf"pack\.toml: .*{'no graph' if key == 'stages' else key + ' is None'}"):
        Pack.load(written.path)


def test_missing_unknown_and_malformed_stages(written: HandWritten) -> None:
    swap = written.data["stages"].pop("swap")
    written.save()
    with pytest.raises(PackError, match=r"no graph for swap\. A pack needs \[stages\.NAME\] for detect, identify"):
        Pack.load(written.path)
    written.data["stages"] |= {"swap": swap, "enhance": swap}
    written.save()
    with pytest.raises(
        PackError,
        match=r"unknown stages enhance; known: detect, landmarks, identify, encode, swap, parse, occlude, restore",
    ):
        Pack.load(written.path)
    del written.data["stages"]["enhance"]
    written.data["stages"]["parse"] = "parse.onnx"
    written.save()
    with pytest.raises(PackError, match=r"stages\.parse is 'parse\.onnx', expected a table \[stages\.parse\]"):
        Pack.load(written.path)


def test_without_a_parser_points_say_what_is_face(written: HandWritten) -> None:
    del written.data["stages"]["parse"]
    written.save()
    with pytest.raises(PackError, match=r"landmarks is 'five', and there is no \[stages\.parse\]"):
        Pack.load(written.path)
    del written.data["landmarks"]
    written.save()
    pack = Pack.load(written.path)
    assert pack.canvas_size == pack.stages["restore"].size


def test_graphs_that_take_points_need_somebody_who_measures(written: HandWritten) -> None:
    written.change("swap", points=True, likeness=0.0)
    with pytest.raises(PackError, match="the graph swap takes points, which nothing measures"):
        Pack.load(written.path)
    del written.data["landmarks"]
    written.save()
    swap = Pack.load(written.path).stages["swap"]
    assert [port.name for port in swap.inputs] == ["faces", "latents", "points", "likeness"]
    assert not swap.converts


def test_a_default_of_nothing_is_a_default(written: HandWritten) -> None:
    written.change("restore", fidelity=0.0)
    assert [port.name for port in Pack.load(written.path).stages["restore"].inputs] == ["faces", "fidelity"]


@pytest.mark.parametrize(
    "file", ["../swap.onnx", "sub/swap.onnx", "/etc/passwd", "./swap.onnx", "sub/../swap.onnx", "..", ".", ""]
)
def test_files_outside_the_pack_are_refused(written: HandWritten, file: str) -> None:
    (written.path.parent / "swap.onnx").write_bytes((written.path / "swap.onnx").read_bytes())
    written.change("swap", file=file)
    with pytest.raises(PackError, match=r"\[stages\.swap\]: (file is .*expected a plain name|.* does not exist)"):
        Pack.load(written.path)


def test_absent_graph(written: HandWritten) -> None:
    (written.path / "parse.onnx").unlink()
    with pytest.raises(PackError, match=r"\[stages\.parse\]: .*parse\.onnx does not exist\. The pack is incomplete"):
        Pack.load(written.path)


def test_changed_graph(written: HandWritten) -> None:
    path = written.path / "restore.onnx"
    before = sha256_of(path)
    path.write_bytes(path.read_bytes() + b"\0")
    message = rf"restore\.onnx: graph restore has sha256 {sha256_of(path)}, pack\.toml says {before}\."
    with pytest.raises(PackError, match=message):
        Pack.load(written.path)


@pytest.mark.parametrize(
    ("stage", "values", "message"),
    [
        ("swap", {"file": None}, r"file is None, expected str"),
        ("swap", {"sha256": None}, r"sha256 is None, expected str"),
        ("swap", {"size": None}, r"size is None, expected int"),
        ("swap", {"size": "64"}, r"size is '64', expected int"),
        ("swap", {"size": 64.0}, r"size is 64\.0, expected int"),
        ("swap", {"size": True}, r"size is True, expected int"),
        ("swap", {"size": 0}, r"size is 0, expected a positive number"),
        ("detect", {"size": 650}, r"size is 650, expected a multiple of 32"),
        ("detect", {"max_faces": None}, r"max_faces is 0, expected a positive number"),
        ("detect", {"threshold": 1.5}, r"threshold is 1\.5, expected 0\.\.1"),
        ("detect", {"threshold": "high"}, r"threshold is 'high', expected a number"),
        ("restore", {"weight": -0.1}, r"weight is -0\.1, expected 0\.\.1"),
        ("restore", {"weight": True}, r"weight is True, expected a number"),
        ("identify", {"latent": -3}, r"latent is -3, expected a positive number"),
        ("identify", {"latent": "3"}, r"latent is '3', expected int"),
        ("identify", {"threshold": 0}, r"threshold is 0, with which strangers count as the same person\..* above 0"),
        ("identify", {"threshold": -0.2}, r"threshold is -0\.2, expected 0\.\.1"),
        ("swap", {"template": None}, r"no template; expected one of arcface_112_v1"),
        ("swap", {"template": "ffhq_513"}, r"template is 'ffhq_513', known: arcface_112_v1"),
        ("swap", {"template": ["ffhq_512"] * 3000}, r"template names 3000 templates, some of them twice"),
        ("swap", {"template": [1]}, r"template is \[1\], expected a name or a list of names"),
        ("swap", {"template": 5}, r"template is 5, expected a name or a list of names"),
        ("swap", {"precision": 16}, r"precision is 16, expected str"),
        ("swap", {"figures": "fast"}, r"figures is 'fast', expected dict"),
        ("detect", {"treshold": 0.5}, r"unknown keys treshold; known: average, fidelity, figures, file"),
    ],
    ids=str,
)
def test_mistakes_in_a_stage(written: HandWritten, stage: str, values: dict[str, Any], message: str) -> None:
    written.change(stage, **values)
    with pytest.raises(PackError, match=rf"pack\.toml \[stages\.{stage}\]: {message}"):
        Pack.load(written.path)


def test_stages_that_do_not_fit_each_other(written: HandWritten) -> None:
    written.change("identify", latent=512)
    with pytest.raises(PackError, match=r"latent of swap is 3, that of identify is 512; .* must be equal"):
        Pack.load(written.path)
    written.change("identify", latent=3)
    written.change("restore", template="arcface_112_v2")
    with pytest.raises(PackError, match=r"templates of restore is \('arcface_112_v2',\), that of parse is"):
        Pack.load(written.path)


@pytest.mark.parametrize(
    ("stage", "text", "message"),
    [
        (
            "swap",
            SWAP.replace("latents", "ids"),
            r"no input latents \[N,3\] float32; it has: faces \[N,3,64,64\] float32, ids \[N,3\] float32",
        ),
        ("swap", SWAP.replace("swapped", "out"), r"no output swapped \[N,3,64,64\] float32; it has: out \[N,3,64,64\]"),
        ("swap", SWAP.replace("64,64", "32,32"), r"input faces \[N,3,32,32\] float32: expected faces \[N,3,64,64\]"),
        ("swap", SWAP.replace("N,3,64", "4,3,64"), r"input faces \[4,3,64,64\] float32: expected faces \[N,3,64,64\]"),
        ("swap", SWAP.replace("N,3]", "N,7]"), r"input latents \[N,7\] float32: expected latents \[N,3\] float32"),
        ("swap", SWAP.replace("float[N,3,64", "float16[N,3,64"), r"input faces \[N,3,64,64\] float16: expected faces"),
        ("swap", SWAP.replace("[N,3] latents", "[N,3] latents, float[N] x"), r"wants inputs beyond the contract: x"),
        (
            "identify",
            IDENTIFY.replace("[N,3]", "[N,3,112]").replace("[2, 3]", "[3]"),
            r"output latents \[N,3,112\] float32: expected latents \[N,3\]",
        ),
        ("parse", PARSE.replace("uint8", "int32").replace("to = 2", "to = 6"), r"labels \[N,32,32\] int32: expected"),
        ("detect", DETECT.replace("B,3,H,W", "B,3,640,640"), r"\[B,3,640,640\] float32: expected images \[B,3,H,W\]"),
    ],
    ids=[
        "input name", "output name", "size", "fixed batch", "latent", "half precision", "extra input", "rank", "type",
        "fixed picture",
    ],
)  # fmt: skip
def test_graph_that_breaks_the_contract(written: HandWritten, stage: str, text: str, message: str) -> None:
    written.graph(stage, text)
    with pytest.raises(PackError, match=rf"{stage}\.onnx: graph {stage}.* {message}"):
        check(Pack.load(written.path))

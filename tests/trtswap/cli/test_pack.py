"""`trtswap pack` as users meet it."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from PIL import Image

from trtswap.export.build import Weights, export_pack
from trtswap.model.pack import Pack, sha256_of

from ...export.small import tiny_recipe
from .conftest import Run


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_pack(tiny_recipe(), tmp_path_factory.mktemp("packs") / "tiny", Weights(None, seed=0)).path


@pytest.fixture
def restorer(tmp_path: Path) -> Path:
    """Another project's model: BGR, -1..1, a batch of one, darkens by half."""
    path = tmp_path / "darken.onnx"
    half = numpy_helper.from_array(np.array([0.5], np.float32), "half")
    tensors = [helper.make_tensor_value_info(name, 1, (1, 3, 32, 32)) for name in ("input", "output")]
    graph = helper.make_graph(
        [helper.make_node("Mul", ["input", "half"], ["output"])], "g", *([t] for t in tensors), [half]
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_a_good_pack_passes(run: Run, pack: Path) -> None:
    ran = run("pack", "check", pack)
    assert (ran.code, ran.err) == (0, "")
    assert "Every graph keeps the contract." in ran.out
    assert "References: none, it cannot tell people apart (no --map, no --reference)." in ran.out
    assert "Licence: Apache-2.0 (trtswap)" in ran.out


def test_check_as_json(run: Run, pack: Path) -> None:
    ran = run("pack", "check", pack, "--json")
    report = json.loads(ran.out)
    assert ran.code == 0
    assert [s["stage"] for s in report["stages"]] == [
        "detect",
        "landmarks",
        "identify",
        "swap",
        "parse",
        "occlude",
        "restore",
    ]
    assert report["stages"][4]["outputs"] == ["labels [N,32,32] uint8"]


def test_check_says_who_counts_as_the_same_person(run: Run) -> None:
    assert "References: a cosine of 0.7 counts as the same person." in run("pack", "check", "avatar").out
    assert json.loads(run("pack", "check", "avatar", "--json").out)["similarity"] == 0.7


def test_packs_are_found_by_name(run: Run, pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTSWAP_PACKS", str(pack.parent))
    assert run("pack", "check", "tiny").code == 0


def broken(pack: Path, target: Path, stage: str, graph: onnx.GraphProto) -> Path:
    """The pack with another graph, its hash corrected."""
    target.mkdir()
    for file in pack.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    old = Pack.load(pack).stages[stage].sha256
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=10)
    onnx.save(model, target / f"{stage}.onnx")
    toml = (target / "pack.toml").read_text().replace(old, sha256_of(target / f"{stage}.onnx"))
    (target / "pack.toml").write_text(toml)
    return target


def test_a_graph_with_another_batch_than_it_says_is_found(run: Run, pack: Path, tmp_path: Path) -> None:
    first, end = (numpy_helper.from_array(np.array([i]), name) for i, name in enumerate(("first", "end")))
    graph = helper.make_graph(
        [helper.make_node("Slice", ["faces", "first", "end", "first"], ["restored"])],
        "restore",
        [helper.make_tensor_value_info("faces", 1, ("N", 3, 32, 32))],
        [helper.make_tensor_value_info("restored", 1, ("M", 3, 32, 32))],
        [first, end],
    )
    ran = run("pack", "check", broken(pack, tmp_path / "broken", "restore", graph))
    assert ran.code == 1
    assert "graph restore, output restored at batch 3: its shape is (1, 3, 32, 32), expected (3, 3, 32, 32)" in ran.err


def test_a_changed_file_is_found(run: Run, pack: Path, tmp_path: Path) -> None:
    graph = helper.make_graph([], "restore", [], [])
    folder = broken(pack, tmp_path / "broken", "restore", graph)
    (folder / "restore.onnx").write_bytes(b"something else")
    ran = run("pack", "check", folder)
    assert ran.code == 1
    assert "The file was changed or is damaged" in ran.err


def test_wrap_with_flags(run: Run, pack: Path, restorer: Path, tmp_path: Path) -> None:
    ran = run(
        *("pack", "wrap", restorer, "--base", pack, "--stage", "restore", "--size", 32, "--template", "ffhq_512"),
        *("--range=-1,1", "--out-range=-1,1", "--colour", "bgr", "--out-colour", "bgr", "--licence", "MIT"),
        *("-o", tmp_path / "mine", "--json"),
    )
    assert (ran.code, ran.err) == (0, "")
    made = Pack.load(json.loads(ran.out)["pack"])
    assert made.weights["darken"]["licence"] == "MIT"
    assert run("pack", "check", made.path).code == 0


def test_wrap_with_a_file(run: Run, pack: Path, restorer: Path, tmp_path: Path) -> None:
    options = tmp_path / "wrap.toml"
    options.write_text(f'[restore]\nmodel = "{restorer.name}"\nsize = 32\ntemplate = "ffhq_512"\nrange = [-1, 1]\n')
    ran = run("pack", "wrap", "--options", options, "--base", pack, "-o", tmp_path / "mine")
    assert (ran.code, ran.err) == (0, "")
    assert Pack.load(tmp_path / "mine").name == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--stage", "restore", "--template", "ffhq_512"), "stage restore: no size"),
        (("--size", "32"), "--stage is missing"),
        (("--stage", "restore", "--size", "32", "--template", "ffhq_512", "--mean", "a,b,c"), "expected numbers"),
        (("--stage", "detect", "--size", "32", "--threshold", "0.5"), "stage detect: no decoder"),
        (("--stage", "paint", "--size", "32", "--template", "ffhq_512"), "stage is 'paint', expected one of"),
        (("--stage", "identify", "--size", "32", "--template", "ffhq_512"), "stage identify: no threshold."),
        (("--stage", "identify", "--size", "32", "--threshold", "much"), "'much': expected a number or none"),
    ],
)
def test_wrong_options_are_wrong_usage(
    run: Run, pack: Path, restorer: Path, arguments: tuple[str, ...], message: str
) -> None:
    target = restorer.with_name("mine")
    ran = run("pack", "wrap", restorer, "--base", pack, "-o", target, *arguments)
    assert ran.code == 2
    assert message in " ".join(ran.err.replace("│", " ").split())
    assert not target.exists()


def test_published_models_by_their_recipes(run: Run, pack: Path, data: Path, tmp_path: Path) -> None:
    file = data / "yunet_n_dynamic.onnx"
    arguments = ("pack", "wrap", "--recipe", "yunet_2023_mar", "--model", file, "--base", pack, "-o", tmp_path / "mine")
    ran = run(*arguments)
    assert ran.code == 1
    assert "is not the published face_detection_yunet_2023mar.onnx" in ran.said
    ran = run(*arguments, "--allow-unknown-hash")
    assert ran.code == 0
    assert "with detect by yunet_n_dynamic.onnx" in ran.said
    ran = run("pack", "wrap", "--recipe", "nobody", "--model", file)
    assert ran.code == 2
    assert "there is no recipe 'nobody'" in ran.said
    ran = run("pack", "wrap", "--recipe", "xseg_1")
    assert ran.code == 2
    assert "1 recipes and 0 models" in ran.said


def test_published_models_are_listed(run: Run) -> None:
    rows = json.loads(run("pack", "models", "--json").out)
    names = {row["name"] for row in rows}
    assert {"inswapper_128", "ghost_3_256", "codeformer", "xseg_1", "scrfd_2.5g"} <= names
    assert all(row["licence"] and row["stage"] for row in rows)
    assert "inswapper_128" in run("pack", "models").out


def test_a_contact_sheet_shows_what_each_graph_makes(run: Run, paste_pack: Path, data: Path, tmp_path: Path) -> None:
    face, sheet = data / "astronaut.png", tmp_path / "sheet.png"
    assert run("pack", "check", paste_pack, "--picture", face, "-o", sheet).code == 0
    with Image.open(sheet) as made:
        assert made.size[0] > 1000
    ran = run("pack", "check", paste_pack, "--picture", face, "-o", sheet)
    assert ran.code == 1
    assert "exists" in ran.said
    ran = run("pack", "check", paste_pack, "--picture", data / "presenter.mp4", "-o", tmp_path / "other.png")
    assert ran.code == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["sheet.png"]
    assert run("pack", "check", paste_pack, "-o", sheet).code == 2

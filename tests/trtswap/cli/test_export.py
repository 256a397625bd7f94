"""`trtswap export` as users meet it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from trtswap.cli.export import PACKS
from trtswap.errors import PackError
from trtswap.export import recipes
from trtswap.model.pack import Pack
from trtswap.swapper import untrained

from ...export.small import tiny_recipe
from .conftest import Run


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "RECIPES", {"tiny": tiny_recipe()})


@pytest.mark.usefixtures("tiny")
def test_a_pack_goes_to_the_users_packs(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTSWAP_PACKS", str(tmp_path / "packs"))
    ran = run("export", "tiny", "--random-weights", 7)
    assert ran.code == 0
    assert ran.out.startswith(str(tmp_path / "packs" / "tiny-random"))
    assert "RANDOM WEIGHTS in swap" in ran.out
    *lines, shares = ran.err.splitlines()
    assert [line.split(":")[0] for line in lines] == ["detect", "identify", "swap", "parse", "restore"]
    assert shares.startswith("Multiply-adds that stay in FP32 once the pack is converted to FP16: detect 0.000%, ")
    made = Pack.load(tmp_path / "packs" / "tiny-random")
    assert (made.name, made.random) == ("tiny-random", ("swap",))
    assert untrained(made) == (
        "Pack tiny-random has random weights in swap: it is for speed and tests, and paints noise.",
    )
    toml = (made.path / "pack.toml").read_text()
    (made.path / "pack.toml").write_text(toml.replace('"swap",', '"nose",', 1))
    with pytest.raises(PackError, match="expected names of the pack's stages"):
        Pack.load(made.path)


@pytest.mark.usefixtures("tiny")
def test_json_is_all_there_is_on_stdout(run: Run, tmp_path: Path) -> None:
    ran = run("export", "tiny", "-o", tmp_path / "mine", "--random-weights", 7, "--json")
    report = json.loads(ran.out)
    assert ran.code == 0
    assert report["pack"] == str(tmp_path / "mine")
    assert report["stages"]["swap"]["parameters"] == 12
    assert report["stages"]["swap"]["full_precision_share_of_fp16"] == 0


def test_help_lists_all_packs() -> None:
    assert set(PACKS) == set(recipes.RECIPES)


def test_unknown_packs_are_listed(run: Run) -> None:
    ran = run("export", "nothing")
    assert ran.code == 1
    assert "no recipe 'nothing'; expected one of simswap-224" in ran.err


def test_a_missing_checkpoint_is_named_before_anything_is_written(run: Run, tmp_path: Path) -> None:
    ran = run("export", "simswap-224", "--weights", tmp_path, "-o", tmp_path / "mine")
    assert ran.code == 1
    assert "yunet_n" in ran.err
    assert list(tmp_path.iterdir()) == []


def test_an_existing_pack_stays(run: Run, tmp_path: Path) -> None:
    ran = run("export", "paste", "-o", tmp_path)
    assert ran.code == 1
    assert "--overwrite" in ran.err


def test_missing_export_tools_are_named(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtswap.cli import export

    monkeypatch.setattr(export, "NEEDED", ("onnx", "no_such_module"))
    ran = run("export", "paste")
    assert ran.code == 1
    assert 'needs no_such_module, not installed here: pip install "trtswap[export]"' in ran.err


def test_options_reach_the_recipe(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    only_swap = replace(recipes.find_recipe("simswap-512-beta"))
    ran = run("export", only_swap.name, "--pose-templates", "-o", tmp_path / "mine")
    assert ran.code == 1
    assert "Leave out --pose-templates" in ran.err
    ran = run("export", "paste", "--use", "detect=scrfd", "-o", tmp_path / "mine")
    assert ran.code == 1
    assert "expected a file, or one of yunet_n, yunet_s" in ran.err
    for wrong in ("detect", "=yunet_s", "detect="):
        ran = run("export", "paste", "--use", wrong, "-o", tmp_path / "mine")
        assert ran.code == 2
        assert "expected STAGE=CHECKPOINT" in ran.err
    ran = run("export", "paste", "--size", "100", "-o", tmp_path / "mine")
    assert ran.code == 1
    assert "expected a multiple of 16" in ran.err

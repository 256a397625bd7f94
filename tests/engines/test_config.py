"""Recipes: defaults from pack and GPU, and what a user may change."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trtswap.backends.engine import TensorSpec
from trtswap.errors import EngineBuildError, InputError
from trtswap.model.pack import Pack

from ..trt_emulator.machine import GPU

GIB = 2**30
F32 = torch.float32


def test_defaults_follow_pack_and_gpu(hand: Pack) -> None:
    from trtswap.engines.config import Range, default_config

    for memory, most in ((8, 8), (16, 16), (80, 32)):
        gpu = replace(GPU, memory_bytes=memory * GIB)
        assert default_config(hand.stages["swap"], gpu.memory_bytes).profiles == ({"N": Range(1, 4, most)},)
        wide, tall = default_config(replace(hand.stages["detect"], size=640), gpu.memory_bytes).profiles
        assert wide == {"B": Range(1, 8, 32), "H": Range(32, 384, 640), "W": Range(32, 640, 640)}
        assert tall == {"B": Range(1, 8, 32), "H": Range(32, 640, 640), "W": Range(32, 384, 640)}


def test_shapes_of_an_input(hand: Pack) -> None:
    from trtswap.engines.config import BuildConfig, Range

    config = BuildConfig(profiles=({"N": Range(1, 4, 16)},))
    spec = TensorSpec("faces", ("N", 3, 8, 8), F32)
    assert config.shapes(config.profiles[0], spec) == ((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8))
    with pytest.raises(EngineBuildError, match=r"input latents \[N,D\] float32 has no range for D; the config has N\."):
        config.shapes(config.profiles[0], TensorSpec("latents", ("N", "D"), F32))


def test_flags_win_over_the_file_and_tables_over_its_top(tmp_path: Path, hand: Pack) -> None:
    from trtswap.engines.config import Overrides, Range, default_config

    file = tmp_path / "config.toml"
    file.write_text(
        "optimisation_level = 1\nworkspace_mib = 512\nfaces = [1, 2, 4]\n"
        "[swap]\noptimisation_level = 5\ntf32 = true\nversion_compatible = true\n"
        '[detect]\nprofiles = [{ B = 1, H = [32, 64, 96], W = "32,64,96" }]\nbatch = "1,2,2"\n'
    )
    given = Overrides.load(file)
    swap = given.apply(default_config(hand.stages["swap"], GPU.memory_bytes), "swap")
    assert (swap.optimisation_level, swap.workspace_bytes) == (5, 512 * 2**20)
    assert swap.profiles == ({"N": Range(1, 2, 4)},)
    assert swap.tf32
    assert swap.version_compatible
    detect = given.apply(default_config(hand.stages["detect"], GPU.memory_bytes), "detect")
    assert detect.optimisation_level == 1
    assert detect.profiles == ({"B": Range(1, 2, 2), "H": Range(32, 64, 96), "W": Range(32, 64, 96)},)
    flags = given.also(optimisation_level=2, faces="3", batch=None)
    swap = flags.apply(default_config(hand.stages["swap"], GPU.memory_bytes), "swap")
    assert swap.optimisation_level == 2
    assert swap.profiles == ({"N": Range(3, 3, 3)},)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a = [", "cannot be read as TOML"),
        ("level = 3", "unknown keys level; known: batch, faces, hardware_compatibility, optimisation_level, profiles"),
        (
            "[mouth]\nlevel = 3",
            "unknown tables mouth; known: detect, landmarks, identify, encode, swap, parse, occlude, restore",
        ),
        ("faces = '1,2'", r"faces is '1,2', expected MIN,BEST,MAX, such as 1,4,16, or one number"),
        ("faces = 'a,b,c'", r"faces is 'a,b,c', expected MIN,BEST,MAX"),
        ("faces = [4, 2, 8]", "a range is 4,2,8, expected three numbers that do not fall"),
        ("faces = [0, 2, 8]", "the first at least 1"),
        ("profiles = 3", r"profiles is 3, expected a list of tables, such as \[\{ N = \[1, 4, 16\] \}\]"),
        ("profiles = []", "profiles is empty, expected at least one"),
        ("optimisation_level = 9", "optimisation_level is 9, expected 0 to 5"),
        ("optimisation_level = true", "optimisation_level is True, expected int"),
        ("hardware_compatibility = 'turing'", "hardware_compatibility is 'turing', expected none, same-capability"),
        ("version_compatible = 1", "version_compatible is 1, expected bool"),
        ("workspace_mib = 0", "workspace_bytes is 0, expected a positive number"),
        ("workspace_mib = 'all'", "workspace_mib is 'all', expected int"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, hand: Pack, text: str, message: str) -> None:
    from trtswap.engines.config import Overrides, default_config

    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=message):
        Overrides.load(file).apply(default_config(hand.stages["swap"], GPU.memory_bytes), "swap")
    with pytest.raises(InputError, match=r"none\.toml cannot be read as TOML"):
        Overrides.load(tmp_path / "none.toml")

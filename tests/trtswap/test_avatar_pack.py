"""The pack that ships in the wheel, on the clip and the pictures that come with it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trtswap import Swapper
from trtswap.pack import Pack
from trtswap.packs import find_pack, sample_sources
from trtswap.video.reader import VideoReader

MEBIBYTE = 2**20


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_pack("avatar")


def test_it_is_small_free_and_says_what_it_is_for(folder: Path) -> None:
    pack = Pack.load(folder)
    assert sum(stage.path.stat().st_size for stage in pack.stages.values()) <= 15 * MEBIBYTE
    assert pack.licence.startswith("Apache-2.0")
    assert "does not know real faces" in pack.description
    assert set(pack.stages) >= {"detect", "identify", "swap", "parse"}


def test_samples(folder: Path) -> None:
    assert len(sample_sources("avatar")) >= 2
    with VideoReader(folder / "samples" / "clip.mp4", batch_size=1) as reader:
        info = reader.info
        assert (info.width, info.height) == (1280, 720)
        assert info.average_rate == 25
        assert 6 <= float(info.duration or 0) <= 10


def test_a_swap_resembles_the_source_more_than_the_target(
    folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """By the pack's own latents, on frames of the clip, and nothing but the faces changes."""
    with VideoReader(folder / "samples" / "clip.mp4", batch_size=1) as reader:
        frames = torch.stack([f.rgb(0) for i, f in enumerate(reader) if i in (20, 60, 150)])
    with Swapper("avatar") as swapper:
        who = swapper.identity(sample_sources("avatar")[0])
        swapped = swapper.swap(frames, who)
        moved = []
        for before, after in zip(frames, swapped, strict=True):
            old, new = (swapper.identity(f, pick="largest").latent @ who.latent for f in (before, after))
            moved.append(float(new - old))
    changed = (swapped != frames).any(-1).float().mean((1, 2))
    record_property("cosine to the source, after less before", [round(m, 3) for m in moved])
    assert min(moved) > 0.1
    assert bool((changed > 0.01).all())
    assert bool((changed < 0.25).all())


@pytest.mark.parametrize("batch", [1, 3])
def test_results_do_not_depend_on_the_batch(folder: Path, batch: int) -> None:
    with VideoReader(folder / "samples" / "clip.mp4", batch_size=1) as reader:
        frames = torch.stack([f.rgb(0) for i, f in enumerate(reader) if i in (20, 60, 100)])
    with Swapper("avatar") as swapper:
        who = swapper.identity(sample_sources("avatar")[1])
        whole = swapper.swap(frames, who)
        parts = torch.cat([swapper.swap(frames[i : i + batch], who) for i in range(0, 3, batch)])
    assert int((whole.int() - parts.int()).abs().max()) <= 1

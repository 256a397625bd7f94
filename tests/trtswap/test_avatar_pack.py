"""The pack that ships in the wheel, on the clip and the pictures that come with it."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from trtswap import Swapper
from trtswap.model.pack import Pack
from trtswap.packs import find_pack, sample_sources
from trtswap.swapper import narrow
from trtswap.video.reader import VideoReader


@pytest.fixture(scope="module")
def folder() -> Path:
    return find_pack("avatar")


def frames_of(video: Path, wanted: tuple[int, ...]) -> torch.Tensor:
    """uint8 RGB [B, H, W, 3]."""
    with VideoReader(video, batch_size=1) as reader:
        return torch.stack([f.rgb(0) for i, f in enumerate(reader) if i in wanted])


def test_it_is_small_free_and_says_what_it_is_for(folder: Path) -> None:
    pack = Pack.load(folder)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(len(zlib.compress(path.read_bytes())) for path in files) <= 15e6  # as the wheel stores them
    assert pack.licence.startswith("Apache-2.0")
    assert "does not know real faces" in pack.description
    assert set(pack.stages) == {"detect", "identify", "swap", "parse", "restore"}


def test_samples(folder: Path) -> None:
    assert len(sample_sources("avatar")) >= 2
    with VideoReader(folder / "samples" / "clip.mp4", batch_size=1) as reader:
        info = reader.info
        assert (info.width, info.height) == (1280, 720)
        assert info.average_rate == 25
        assert 6 <= float(info.duration or 0) <= 10


def test_its_people_are_told_apart(folder: Path, record_property: Callable[[str, object], None]) -> None:
    """The samples' three people, and the two of the clip, of whom one shows in every frame and one passes by."""
    with Swapper("avatar", backend="onnxruntime", device="cpu") as swapper:
        samples = torch.stack([swapper.identity(path).latent for path in sample_sources("avatar")])
        frames = frames_of(folder / "samples" / "clip.mp4", (20, 70, 150))
        stays = torch.stack([swapper.identity(frame, pick="largest").latent for frame in frames])
        passes = swapper.identity(frames[1], pick=0).latent
        threshold = swapper.pack.similarity()
    strangers = torch.cat([(samples @ samples.T)[torch.triu_indices(3, 3, 1).unbind()], stays @ passes])
    same = (stays @ stays.T)[torch.triu_indices(3, 3, 1).unbind()]
    random = torch.randn(1000, samples.shape[1], generator=torch.Generator().manual_seed(0))
    unrelated = torch.nn.functional.normalize(random) @ samples.T
    record_property("cosines", f"one person {float(same.min()):.2f}, two at most {float(strangers.max()):.2f}")
    assert float(strangers.max()) < threshold <= float(same.min())
    assert not bool((unrelated >= threshold).any())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_swap_comes_nearer_to_the_source_and_to_the_truth(
    backend: str, folder: Path, record_property: Callable[[str, object], None]
) -> None:
    """By the pack's own latents and by the rendered truth, on frames of the clip; nothing but the faces changes."""
    frames, truths = (frames_of(folder / "samples" / name, (20, 60, 150)) for name in ("clip.mp4", "truth.mp4"))
    with Swapper("avatar", backend=backend, device="cpu") as swapper:
        who = swapper.identity(sample_sources("avatar")[0])
        swapped = swapper.swap(frames, who)
        likeness = [
            [float(swapper.identity(f, pick="largest").latent @ who.latent) for f in shown]
            for shown in (frames, swapped)
        ]
    changed = (swapped != frames).any(-1)
    errors = [float((shown.float() - truths.float())[changed].square().mean()) for shown in (frames, swapped)]
    record_property("cosine to the source, before and after", [[round(v, 3) for v in row] for row in likeness])
    record_property("squared error after over before", round(errors[1] / errors[0], 3))
    assert all(new > old for old, new in zip(*likeness, strict=True))
    assert errors[1] < 0.8 * errors[0]
    assert bool((changed.float().mean((1, 2)) > 0.01).all())
    assert bool((changed.float().mean((1, 2)) < 0.25).all())


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 3])
def test_results_do_not_depend_on_the_batch(folder: Path, batch: int, backend: str) -> None:
    frames = frames_of(folder / "samples" / "clip.mp4", (20, 60, 100))
    with Swapper("avatar", backend=backend, device="cpu") as swapper:
        who = swapper.identity(sample_sources("avatar")[1])
        whole = swapper.swap(frames, who)
        parts = torch.cat([swapper.swap(frames[i : i + batch], who) for i in range(0, 3, batch)])
    assert int((whole.int() - parts.int()).abs().max()) <= 1


def test_a_pack_for_rendered_heads_says_so_of_other_pictures(tmp_path: Path) -> None:
    """No network of it tells photographs from its own kind, so all but its own samples are warned of."""
    (sample, *_) = sample_sources("avatar")
    other = tmp_path / "other.png"
    other.write_bytes(sample.read_bytes())
    with Swapper("avatar", backend="onnxruntime") as swapper:
        who = swapper.identity(sample)
        assert swapper.swap_picture(sample, tmp_path / "a.png", who).warnings == ()
        (warning,) = swapper.swap_picture(other, tmp_path / "b.png", who).warnings
    assert warning.startswith("Pack avatar was made for rendered heads (detect, identify, swap, parse, restore): other")


def test_stages_that_others_replace_know_other_faces(tmp_path: Path) -> None:
    pack = Pack.load(find_pack("avatar"))
    stages = {
        name: replace(spec, made_for="" if name == "swap" else spec.made_for) for name, spec in pack.stages.items()
    }
    (warning,) = narrow(replace(pack, name="mine", stages=stages), tmp_path / "in.mp4")
    assert warning.startswith("Pack mine was made for rendered heads (detect, identify, parse, restore): other faces")
    assert narrow(replace(pack, stages={"swap": stages["swap"]}), tmp_path / "in.mp4") == ()

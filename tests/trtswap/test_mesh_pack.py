"""The pack mesh as it ships: real faces, out of the box."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from trtswap import Frames, Identity, InputError, Pack, PackError, RuntimeOptions, SourceError, SwapOptions, Swapper
from trtswap.backends.runtime import Runtime
from trtswap.faces import Faces
from trtswap.faces.pose import pose_of
from trtswap.packs import DEFAULT_PACK, find_pack, sample_sources
from trtswap.pictures.arrays import read_image
from trtswap.session.observers import Observer
from trtswap.video.opening import open_reader

BACKENDS = ("onnxruntime", "openvino", "torch")


@pytest.fixture(scope="module")
def swapper() -> Any:
    with Swapper(backend="onnxruntime", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def portrait(data: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.asarray(read_image(data / "astronaut.png"))


@pytest.fixture(scope="module")
def speaker(data: Path) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """One frame of the clip, [1, 1080, 1920, 3]."""
    with open_reader(data / "presenter.mp4", batch=1) as reader:
        return next(iter(reader)).rgb(0).numpy()[None]


def test_it_is_what_is_taken_when_no_pack_is_named(swapper: Swapper) -> None:
    assert swapper.pack.name == DEFAULT_PACK == "mesh"
    assert Runtime.__init__.__defaults__ == ("mesh",)
    assert sample_sources("mesh")
    assert "Apache-2.0" in swapper.pack.licence


def test_it_shows_somebody_else_and_changes_nothing_beside_the_face(swapper: Swapper, data: Path, speaker: Any) -> None:
    who = swapper.identity(data / "astronaut.png")
    assert who.doubts == ()
    made = swapper.swap(speaker, who)
    changed = np.abs(made.astype(int) - speaker).max(-1)[0] > 0
    box = swapper.detect(speaker).box[0]
    rows, columns = changed.nonzero()
    wide = (box[2] - box[0]) / 4
    assert columns.min() > box[0] - wide
    assert columns.max() < box[2] + wide
    assert rows.max() < box[3] + wide
    assert changed.sum() > 0.4 * float((box[2:] - box[:2]).prod())
    a, b = (pose_of(swapper.detect(x).points) for x in (speaker, made))
    assert float((a.gaze - b.gaze).abs().max()) < 0.1
    assert float((a.yaw - b.yaw).abs()) < 4


def test_every_backend_makes_the_same(data: Path, speaker: Any, tmp_path: Path) -> None:
    made = []
    for backend in BACKENDS:
        pytest.importorskip(backend)
        with Swapper(backend=backend, device="cpu") as swapper:
            made.append(swapper.swap(speaker, swapper.identity(data / "astronaut.png")).astype(int))
    for other in made[1:]:
        apart = np.abs(other - made[0])
        assert apart.max() <= 12
        assert np.percentile(apart[apart > 0], 99) <= 2 if (apart > 0).any() else True


def test_likeness_is_an_option_of_this_pack_alone(swapper: Swapper, data: Path, speaker: Any) -> None:
    who = swapper.identity(data / "astronaut.png")
    real, like = (swapper.swap(speaker, who, options=SwapOptions(likeness=share)) for share in (0.0, 1.0))
    assert np.abs(real.astype(int) - like).max() > 4
    with (
        Swapper("avatar", backend="onnxruntime", device="cpu") as avatar,
        pytest.raises(InputError, match="swap network of this pack takes none"),
    ):
        avatar.swap(speaker, avatar.identity(sample_sources("avatar")[0]), options=SwapOptions(likeness=0.5))


def test_boost_makes_larger_crops(swapper: Swapper, data: Path, speaker: Any) -> None:
    who = swapper.identity(data / "astronaut.png")
    once, twice = (swapper.swap(speaker, who, options=SwapOptions(boost=n)).astype(int) for n in (1, 2))
    changed = (once != speaker).any(-1)
    assert 0 < np.abs(once - twice)[changed].mean() < 3


def test_several_pictures_are_kept_and_chosen_among(
    swapper: Swapper, portrait: Any, speaker: Any, tmp_path: Path
) -> None:
    mirrored = np.ascontiguousarray(portrait[:, ::-1])
    who = swapper.identity(portrait, mirrored)
    assert who.code is not None
    assert who.poses is not None
    assert who.code.shape == (2, swapper.pack.stages["encode"].latent)
    assert float(who.poses[0, 0] + who.poses[1, 0]) == pytest.approx(0, abs=3)
    turn = pose_of(swapper.detect(speaker).points)
    nearest = int((who.poses - torch.stack([turn.yaw, turn.pitch], 1)).norm(dim=1).argmin())
    alone = swapper.swap(speaker, swapper.identity((portrait, mirrored)[nearest]))
    assert np.array_equal(swapper.swap(speaker, who), alone)
    who.save(tmp_path / "who.safetensors")
    again = Identity.load(tmp_path / "who.safetensors")
    again.check(swapper.pack)
    assert np.array_equal(swapper.swap(speaker, again), alone)


def test_an_identity_without_poses_is_refused(swapper: Swapper, portrait: Any) -> None:
    who = swapper.identity(portrait, portrait)
    broken = Identity(who.latent, code=who.code)
    with pytest.raises(InputError, match="poses"):
        broken.check(swapper.pack)


def test_references_are_refused_with_the_reason(swapper: Swapper, portrait: Any, speaker: Any) -> None:
    who = swapper.identity(portrait)
    with pytest.raises(InputError, match="cannot tell people apart"):
        swapper.swap(speaker, [(who, who)])


def test_it_needs_the_points(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="landmarks dense"):
        Runtime(options=RuntimeOptions(dense=False))
    for file in find_pack("mesh").iterdir():
        if file.is_file():
            (tmp_path / file.name).write_bytes(file.read_bytes())
    toml = tmp_path / "pack.toml"
    toml.write_text('landmarks = "five"\n' + toml.read_text())
    with pytest.raises(PackError, match="takes points, which nothing measures"):
        Pack.load(tmp_path)


class _Unmeasured(Observer):
    """Counts the faces that got somebody else's."""

    swapped = 0

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.swapped += len(faces)


def test_what_cannot_be_measured_stays(swapper: Swapper, portrait: Any, speaker: Any, monkeypatch: Any) -> None:
    who = swapper.identity(portrait)
    stage = type(swapper.runtime.stage("landmarks"))
    rows = stage.rows

    def blind(self: Any, **tensors: Any) -> Any:
        made = rows(self, **tensors)
        return made | {"scores": made["scores"] * 0} if "scores" in made else made

    monkeypatch.setattr(stage, "rows", blind)
    seen = _Unmeasured()
    assert np.array_equal(swapper.swap(speaker, who, observers=[seen]), speaker)
    assert seen.swapped == 0
    with pytest.raises(SourceError, match="turned away too far"):
        swapper.identity(portrait)

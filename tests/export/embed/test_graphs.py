"""Embedded graphs against the runtime, on real frames."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from trtswap import RuntimeOptions, SwapOptions, Swapper
from trtswap.export.embed import Layout, embed
from trtswap.model.pack import Pack
from trtswap.packs import find_pack, sample_sources
from trtswap.pixels.frames import Frames
from trtswap.video.opening import open_reader

from .running import Graphs, decibels

CLIP = find_pack("avatar") / "samples" / "clip.mp4"
NEAR = 50.0  # decibels
ALONE = SwapOptions(smooth=0, fill=0, min_face=0)


def decoded(path: Path, every: int) -> list[Frames]:
    """Every so many-th frame, as the decoder gave it."""
    with open_reader(path, batch=1) as reader:
        return [frames for i, frames in enumerate(reader) if i % every == 0]


@pytest.fixture(scope="module")
def swapper() -> Iterator[Swapper]:
    with Swapper("avatar", backend="onnxruntime", options=ALONE, runtime=RuntimeOptions(workers=1)) as swapper:
        yield swapper


@pytest.fixture(scope="module")
def graphs(embedded: Path) -> Graphs:
    return Graphs(embedded)


@pytest.fixture(scope="module")
def pictures() -> NDArray[np.uint8]:
    """Frames of the clip with one face and with two: uint8 RGB [B, 720, 1280, 3]."""
    return np.stack([frames.rgb(0).numpy() for frames in decoded(CLIP, 24)])


def test_rgb_frames_are_what_a_swapper_makes(graphs: Graphs, swapper: Swapper, pictures: NDArray[np.uint8]) -> None:
    who = swapper.identity(sample_sources("avatar")[0])
    for picture in pictures:
        frame = picture[None]
        wanted = np.asarray(swapper.swap(frame.copy(), who))
        found = graphs.swap({"frames": frame}, who.source.numpy())["frames"]
        assert decibels(found, wanted, frame) >= NEAR
        assert ((found != frame).any(-1) & (wanted == frame).all(-1)).mean() < 1e-4  # no further pixel changes


def test_the_same_faces_are_found(graphs: Graphs, swapper: Swapper, pictures: NDArray[np.uint8]) -> None:
    for picture in pictures:
        found, wanted = graphs.run("find", frames=picture[None]), swapper.detect(picture[None].copy())
        count = int((found["scores"] > 0).sum())
        assert count == len(wanted)
        np.testing.assert_allclose(found["boxes"][0, :count], wanted.box, atol=0.5)
        np.testing.assert_allclose(found["scores"][0, :count], wanted.score, atol=0.01)
        np.testing.assert_allclose(found["landmarks"][0, :count], wanted.landmarks, atol=0.5)
        np.testing.assert_allclose(found["points"][0, :count, :, :2], wanted.points[..., :2], atol=0.7)
        assert not any(part[0, count:].any() for part in found.values())


def test_planes_of_any_size_are_what_a_session_makes(embedded_planes: Path, swapper: Swapper) -> None:
    graphs, who = Graphs(embedded_planes), swapper.identity(sample_sources("avatar")[0])
    for frames in decoded(CLIP, 48):
        y, u, v = (plane.numpy() for plane in frames.planes)
        planes = {"y": y.copy(), "uv": np.stack([u, v], -1)}
        found, original = graphs.swap(planes, who.source.numpy()), frames.rgb(0).numpy()
        with swapper.session(who) as session:
            (wanted,) = (*session.push(frames), *session.flush())
        for plane, name in ((wanted.planes[0], "y"), (np.stack(wanted.planes[1:], -1), "uv")):
            far = np.abs(found[name].astype(int) - np.asarray(plane))
            changed = (found[name] != planes[name]) | (np.asarray(plane) != planes[name])
            assert 10 * np.log10(255**2 / (far[changed].astype(float) ** 2).mean()) >= NEAR
        assert original.shape == (720, 1280, 3)


def test_the_pack_mesh_is_embedded_too(embedded_mesh: Path, data: Path) -> None:
    graphs = Graphs(embedded_mesh)
    with Swapper("mesh", backend="onnxruntime", options=ALONE) as swapper:
        who = swapper.identity(data / "astronaut.png")
        for frames in decoded(data / "presenter.mp4", 60):
            frame = frames.rgb(0).numpy()[None]
            wanted = np.asarray(swapper.swap(frame.copy(), who))
            found = graphs.swap({"frames": frame[..., ::-1].copy()}, who.source.numpy())["frames"][..., ::-1]
            assert decibels(found, wanted, frame) >= NEAR


def test_sources_are_known_by_the_graph(graphs: Graphs, swapper: Swapper, pictures: NDArray[np.uint8]) -> None:
    """A frame's face has the latent that the runtime gives it."""
    frame = pictures[:1]
    found = graphs.run("find", frames=frame)
    latents = graphs.run("identify", frames=frame, **found)["latents"][0, 0]
    assert np.linalg.norm(latents) == pytest.approx(1, abs=1e-5)
    wanted = swapper.identity(frame[0].copy()).latent.numpy()
    assert float(latents @ wanted) > 0.99


@pytest.fixture(scope="module")
def call(graphs: Graphs, pictures: NDArray[np.uint8]) -> dict[str, Any]:
    """What swap is given for two faces of a frame."""
    frame = pictures[1:2]
    found = graphs.run("find", frames=frame)
    latents = np.random.default_rng(0).normal(size=(1, 2, 64)).astype(np.float32)
    latents /= np.linalg.norm(latents, axis=-1, keepdims=True)
    return {
        "frames": frame, "landmarks": found["landmarks"], "points": found["points"], "latents": latents,
        "strengths": np.ones((1, 2), np.float32), "window": np.zeros(int(found["sides"].max()), np.float32),
    }  # fmt: skip


def changed(graphs: Graphs, call: dict[str, Any], **other: Any) -> NDArray[np.bool_]:
    made = graphs.run("swap", **call | other)["swapped_frames"]
    result: NDArray[np.bool_] = (made != (call | other)["frames"]).any(-1)
    return result


def test_without_strength_every_bit_stays(graphs: Graphs, call: dict[str, Any]) -> None:
    assert not changed(graphs, call, strengths=np.zeros((1, 2), np.float32)).any()


def test_each_slot_is_left_alone_by_itself(graphs: Graphs, call: dict[str, Any]) -> None:
    both = changed(graphs, call)
    first = changed(graphs, call, strengths=np.array([[1, 0]], np.float32))
    second = changed(graphs, call, strengths=np.array([[0, 1]], np.float32))
    assert first.any()
    assert second.any()
    assert not (first & second).any()
    assert (both == (first | second)).all()


@pytest.mark.parametrize(
    ("name", "value"),
    [("landmarks", 0), ("landmarks", 7), ("landmarks", np.nan), ("landmarks", np.inf), ("latents", np.nan)],
)
def test_what_is_no_face_leaves_its_slot_alone(graphs: Graphs, call: dict[str, Any], name: str, value: float) -> None:
    broken = call[name].copy()
    broken[0, 1] = value
    alone = changed(graphs, call, strengths=np.array([[1, 0]], np.float32))
    assert (changed(graphs, call, **{name: broken}) == alone).all()


@pytest.mark.parametrize("x", [-400.0, 1500.0, 1e7])
def test_faces_beyond_the_frame_change_nothing_there(graphs: Graphs, call: dict[str, Any], x: float) -> None:
    moved = call["landmarks"].copy()
    moved[0, 1, :, 0] += x
    alone = changed(graphs, call, strengths=np.array([[1, 0]], np.float32))
    assert (changed(graphs, call, landmarks=moved) == alone).all()


def test_the_later_slot_lies_over_the_earlier_one(graphs: Graphs, call: dict[str, Any]) -> None:
    """Two slots of one face, with different people."""
    twice = {k: call[k][:, [0, 0]] for k in ("landmarks", "points")}
    both, first, second = (
        graphs.run("swap", **call | twice | {"strengths": np.array([strengths], np.float32)})["swapped_frames"]
        for strengths in ([1, 1], [1, 0], [0, 1])
    )
    apart = [float(np.abs(both.astype(int) - other).sum()) for other in (first, second)]
    assert 0 < apart[1] < 0.3 * apart[0]  # all but the soft edge is the second's


def test_batches_are_what_single_frames_are(graphs: Graphs, pictures: NDArray[np.uint8]) -> None:
    source = np.full(64, 0.125, np.float32)
    together = graphs.swap({"frames": pictures[2:4]}, source)["frames"]
    for row in range(2):
        alone = graphs.swap({"frames": pictures[2 + row : 3 + row]}, source)["frames"]
        assert decibels(alone, together[row : row + 1], pictures[2 + row : 3 + row]) > 70


def test_larger_windows_give_the_same(graphs: Graphs, call: dict[str, Any]) -> None:
    made = [
        graphs.run("swap", **call | {"window": np.zeros(call["window"].size + more, np.float32)})["swapped_frames"]
        for more in (0, 80)
    ]
    far = np.abs(made[0].astype(int) - made[1])
    assert far.max() <= 1
    assert (far > 0).mean() < 1e-3


def test_fp16_keeps_frames_and_is_smaller(embedded: Path, tmp_path: Path, pictures: NDArray[np.uint8]) -> None:
    pack, layout = Pack.load(find_pack("avatar")), Layout(size=(1280, 720))
    half = embed(pack, tmp_path / "half", layout, precision="fp16")
    assert half.graph("swap").stat().st_size < 0.7 * (embedded / "swap.onnx").stat().st_size
    assert half.description["precision"] == "fp16"
    frame, source = pictures[:1], np.full(64, 0.125, np.float32)
    found = Graphs(half.path).swap({"frames": frame}, source)["frames"]
    assert decibels(found, Graphs(embedded).swap({"frames": frame}, source)["frames"], frame) > 40

"""The whole path on a real clip: what must not change does not, and what is pasted is what was taken."""

from collections.abc import Callable, Iterator
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from trtswap import Faces, Frames, Observer, Runtime, RuntimeOptions, SwapOptions, Swapper
from trtswap.canvas.swap import patch_boxes
from trtswap.model.pack import Pack
from trtswap.pixels.geometry import align, compose, invert
from trtswap.session.session import detector
from trtswap.video.reader import VideoReader

FRAMES = 138


class Remember(Observer):
    """Keeps the faces of every frame."""

    def __init__(self) -> None:
        self.faces: list[Faces] = []

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.faces += [faces.of_frame(i) for i in range(len(frames))]


def decoded(path: Path) -> Iterator[list[np.ndarray]]:
    """Planes of every frame, straight from PyAV."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            dtype = np.uint16 if "10" in frame.format.name else np.uint8
            yield [np.frombuffer(p, dtype).reshape(p.height, -1)[:, : p.width].astype(np.int32) for p in frame.planes]


@pytest.fixture(scope="module")
def ten_bit(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """presenter.mp4 with 10 bits a sample, of which the lower two are noise."""
    path = tmp_path_factory.mktemp("clips") / "presenter10.mkv"
    rng = np.random.default_rng(0)
    with av.open(str(data / "presenter.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "0", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 1920, 1080, "yuv420p10le"
        for frame in source.decode(video=0):
            wide = av.VideoFrame(1920, 1080, "yuv420p10le")
            for plane, narrow in zip(wide.planes, frame.planes, strict=True):
                values = np.frombuffer(narrow, np.uint8).reshape(narrow.height, -1)[:, : narrow.width].astype(np.uint16)
                values = values * 4 + rng.integers(0, 4, values.shape, dtype=np.uint16)
                target = np.frombuffer(plane, np.uint16).reshape(plane.height, -1)
                target[:, : plane.width] = values
            wide.pts, wide.time_base = frame.pts, frame.time_base
            out.mux(stream.encode(wide))
        out.mux(stream.encode())
    return path


@pytest.mark.parametrize("bits", [8, 10])
def test_an_identity_swap_changes_nothing_but_the_faces(
    bits: int,
    data: Path,
    identity_pack: Path,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> None:
    source = data / "presenter.mp4" if bits == 8 else request.getfixturevalue("ten_bit")
    target, remember = tmp_path / "out.mkv", Remember()
    with Swapper(identity_pack, backend="onnxruntime", device="cpu", options=SwapOptions(mouth=False)) as swapper:
        who = swapper.identity(data / "astronaut.png")
        lossless = {"qp": "0"}
        result = swapper.swap_video(
            source, target, who, codec="libx264", preset="ultrafast", encoder_options=lossless, observers=[remember]
        )
        pack = swapper.pack
    assert result.frames == FRAMES
    assert result.faces_per_frame == (1,) * FRAMES
    squared_error = pixels = 0.0
    changed = 0
    for before, after, faces in zip(decoded(source), decoded(target), remember.faces, strict=True):
        x0, y0, x1, y1 = pasted_box(pack, faces)
        for old, new, shift in zip(before, after, (0, 1, 1), strict=True):
            outside = np.ones(old.shape, bool)
            outside[y0 >> shift : (y1 >> shift) + 2, x0 >> shift : (x1 >> shift) + 2] = False
            assert np.array_equal(old[outside], new[outside])
            changed += int((old != new).sum())
        inside = (before[0][y0:y1, x0:x1] - after[0][y0:y1, x0:x1]) / (1 << (bits - 8))
        squared_error += float((inside**2).sum())
        pixels += inside.size
    assert changed > FRAMES * 100  # the paste did happen
    psnr = 10 * np.log10(255**2 / (squared_error / pixels))
    record_property("PSNR inside the pasted regions", f"{psnr:.1f} dB")
    assert psnr >= 46


def pasted_box(pack: Pack, faces: Faces) -> tuple[int, int, int, int]:
    """The box in frame pixels around everything that one face may have changed."""
    spec = pack.stages["swap"]
    to_swap = align(faces.landmarks, spec.templates, spec.size)
    to_canvas = align(faces.landmarks, (pack.canvas_template,), pack.canvas_size)
    x0, y0, x1, y1 = patch_boxes(compose(to_swap, invert(to_canvas)), spec.size, pack.canvas_size)[0]
    linear = np.linalg.inv(to_canvas[0, :, :2].double().numpy())
    corners = (np.array([[x0, y0], [x1, y0], [x0, y1], [x1, y1]]) - to_canvas[0, :, 2].numpy()) @ linear.T
    (left, top), (right, bottom) = np.floor(corners.min(0)) - 2, np.ceil(corners.max(0)) + 2
    return int(left), int(top), int(right), int(bottom)


def test_every_batch_size_finds_every_face(data: Path, identity_pack: Path) -> None:
    found: dict[int, Faces] = {}
    with Runtime(identity_pack, backend="onnxruntime", device="cpu") as runtime:
        find = detector(runtime, SwapOptions())
        for batch in (1, 4, 16, 64):
            parts, first = [], 0
            with VideoReader(data / "presenter.mp4", batch_size=batch) as reader:
                for frames in reader:
                    faces = find(frames)
                    parts.append(Faces(faces.frame_index + first, *list(vars(faces).values())[1:]))
                    first += len(frames)
            assert first == FRAMES
            found[batch] = Faces.cat(parts)
    for faces in found.values():
        assert faces.frame_index.tolist() == list(range(FRAMES))
        torch.testing.assert_close(faces.landmarks, found[1].landmarks, atol=1e-3, rtol=0)
        torch.testing.assert_close(faces.box, found[1].box, atol=1e-3, rtol=0)


def test_the_result_does_not_depend_on_the_batch(data: Path, paste_pack: Path, tmp_path: Path) -> None:
    planes = []
    for batch, face_batch in ((5, 1), (16, 4)):
        target = tmp_path / f"{batch}.mkv"
        settled = RuntimeOptions(batch=batch, face_batch=face_batch)
        with Swapper(paste_pack, backend="onnxruntime", device="cpu", runtime=settled) as swapper:
            who = swapper.identity(data / "astronaut.png")
            swapper.swap_video(
                data / "presenter.mp4",
                target,
                who,
                end=0.88,
                codec="libx264",
                preset="ultrafast",
                encoder_options={"qp": "0"},
            )
        planes.append(list(decoded(target)))
    assert len(planes[0]) == 22
    for one, other in zip(*planes, strict=True):
        for a, b in zip(one, other, strict=True):
            assert np.abs(a - b).max() <= 1

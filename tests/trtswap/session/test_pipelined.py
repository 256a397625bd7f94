"""A pipelined swap of a video: the same frames in any way of working, and faults that leave nothing behind."""

import threading
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch

from trtswap import Faces, Frames, Identity, Observer, ReadError, RuntimeOptions, Swapper, WriteError
from trtswap.backends import open_engine
from trtswap.backends.engine import Engine
from trtswap.errors import BackendError, InputError
from trtswap.model.pack import Pack
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter

LENGTH = 16


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def clip(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 frames of the presenter beside himself, mirrored: two faces."""
    path = tmp_path_factory.mktemp("clips") / "two.mp4"
    with av.open(str(data / "presenter.mp4")) as source, av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"qp": "8", "preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for number, frame in zip(range(LENGTH), source.decode(video=0), strict=False):
            picture = frame.reformat(640, 360, "rgb24").to_ndarray()
            half = picture[:, 160:480]
            twin = av.VideoFrame.from_ndarray(np.concatenate([half, half[:, ::-1]], 1), "rgb24")
            twin.pts, twin.time_base = number, Fraction(1, 25)
            out.mux(stream.encode(twin))
        out.mux(stream.encode(None))
    return path


class Keep(Observer):
    """Keeps the planes of every frame as they go to the encoder."""

    def __init__(self) -> None:
        self.planes: list[tuple[np.ndarray, ...]] = []
        self.order: list[str] = []

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.order.append(f"before {first_frame}")

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.order.append(f"after {first_frame}")
        self.planes += [tuple(p[b].numpy().copy() for p in frames.planes) for b in range(len(frames))]


def swapped(
    pack: Path,
    clip: Path,
    out: Path,
    *,
    backend: str,
    pipelined: bool = True,
    **settled: Any,
) -> Keep:
    keep = Keep()
    with Swapper(pack, backend=backend, device="cpu", runtime=RuntimeOptions(**settled)) as swapper:
        latent = torch.linspace(-1, 1, swapper.pack.stages["identify"].latent)
        who = Identity(torch.nn.functional.normalize(latent, dim=0))
        result = swapper.swap_video(
            clip, out, who, preset="ultrafast", overwrite=True, pipelined=pipelined, observers=[keep]
        )
    assert result.frames == len(keep.planes) == LENGTH
    assert set(result.faces_per_frame) == {2}
    assert {span.stage for span in result.spans} == set(result.seconds)
    return keep


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_any_way_of_working_gives_the_same_frames(backend: str, paste_pack: Path, clip: Path, tmp_path: Path) -> None:
    """Batch size, face batch and pipelining: equal planes, with one thread a call."""
    sizes = {"batch": 8, "face_batch": 4, "threads": 1}
    expected = swapped(paste_pack, clip, tmp_path / "a.mp4", backend=backend, pipelined=False, **sizes)
    for pipelined, batch, face_batch in ((True, 8, 4), (True, 1, 1), (False, 3, 16), (True, 7, 3)):
        sizes = {"batch": batch, "face_batch": face_batch, "threads": 1}
        got = swapped(paste_pack, clip, tmp_path / "b.mp4", backend=backend, pipelined=pipelined, **sizes)
        starts = range(0, LENGTH, batch)
        assert got.order == [f"{when} {start}" for start in starts for when in ("before", "after")]
        for frame, wanted in zip(got.planes, expected.planes, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(frame, wanted, strict=True))


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_any_number_of_workers_gives_the_same_frames(backend: str, seeing: Pack, clip: Path, tmp_path: Path) -> None:
    """Every architecture, with one thread a call: equal planes, in order, and each worker in a thread of its own."""
    one, *others = (
        swapped(seeing.path, clip, tmp_path / "a.mp4", backend=backend, threads=workers, workers=workers, batch=2)
        for workers in (1, 2, 3)
    )
    for other in others:
        assert other.order == one.order
        for frame, wanted in zip(other.planes, one.planes, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(frame, wanted, strict=True))


@pytest.mark.parametrize(("workers", "names"), [(1, {"trtswap-swap"}), (2, {"trtswap-swap_0", "trtswap-swap_1"})])
def test_workers_have_threads_of_their_own(
    workers: int, names: set[str], paste_pack: Path, clip: Path, tmp_path: Path
) -> None:
    settled = RuntimeOptions(workers=workers, batch=2, threads=2)
    who = Identity(torch.nn.functional.normalize(torch.ones(112 * 112 * 3), dim=0))
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", runtime=settled) as swapper:
        result = swapper.swap_video(clip, tmp_path / "a.mp4", who, preset="ultrafast")
        assert {span.thread for span in result.spans if span.stage == "swap"} == names
        alone = swapper.swap_video(clip, tmp_path / "b.mp4", who, preset="ultrafast", pipelined=False)
        assert {span.thread for span in alone.spans} == {threading.current_thread().name}


def test_workers_need_cores_to_share(paste_pack: Path) -> None:
    with pytest.raises(InputError, match="workers is 2, but torch on cpu"):
        Swapper(paste_pack, backend="torch", device="cpu", runtime=RuntimeOptions(workers=2))


class Broken:
    """An engine that fails at its third call."""

    def __init__(self, engine: Engine):
        self._engine, self._calls = engine, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def __enter__(self) -> "Broken":
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.close()

    def __call__(self, **tensors: torch.Tensor) -> dict[str, torch.Tensor]:
        self._calls += 1
        if self._calls == 3:
            raise BackendError("the third call failed")
        return self._engine(**tensors)


def _break_reader(patch: pytest.MonkeyPatch) -> None:
    def frames(self: VideoReader) -> Iterator[Frames]:
        yield self._to_batch([next(self._frames)])
        raise ReadError("the second batch failed")

    patch.setattr(VideoReader, "__iter__", frames)


def _break_engine(stage: str) -> Callable[[pytest.MonkeyPatch], None]:
    def broken(spec: Any, **options: Any) -> Any:
        engine = open_engine(spec, **options)
        return Broken(engine) if spec.name == stage else engine

    return lambda patch: patch.setattr("trtswap.backends.runtime.open_engine", broken)


def _break_paste(patch: pytest.MonkeyPatch) -> None:
    def paste(self: Frames, *_: Any) -> None:
        raise MemoryError("no memory to paste")

    patch.setattr(Frames, "paste", paste)


def _break_writer(patch: pytest.MonkeyPatch) -> None:
    def write(self: VideoWriter, frames: Frames) -> None:
        raise WriteError("the disk is full")

    patch.setattr(VideoWriter, "write", write)


FAULTS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], type[Exception]]] = {
    "decode": (_break_reader, ReadError),
    "detect": (_break_engine("detect"), BackendError),
    "swap": (_break_engine("swap"), BackendError),
    "parse": (_break_engine("parse"), BackendError),
    "paste": (_break_paste, MemoryError),
    "encode": (_break_writer, WriteError),
}


@pytest.mark.timeout(240)
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("stage", FAULTS)
def test_a_fault_in_any_stage_ends_the_swap_with_one_error(
    stage: str, workers: int, paste_pack: Path, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaking, kind = FAULTS[stage]
    breaking(monkeypatch)
    settled = RuntimeOptions(batch=2, workers=workers)
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", runtime=settled) as swapper:
        who = Identity(torch.nn.functional.normalize(torch.ones(112 * 112 * 3), dim=0))
        with pytest.raises(kind, match=r"failed|full|no memory"):
            swapper.swap_video(clip, tmp_path / "out.mp4", who, preset="ultrafast")
    assert list(tmp_path.iterdir()) == []
    assert not [t.name for t in threading.enumerate() if t.name.startswith("trtswap-")]


@pytest.mark.gpu
def test_streams_give_the_same_frames_as_one_stream(paste_pack: Path, clip: Path, tmp_path: Path) -> None:
    planes = []
    for pipelined in (False, True):
        keep = _KeepOnHost()
        with Swapper(paste_pack, backend="torch", device="cuda") as swapper:
            who = Identity(torch.nn.functional.normalize(torch.linspace(-1, 1, 112 * 112 * 3), dim=0).cuda())
            swapper.swap_video(clip, tmp_path / f"{pipelined}.mp4", who, pipelined=pipelined, observers=[keep])
        planes.append(keep.planes)
    for one, other in zip(*planes, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


class _KeepOnHost(Keep):
    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        super().after(first_frame, frames.to("cpu"), faces)

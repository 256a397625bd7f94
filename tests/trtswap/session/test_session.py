"""Sessions: frames pushed one by one or in batches, many sessions of one runtime, and what is ready when."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trtswap import Frames, Identity, Runtime, RuntimeOptions, Session, SwapOptions, Swapper
from trtswap.errors import BackendError
from trtswap.video.reader import VideoReader

LENGTH = 20
NOBODY = Identity(torch.nn.functional.normalize(torch.linspace(-1, 1, 112 * 112 * 3), dim=0))


@pytest.fixture(scope="module")
def runtime(paste_pack: Path) -> Iterator[Runtime]:
    with Runtime(paste_pack, backend="onnxruntime", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def frames(data: Path) -> list[Frames]:
    """20 frames of the presenter, one by one."""
    with VideoReader(data / "presenter.mp4", batch_size=1, end=LENGTH / 25) as reader:
        return list(reader)


def fresh(frames: Frames) -> Frames:
    """A copy: a session pastes into what it is given."""
    y, u, v = (p.clone() for p in frames.planes)
    return replace(frames, planes=(y, u, v))


def joined(frames: list[Frames]) -> Frames:
    y, u, v = (torch.cat([f.planes[i] for f in frames]) for i in range(3))
    pts, durations = (sum((getattr(f, name) for f in frames), ()) for name in ("pts", "durations"))
    return replace(frames[0], planes=(y, u, v), pts=pts, durations=durations)


def planes(frames: list[Frames]) -> list[NDArray[np.uint8]]:
    return [p[b].numpy() for f in frames for b in range(len(f)) for p in f.planes]


def test_frames_come_back_in_order_whatever_the_batch(runtime: Runtime, frames: list[Frames]) -> None:
    found = []
    for sizes in ((1,) * LENGTH, (7, 7, 6), (LENGTH,)):
        rest, given = [fresh(f) for f in frames], list[Frames]()
        with Session(runtime, NOBODY) as session:
            for size in sizes:
                given += session.push(joined(rest[:size]))
                del rest[:size]
            given += session.flush()
        assert [pts for f in given for pts in f.pts] == [f.pts[0] for f in frames]
        assert session.faces_per_frame == [1] * LENGTH
        found.append(planes(given))
    for other in found[1:]:
        assert all(np.abs(a.astype(int) - b).max() <= 1 for a, b in zip(found[0], other, strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(found[0], planes(frames), strict=True))


def test_a_frame_is_ready_as_soon_as_enough_is_known(runtime: Runtime, frames: list[Frames]) -> None:
    """With smoothing and filling after 9 frames, without at once; no longer stream is waited for."""
    for options, lag in ((SwapOptions(), 9), (SwapOptions(smooth=0, fill=0), 0), (SwapOptions(smooth=2, fill=0), 2)):
        session = Session(runtime, NOBODY, options)
        ready = [len(session.push(fresh(f))) for f in frames]
        assert ready == [0] * lag + [1] * (LENGTH - lag)
        assert len(session.flush()) == lag


def test_workers_give_the_same_and_do_not_wait_for_more(paste_pack: Path, frames: list[Frames]) -> None:
    options = SwapOptions(smooth=0, fill=0)
    expected: list[Frames] = []
    for workers in (1, 2):
        settled = RuntimeOptions(workers=workers, threads=2)
        with (
            Runtime(paste_pack, backend="onnxruntime", device="cpu", options=settled) as runtime,
            Session(runtime, NOBODY, options) as session,
        ):
            given: list[Frames] = []
            for number, f in enumerate(frames, 1):
                given += session.push(fresh(f))
                assert number - workers <= len(given) <= number
            given += session.flush()
        expected = expected or given
        assert all(np.array_equal(a, b) for a, b in zip(planes(given), planes(expected), strict=True))
    assert not [t.name for t in threading.enumerate() if t.name.startswith("trtswap-")]


def test_sessions_with_options_of_their_own_share_one_runtime(
    runtime: Runtime, frames: list[Frames], data: Path
) -> None:
    """At the same time, in threads; each gets what it gets alone, and nothing is opened for it."""
    choices = [SwapOptions(feather=0.0), SwapOptions(mouth=False), SwapOptions(faces="largest", smooth=0)]

    def run(options: SwapOptions) -> list[Frames]:
        with Session(runtime, NOBODY, options) as session:
            return [*(f for frame in frames for f in session.push(fresh(frame))), *session.flush()]

    alone = [run(options) for options in choices]
    with ThreadPoolExecutor(3) as pool:
        together = list(pool.map(run, choices))
    for one, other in zip(alone, together, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(planes(one), planes(other), strict=True))
    with Swapper(runtime=runtime) as first, Swapper(runtime=runtime, options=SwapOptions(smooth=0)) as second:
        assert first.engines is second.engines is runtime.engines
        who = first.identity(data / "astronaut.png")
    pictures = np.zeros((1, 64, 64, 3), np.uint8)
    assert Swapper(runtime=runtime).swap(pictures, who).shape == (1, 64, 64, 3)  # closing a Swapper left it open


def test_a_request_may_bring_options_of_its_own(runtime: Runtime, data: Path) -> None:
    with VideoReader(data / "presenter.mp4", batch_size=1) as reader:
        picture = next(iter(reader)).rgb(0)[None]
    swapper = Swapper(runtime=runtime)
    who = swapper.identity(data / "astronaut.png")
    plain, hard = swapper.swap(picture, who), swapper.swap(picture, who, options=SwapOptions(feather=0.0))
    assert not torch.equal(plain, hard)
    assert torch.equal(Swapper(runtime=runtime, options=SwapOptions(feather=0.0)).swap(picture, who), hard)


def test_a_session_without_people_changes_nothing(runtime: Runtime, frames: list[Frames]) -> None:
    session = Session(runtime, None, SwapOptions(smooth=0, fill=0))
    given = [g for f in frames[:3] for g in session.push(fresh(f))]
    assert all(np.array_equal(a, b) for a, b in zip(planes(given), planes(frames[:3]), strict=True))
    assert session.faces_per_frame == [0, 0, 0]


def test_engines_that_cannot_be_opened_leave_none_open(paste_pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from trtswap.backends import runtime as module

    closed: list[str] = []
    before = module.open_engine

    def open_(spec: object, **options: object) -> object:
        if spec.name == "swap":  # type: ignore[attr-defined]
            raise BackendError("no swap today")
        engine = before(spec, **options)  # type: ignore[arg-type]
        monkeypatch.setattr(engine, "close", lambda: closed.append(engine.file.name))  # type: ignore[attr-defined]
        return engine

    monkeypatch.setattr(module, "open_engine", open_)
    with pytest.raises(BackendError, match="no swap today"):
        Runtime(paste_pack, backend="onnxruntime", device="cpu")
    assert sorted(closed) == ["detect.onnx", "identify.onnx", "parse.onnx"]

"""Sessions: frames pushed one by one or in batches, many sessions of one runtime, and what is ready when."""

import re
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from trtswap import Frames, Identity, Observer, Runtime, RuntimeOptions, Session, SwapOptions, Swapper
from trtswap.errors import BackendError, InputError, SessionError
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
        assert (session.frames, session.faces_swapped) == (LENGTH, LENGTH)
        found.append(planes(given))
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))
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
    assert (session.frames, session.faces_swapped) == (3, 0)


@pytest.mark.parametrize("every", [1, 3])
def test_a_large_batch_is_worked_on_in_parts(every: int, paste_pack: Path, frames: list[Frames], data: Path) -> None:
    """However many frames are given at once, no more than ``batch`` are searched; the results are the same."""
    seen: list[int] = []

    class Watch(Observer):
        def ran(self, stage: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
            if stage == "detect":
                seen.append(len(inputs["images"]))

    options, found = SwapOptions(detect_every=every), []
    for batch in (3, LENGTH):
        settled = RuntimeOptions(batch=batch)
        with Runtime(paste_pack, backend="onnxruntime", device="cpu", options=settled) as runtime:
            swapper = Swapper(runtime=runtime, options=options)
            session = swapper.session(NOBODY, observers=[Watch()])
            found.append(planes([*session.push(joined([fresh(f) for f in frames])), *session.flush()]))
            assert 0 < max(seen) <= -(-batch // every)
            pictures = torch.stack([f.rgb(0) for f in frames])
            out = swapper.swap(pictures, NOBODY, observers=[Watch()])
            assert out.shape == pictures.shape
            assert not torch.equal(out, pictures)
            assert swapper.detect(pictures).frame_index.tolist() == list(range(LENGTH))
            assert max(seen) == batch
            seen.clear()
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_a_session_that_has_ended_takes_no_more(runtime: Runtime, frames: list[Frames]) -> None:
    ended, closed = Session(runtime, NOBODY), Session(runtime, NOBODY)
    ended.push(fresh(frames[0]))
    assert len(ended.flush()) == 1
    closed.close()
    for session in (ended, closed):
        with pytest.raises(SessionError, match="has ended, so that it takes no more frames"):
            session.push(fresh(frames[1]))
    with pytest.raises(SessionError, match="has ended"):
        ended.flush()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_session_that_has_failed_says_so(
    workers: int, paste_pack: Path, frames: list[Frames], monkeypatch: pytest.MonkeyPatch
) -> None:
    settled = RuntimeOptions(workers=workers)
    with (
        Runtime(paste_pack, backend="onnxruntime", device="cpu", options=settled) as runtime,
        Session(runtime, NOBODY, SwapOptions(smooth=0, fill=0)) as session,
    ):
        with monkeypatch.context() as patch:
            patch.setattr(type(session._pipeline), "make", _broken)
            with pytest.raises(BackendError, match="the GPU fell off"):
                [session.push(fresh(frame)) for frame in frames[:4]]
        said = r"cannot go on: it failed before \(BackendError: the GPU fell off\)"
        for again in (lambda: session.push(fresh(frames[4])), session.flush):
            with pytest.raises(SessionError, match=said):
                again()


def _broken(*_: object) -> None:
    raise BackendError("the GPU fell off.")


def test_the_detector_is_prepared_for_as_many_frames_as_it_gets(runtime: Runtime) -> None:
    asked: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(runtime.engines["detect"]), "prepare", lambda self, images: asked.append(images[0]))
        for every in (1, 3, 8):
            Session(runtime, None, SwapOptions(detect_every=every)).prepare((640, 360), 4)
    assert [set(asked[:1]), set(asked[1:3]), set(asked[3:])] == [{4}, {1, 2}, {1}]


def test_what_an_opened_runtime_has_decided_is_not_said_again(runtime: Runtime, paste_pack: Path) -> None:
    for given in ({"pack": paste_pack}, {"backend": "torch"}, {"device": "cpu"}, {"threads": 2}):
        with pytest.raises(InputError, match="the runtime is opened and has decided these"):
            Swapper(runtime=runtime, **given)
    with pytest.raises(InputError, match="threads is 2, but 1 in runtime; expected one of them"):
        Swapper(paste_pack, threads=2, runtime=RuntimeOptions(threads=1))


@pytest.mark.parametrize(
    ("kind", "given", "words"),
    [
        (SwapOptions, {"smooth": 2.5}, "smooth is 2.5, expected a whole number"),
        (SwapOptions, {"detect_every": 1.5}, "detect_every is 1.5, expected a whole number"),
        (SwapOptions, {"fill": True}, "fill is True, expected a whole number"),
        (SwapOptions, {"mouth": 1}, "mouth is 1, expected True or False"),
        (SwapOptions, {"feather": "0.1"}, "feather is '0.1', expected a number"),
        (SwapOptions, {"feather": float("nan")}, "feather is nan, expected 0 to 0.25"),
        (RuntimeOptions, {"batch": 2.0}, "batch is 2.0, expected a whole number"),
        (RuntimeOptions, {"restore": None}, "restore is None, expected True or False"),
    ],
)
def test_options_of_the_wrong_kind(kind: type, given: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        kind(**given)
    assert SwapOptions(smooth=np.int64(3), feather=np.float32(0.1)).smooth == 3  # type: ignore[arg-type]


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
    assert sorted(closed) == ["detect.onnx", "identify.onnx", "landmarks.onnx", "occlude.onnx", "parse.onnx"]


@pytest.mark.parametrize(
    ("who", "words"),
    [
        ([NOBODY], "who holds Identity; expected pairs"),
        ([(NOBODY,)], "who holds tuple; expected pairs"),
        ([(NOBODY, "face.png")], "who holds tuple; expected pairs"),
        ("face.png", "who is a str; expected an Identity"),
        (3, "who is a int"),
        ([], "who is an empty list"),
    ],
)
def test_what_is_nobody(who: object, words: str, runtime: Runtime) -> None:
    with pytest.raises(InputError, match=words):
        Session(runtime, who)  # type: ignore[arg-type]


def test_no_frames_at_all(runtime: Runtime) -> None:
    with pytest.raises(InputError, match="expected uint8 RGB"):
        Swapper(runtime=runtime).swap(np.zeros((0, 64, 64, 3), np.uint8), NOBODY)
    for wrong in ({"threads": 10_000}, {"workers": 65}):
        with pytest.raises(InputError, match="expected 1 to"):
            RuntimeOptions(**wrong)

"""Inside somebody's service: arrays without copies, threads, asyncio, and processes that are forked or spawned."""

import asyncio
import gc
import multiprocessing
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from trtswap import Identity, Observer, Runtime, RuntimeOptions, Session, SwapOptions, Swapper
from trtswap.errors import BackendError, InputError
from trtswap.packs import find_pack, sample_sources
from trtswap.video.opening import open_reader

from ..trt_emulator.machine import HostGpu, Machine

FACE = sample_sources("avatar")[0]
AT_ONCE = SwapOptions(smooth=0, fill=0)
Pictures = NDArray[np.uint8]


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    """uint8 RGB [3, 720, 1280, 3] of the clip of the pack avatar."""
    with open_reader(find_pack("avatar") / "samples" / "clip.mp4", batch=1) as reader:
        return np.stack([frame.rgb(0).numpy() for i, frame in enumerate(reader) if i in {0, 40, 80}])


@pytest.fixture(scope="module")
def swapper() -> Iterator[Swapper]:
    with Swapper("avatar", backend="onnxruntime", device="cpu") as swapper:
        yield swapper


@pytest.fixture(scope="module")
def who(swapper: Swapper) -> Identity:
    return swapper.identity(FACE)


@pytest.fixture(scope="module")
def swapped(swapper: Swapper, who: Identity, pictures: Pictures) -> Pictures:
    out: Pictures = swapper.swap(pictures, who)
    assert (out != pictures).any((1, 2, 3)).all()
    return out


class Foreign:
    """Speaks DLPack and nothing else."""

    def __init__(self, array: Pictures) -> None:
        self.__dlpack__, self.__dlpack_device__ = array.__dlpack__, array.__dlpack_device__


def test_frames_are_swapped_in_place(swapper: Swapper, who: Identity, pictures: Pictures, swapped: Pictures) -> None:
    for wrap in (np.asarray, torch.from_numpy, Foreign):
        memory = pictures.copy()
        frames = wrap(memory)
        assert swapper.swap(frames, who, out=frames) is frames
        assert np.array_equal(memory, swapped)
    wide = np.pad(pictures, ((0, 0), (3, 2), (5, 4), (0, 0)))  # a part of a larger picture, nothing of which changes
    inside = wide[:, 3:-2, 5:-4]
    swapper.swap(inside, who, out=inside)
    assert np.array_equal(wide, np.pad(swapped, ((0, 0), (3, 2), (5, 4), (0, 0))))


def test_swapped_frames_go_where_they_are_wanted(
    swapper: Swapper, who: Identity, pictures: Pictures, swapped: Pictures
) -> None:
    before, out = pictures.copy(), torch.zeros(3, 3, 720, 1280, dtype=torch.uint8).permute(0, 2, 3, 1)
    assert swapper.swap(list(before), who, out=out) is out
    assert np.array_equal(out.numpy(), swapped)
    assert np.array_equal(before, pictures)
    row = np.concatenate([pictures, pictures[:1]])  # to the next place of the same array
    assert np.array_equal(swapper.swap(row[:-1], who, out=row[1:]), swapped)


def test_where_nothing_can_be_written_is_said(swapper: Swapper, who: Identity, pictures: Pictures) -> None:
    fixed = pictures.copy()
    fixed.flags.writeable = False
    for out, words in (
        (fixed, "it is read-only"),
        (pictures[:, ::-1], "its strides are negative"),
        (list(pictures), "pictures of a list lie apart"),
        (np.broadcast_to(pictures[:1], pictures.shape), "it is read-only"),
        (torch.zeros(1, 720, 1280, 3, dtype=torch.uint8).expand(3, -1, -1, -1), "its pixels share their memory"),
        (np.zeros((3, 720, 1280, 3), np.float32), "expected uint8 RGB"),
        (np.zeros((2, 720, 1280, 3), np.uint8), r"out is \[2, 720, 1280, 3\], but frames are \[3, 720, 1280, 3\]"),
    ):
        with pytest.raises(InputError, match=words):
            swapper.swap(pictures, who, out=out)


def test_a_stream_of_arrays_is_swapped_in_its_own_memory(
    swapper: Swapper, who: Identity, pictures: Pictures, swapped: Pictures
) -> None:
    memory = pictures.copy()
    with swapper.session(who, options=AT_ONCE) as session:
        for number, picture in enumerate(memory):
            (ready,) = session.push(picture[None])
            assert ready.pictures().numpy().ctypes.data == picture.ctypes.data
            assert np.array_equal(picture, swapped[number])
        copied = session.push([pictures[0]])[0].pictures()
        with pytest.raises(InputError, match="images are a str"):
            session.push("a frame")  # is no failure of the stream
        assert not session.flush()
    assert np.array_equal(copied[0], swapped[0])


def test_frames_of_a_decoder_are_pictures_too() -> None:
    with open_reader(find_pack("avatar") / "samples" / "clip.mp4", batch=2) as reader:
        frames = next(iter(reader))
    assert torch.equal(frames.pictures(), torch.stack([frames.rgb(0), frames.rgb(1)]))


def test_workers_take_frames_from_the_caller_s_stream(
    who: Identity, pictures: Pictures, swapped: Pictures, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a GPU each thread queues on a stream of its own, and one waits for the other."""
    machine, seen = Machine(), list[Any]()
    gpu = HostGpu(machine)
    with Runtime("avatar", backend="onnxruntime", device="cpu", options=RuntimeOptions(workers=2)) as runtime:
        monkeypatch.setattr("trtswap.backends.device._DEVICES", {None: gpu})
        callers, place = gpu.new_stream(), gpu.lane("swap").stream
        with gpu.on(callers), Session(runtime, who, AT_ONCE) as session:
            make = session._pipeline.make
            monkeypatch.setattr(session._pipeline, "make", lambda *a: (seen.append(gpu.current_stream()), make(*a))[1])
            memory = pictures.copy()
            given = [*session.push(memory[:1]), *session.push(memory[1:2]), *session.push(memory[2:]), *session.flush()]
    assert len(given) == len(seen) == 3
    assert set(seen) == {place}
    assert np.array_equal(memory, swapped)
    assert callers.cuda_stream in place.waited_for
    assert callers.waited_for.count(place.cuda_stream) >= 3


def test_threads_share_a_swapper(swapper: Swapper, who: Identity, pictures: Pictures, swapped: Pictures) -> None:
    def swap(number: int) -> bool:
        one = number % 3
        same = torch.equal(swapper.identity(FACE).latent, who.latent) if number % 4 == 0 else True
        return same and np.array_equal(swapper.swap(pictures[one : one + 1], who), swapped[one : one + 1])

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(swap, range(24)))


def test_requests_of_asyncio_leave_the_loop_free(
    swapper: Swapper, who: Identity, pictures: Pictures, swapped: Pictures
) -> None:
    """Meanwhile the loop turns; one request is called off by its observer."""

    class CalledOff(Observer):
        def before(self, *_: Any) -> None:
            raise asyncio.CancelledError

    async def serve() -> tuple[list[Pictures], BaseException, int]:
        turns, done = 0, False

        async def beat() -> None:
            nonlocal turns
            while not done:
                await asyncio.sleep(0.002)
                turns += 1

        beating = asyncio.create_task(beat())
        requests = [asyncio.to_thread(swapper.swap, pictures[i : i + 1], who) for i in range(3)]
        off = asyncio.to_thread(swapper.swap, pictures[:1], who, observers=[CalledOff()])
        *made, error = await asyncio.gather(*requests, off, return_exceptions=True)
        done = True
        await beating
        return made, error, turns

    start = time.perf_counter()
    made, error, turns = asyncio.run(serve())
    assert np.array_equal(np.concatenate(made), swapped)
    assert isinstance(error, asyncio.CancelledError)
    assert turns > 10 * (time.perf_counter() - start)


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_processes_that_are_started_afresh(method: str, pictures: Pictures, tmp_path: Path) -> None:
    Image.fromarray(pictures[0]).save(tmp_path / "frame.png")
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("spawned.py"), method, FACE, tmp_path / "frame.png"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "changed True, same True"


def test_what_is_open_is_not_sent_to_a_process(swapper: Swapper, who: Identity) -> None:
    for thing in (swapper, swapper.runtime, swapper.session(who)):
        with pytest.raises(InputError, match="cannot be sent to another process"):
            pickle.dumps(thing)


def _in_a_fork(answers: Any, given: dict[str, Any], pictures: Pictures, backend: str) -> None:
    who = given["who"]
    uses = (
        lambda: given["swapper"].swap(pictures, who),
        lambda: given["swapper"].detect(pictures),
        lambda: given["swapper"].identity(FACE),
        lambda: given["session"].push(pictures),
        lambda: given["swapper"].engines["swap"](faces=torch.zeros(1)),
    )
    for use in uses:
        try:
            use()
            answers.put("used")
        except BackendError as error:
            answers.put(str(error))
    del uses
    given["swapper"].close()
    given.clear()
    gc.collect()  # destroys nothing that has threads
    torch.set_num_threads(1)
    with Swapper("avatar", backend=backend) as own:
        answers.put(own.swap(pictures, who))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forks here")
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino", "torch"])
def test_a_fork_opens_engines_of_its_own(backend: str, pictures: Pictures) -> None:
    """It is told so when it uses its parent's, and neither using nor leaving them hangs."""
    threads = torch.get_num_threads()
    with Swapper("avatar", backend=backend, device="cpu", threads=None if backend == "torch" else 2) as mine:
        who = mine.identity(FACE)
        torch.set_num_threads(1)  # the same sums in both processes
        wanted = mine.swap(pictures[:1], who)
        torch.set_num_threads(threads)
        given = {"swapper": mine, "who": who, "session": mine.session(who)}
        context = multiprocessing.get_context("fork")
        answers = context.Queue()
        child = context.Process(target=_in_a_fork, args=(answers, given, pictures[:1], backend))
        child.start()
        *told, made = [answers.get(timeout=60) for _ in range(6)]
        child.join(60)
        assert child.exitcode == 0
        assert all("was forked from it" in answer for answer in told), told
        assert np.array_equal(made, wanted)
        assert np.array_equal(mine.swap(pictures[:1], who).shape, wanted.shape)  # the parent goes on

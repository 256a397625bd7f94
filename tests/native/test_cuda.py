"""Frames in the memory of a GPU: emulated over the real ONNX Runtime, since no GPU is here (gpu_emulator.cpp)."""

import ctypes
import os
import shutil
from collections.abc import Callable, Iterator
from ctypes import byref, c_char_p, c_size_t, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from trtswap.packs import find_pack, sample_sources
from trtswap.video.opening import open_reader

from ..conftest import unavailable
from .conftest import HEADERS, ROOT, run
from .library import ARGUMENT, RUNTIME, Failed, Image, Library, StreamOptions, image

HERE = Path(__file__).parent
CUDA, STREAM = 1, 0x5150
Pixels = NDArray[np.uint8]


@pytest.fixture(scope="module")
def toolkit() -> Path:
    """The folder of cuda.h."""
    nvcc = shutil.which("nvcc")
    places = [*([Path(nvcc).resolve().parents[1]] if nvcc else []), *Path("/usr/local").glob("cuda*")]
    found = next((place / "include" for place in places if (place / "include" / "cuda.h").is_file()), None)
    return found or unavailable("CUDA's header cuda.h is not here: its toolkit has it")


class Gpu:
    """Its memory, and what was asked of it."""

    def __init__(self, emulator: ctypes.CDLL) -> None:
        self.c = emulator
        self.c.emulated_allocate.restype = self.c.emulated_notes.restype = c_void_p
        self.c.emulated_allocations.restype = c_size_t

    def upload(self, rows: Pixels, stride: int) -> int:
        """The address of rows [H, n], which lie a stride apart there, 0 in between."""
        place: int = self.c.emulated_allocate(c_size_t(len(rows) * stride))
        self._touch(place, stride, rows, lambda there: there.__setitem__((slice(None), slice(rows.shape[1])), rows))
        return place

    def download(self, place: int, stride: int, like: Pixels) -> Pixels:
        """All bytes of the rows, gaps too."""
        got = list[Pixels]()
        self._touch(place, stride, like, lambda there: got.append(there.copy()))
        return got[0]

    def _touch(self, place: int, stride: int, rows: Pixels, work: Callable[[Pixels], Any]) -> None:
        self.c.emulated_open(1)
        bytes_of = (ctypes.c_uint8 * (len(rows) * stride)).from_address(place)
        work(np.ctypeslib.as_array(bytes_of).reshape(len(rows), stride))
        self.c.emulated_open(-1)

    def notes(self) -> list[str]:
        return ctypes.string_at(self.c.emulated_notes()).decode().splitlines()


@pytest.fixture(scope="module")
def gpu(toolkit: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gpu]:
    folder = tmp_path_factory.mktemp("emulated")
    source, flags = HERE / "gpu_emulator.cpp", ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O1")
    if not (HEADERS / "onnxruntime_c_api.h").is_file():
        unavailable(f"ONNX Runtime's headers are not in {HEADERS}: native/headers.sh gets them")
    for name, options in (
        ("libonnxruntime_emulated.so", ("-ldl",)),
        ("libcuda.so.1", ("-DCUDA_DRIVER", "-L", folder, "-lonnxruntime_emulated", f"-Wl,-rpath,{folder}")),
    ):
        run("g++", *flags, "-I", HEADERS, "-I", toolkit, source, "-o", folder / name, f"-Wl,-soname,{name}", *options)
    (real,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
    os.environ["EMULATED_ONNXRUNTIME"] = str(real)
    emulator = ctypes.CDLL(str(folder / "libonnxruntime_emulated.so"), ctypes.RTLD_GLOBAL)
    ctypes.CDLL(str(folder / "libcuda.so.1"), ctypes.RTLD_GLOBAL)  # found by its name from now on
    emulator.folder = folder
    yield Gpu(emulator)
    del os.environ["EMULATED_ONNXRUNTIME"]


@pytest.fixture(scope="module")
def library(gpu: Gpu, build: Callable[..., Path]) -> Library:
    runtime = gpu.c.folder / "libonnxruntime_emulated.so"
    return Library(build("emulated", f"-DONNXRUNTIME_LIBRARY={runtime}") / "lib" / "libtrtswap.so")


@pytest.fixture(scope="module")
def frame() -> Pixels:
    with open_reader(find_pack("avatar") / "samples" / "clip.mp4", batch=1) as reader:
        return next(iter(reader)).rgb(0).numpy()


def opened(library: Library, folder: Path, **options: Any) -> c_void_p:
    providers = (c_char_p * 1)(b"cuda")
    return library.opened(folder, threads=1, providers=providers, provider_count=1, **options)


def person_of(library: Library, graphs: c_void_p) -> c_void_p:
    return library.person(graphs, np.asarray(Pictures.open(sample_sources("avatar")[0]).convert("RGB")).copy())


def on_gpu(gpu: Gpu, rows: Pixels, stride: int) -> Image:
    """A frame [H, W, 3] there."""
    height, width, _ = rows.shape
    place = gpu.upload(rows.reshape(height, -1), stride)
    return Image(width=width, height=height, planes=(c_void_p * 3)(place), strides=(c_size_t * 3)(stride), memory=CUDA)


def swapped_on_host(library: Library, graphs: c_void_p, frame: Pixels) -> Pixels:
    made = np.zeros_like(frame)
    faces = library.found(graphs, image(frame, width=1280, height=720))
    given, out = image(frame, width=1280, height=720), image(made, width=1280, height=720)
    library.swapped(graphs, given, out, faces, [person_of(library, graphs)] * len(faces))
    return made


def test_the_driver_is_called_as_its_header_says(toolkit: Path) -> None:
    run(
        "g++", "-std=c++17", "-fsyntax-only", "-I", toolkit, "-I", ROOT / "native" / "include", HERE / "cuda_layout.cpp"
    )


@pytest.mark.parametrize("stride", [3840, 4096])
@pytest.mark.parametrize("stream", [None, STREAM])
def test_frames_on_the_gpu_become_what_they_become_on_the_host(
    stride: int, stream: int | None, library: Library, gpu: Gpu, embedded: Path, frame: Pixels
) -> None:
    gpu.notes()
    graphs = opened(library, embedded, device=2, cuda_stream=stream)
    settled = gpu.notes()
    assert settled.count("device_id=2") == settled.count("use_tf32=0") == 3
    assert settled.count(f"user_compute_stream={STREAM}") == (3 if stream else 0)
    assert "memory of GPU 2" in settled
    wanted = swapped_on_host(library, graphs, frame)
    assert (wanted != frame).any()
    gpu.notes()
    held, given = gpu.c.emulated_allocations(), on_gpu(gpu, frame, stride)
    faces, found = library.found(graphs, given), gpu.notes()
    out = on_gpu(gpu, np.zeros_like(frame), stride)
    library.swapped(graphs, given, out, faces, [person_of(library, graphs)] * len(faces))
    notes = gpu.notes()
    for target in (out, given):
        if target is given:  # in place
            library.swapped(graphs, given, given, faces, [person_of(library, graphs)] * len(faces))
        there = gpu.download(target.planes[0], stride, frame.reshape(720, -1))
        assert np.array_equal(there[:, :3840].reshape(frame.shape), wanted)
        assert not there[:, 3840:].any()
    before = [f"copy on {stream or 0}"] if stride != 3840 else []
    if stream:
        queued = ["disable_synchronize_execution_providers=1"]
        assert found == [*before, "run"]  # who reads what was found on the host waits for it
        assert notes[-len(before) - 3 :] == [*before, *queued, "run", f"copy on {STREAM}"]
    else:
        assert found == [*before, "wait for 0", "run"]
        assert notes[-len(before) - 4 :] == [*before, "wait for 0", "run", "copy on 0", "wait for 0"]
    for taken in (given, out):
        gpu.c.emulated_free(c_void_p(taken.planes[0]))
    assert gpu.c.emulated_allocations() == held
    library.close(graphs)


@pytest.mark.parametrize("stream_of", [None, STREAM])
def test_a_frame_goes_from_the_host_to_the_gpu_and_back(
    stream_of: int | None, library: Library, gpu: Gpu, embedded: Path, frame: Pixels
) -> None:
    graphs = opened(library, embedded, cuda_stream=stream_of)
    wanted, host = swapped_on_host(library, graphs, frame), image(frame, width=1280, height=720)
    faces, who = library.found(graphs, host), person_of(library, graphs)
    there, back = on_gpu(gpu, np.zeros_like(frame), 4096), np.zeros_like(frame)
    library.swapped(graphs, host, there, faces, [who] * len(faces))
    library.swapped(graphs, there, image(back, width=1280, height=720), faces, [None] * len(faces))  # only copied
    assert np.array_equal(back, wanted)
    assert gpu.notes()[-2:] == [f"copy on {stream_of or 0}", f"wait for {stream_of or 0}"]
    stream, sources = c_void_p(), (c_void_p * 1)(who)
    options = StreamOptions(sources=sources, source_count=1, steadiness=-1, min_face=-1, similarity=-2, hold=-1)
    library.stream_open(graphs, byref(options), byref(stream))
    given = on_gpu(gpu, frame, 3840)
    library.stream_swap(stream, byref(given), byref(given), None, None)
    assert (gpu.download(given.planes[0], 3840, frame.reshape(720, -1)).reshape(frame.shape) != frame).any()


def test_planes_of_nv12_lie_on_the_gpu(library: Library, gpu: Gpu, embedded_planes: Path, frame: Pixels) -> None:
    graphs = opened(library, embedded_planes)
    y, uv = frame[..., 1].copy(), np.full((360, 1280), 128, np.uint8)
    host = image(y, uv, width=1280, height=720)
    strides = (1536, 1280)
    places = [gpu.upload(plane, stride) for plane, stride in zip((y, uv), strides, strict=True)]
    given = Image(width=1280, height=720, planes=(c_void_p * 3)(*places), strides=(c_size_t * 3)(*strides), memory=CUDA)
    faces, who = library.found(graphs, given), person_of(library, graphs)
    assert [face.score for face in faces] == [face.score for face in library.found(graphs, host)] != []
    library.swapped(graphs, given, given, faces, [who] * len(faces))
    library.swapped(graphs, host, host, faces, [who] * len(faces))
    for place, stride, plane in zip(places, strides, (y, uv), strict=True):
        assert np.array_equal(gpu.download(place, stride, plane)[:, :1280], plane)


def test_misuse_of_memory_is_said(
    library: Library, gpu: Gpu, embedded: Path, frame: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    graphs, on_cpu = opened(library, embedded), library.opened(embedded, threads=1)
    given, host = on_gpu(gpu, frame, 4096), image(frame, width=1280, height=720)
    with pytest.raises(Failed, match=r"frame\.memory is TRTSWAP_CUDA, but the graphs run on cpu") as told:
        library.found(on_cpu, given)
    assert told.value.status == ARGUMENT
    host.memory = 3
    with pytest.raises(Failed, match=r"frame\.memory is 3, expected TRTSWAP_HOST or TRTSWAP_CUDA"):
        library.found(graphs, host)
    host.memory = CUDA
    with pytest.raises(Failed, match="a tensor is not where it is said to be"):
        library.found(graphs, host)
    with pytest.raises(Failed, match=r"options\.device is -1, expected 0 or more"):
        opened(library, embedded, device=-1)
    picture = c_void_p()
    with pytest.raises(Failed, match=r"pictures\.memory is 1, expected TRTSWAP_HOST"):
        library.person_of_pictures(graphs, byref(given), c_size_t(1), byref(picture))
    monkeypatch.setenv("EMULATED_FAULT", "1")
    with pytest.raises(Failed, match="CUDA cannot copy a frame: CUDA_ERROR_INVALID_CONTEXT") as told:
        library.found(graphs, given)
    assert told.value.status == RUNTIME

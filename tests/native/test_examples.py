"""The examples, and a program of somebody else's: built as the documents say, and run on the pack avatar."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from trtswap.packs import find_pack, sample_sources
from trtswap.video.opening import open_reader

from ..conftest import unavailable
from ..export.embed.running import Graphs
from .conftest import HEADERS, ROOT, run

CLIP = find_pack("avatar") / "samples" / "clip.mp4"


@pytest.fixture(scope="module")
def frames() -> NDArray[np.uint8]:
    """uint8 RGB [4, 720, 1280, 3]."""
    with open_reader(CLIP, batch=1) as reader:
        return np.stack([frame.rgb(0).numpy() for i, frame in enumerate(reader) if i % 12 == 0 and i < 48])


@pytest.fixture
def face(tmp_path: Path) -> Path:
    Image.open(sample_sources("avatar")[0]).convert("RGB").save(tmp_path / "face.ppm")
    return tmp_path / "face.ppm"


def piped(program: Path, *arguments: object, given: bytes) -> bytes:
    done = subprocess.run([program, *map(str, arguments)], input=given, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def of_graphs(folder: Path, frames: NDArray[np.uint8], latent: NDArray[np.float32]) -> NDArray[np.uint8]:
    graphs = Graphs(folder)
    return np.concatenate([graphs.swap({"frames": frame[None]}, latent)["frames"] for frame in frames])


def latent_of(folder: Path, face: Path) -> NDArray[np.float32]:
    return Graphs(folder).latent(np.asarray(Image.open(face)))


def test_frames_through_a_pipe_are_those_of_the_graphs(
    examples: Path, embedded: Path, frames: NDArray[np.uint8], face: Path
) -> None:
    made = piped(examples / "swap_frames", embedded, face, 1280, 720, given=frames.tobytes())
    wanted = of_graphs(embedded, frames, latent_of(embedded, face))
    found = np.frombuffer(made, np.uint8).reshape(frames.shape)
    far = np.abs(found.astype(int) - wanted)
    assert far.max() <= 1  # slots without a face do not run here
    assert (far > 0).mean() < 1e-4
    assert (found != frames).any()


def test_a_picture(examples: Path, embedded: Path, frames: NDArray[np.uint8], face: Path, tmp_path: Path) -> None:
    Image.fromarray(frames[2]).save(tmp_path / "in.ppm")
    assert run(examples / "swap_picture", embedded, face, tmp_path / "in.ppm", tmp_path / "out.ppm") == "2 faces\n"
    assert (np.asarray(Image.open(tmp_path / "out.ppm")) != frames[2]).any()
    for wrong in ("face.ppm", "nothing.ppm"):
        done = subprocess.run(
            [examples / "swap_picture", embedded, face, tmp_path / wrong, tmp_path / "o.ppm"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "expected" in done.stderr or "graphs take" in done.stderr or "no PPM" in done.stderr


def test_c(examples: Path, embedded: Path, frames: NDArray[np.uint8]) -> None:
    lines = piped(examples / "find_faces", embedded, 1280, 720, given=frames[2].tobytes()).decode().splitlines()
    assert len(lines) == 2
    assert all("score 0." in line for line in lines)


def test_node_runs_the_graphs_alone(
    examples: Path, embedded: Path, frames: NDArray[np.uint8], face: Path, tmp_path: Path
) -> None:
    """With its own ONNX Runtime, and nothing of trtswap: what the library makes, bit by bit."""
    if shutil.which("npm") is None:
        unavailable("npm is not installed")
    shutil.copy(ROOT / "examples" / "node" / "swap.mjs", tmp_path)
    run("npm", "install", "--silent", "--ignore-scripts", "onnxruntime-node@1.30.0", cwd=tmp_path)
    picture, source = np.asarray(Image.open(face)), np.zeros((720, 1280, 3), np.uint8)
    source[: picture.shape[0], : picture.shape[1]] = picture
    (tmp_path / "face.rgb").write_bytes(source.tobytes())
    (tmp_path / "frame.rgb").write_bytes(frames[2].tobytes())
    said = run("node", "swap.mjs", embedded, "face.rgb", "frame.rgb", "out.rgb", cwd=tmp_path)
    assert said == "2 faces\n"
    made = piped(examples / "swap_frames", embedded, face, 1280, 720, given=frames[2].tobytes())
    far = np.abs(
        np.frombuffer((tmp_path / "out.rgb").read_bytes(), np.uint8).astype(int) - np.frombuffer(made, np.uint8)
    )
    assert far.max() <= 1  # another ONNX Runtime
    assert (far > 0).mean() < 1e-4


def test_a_project_builds_the_library_of_the_wheel(
    build: Callable[..., Path], embedded: Path, tmp_path: Path, frames: NDArray[np.uint8], face: Path
) -> None:
    """As docs/embedding.md says, in an empty folder."""
    runtime = build().parent / "runtime"
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.20)\nproject(mine CXX)\nfind_package(trtswap REQUIRED)\n"
        "add_executable(mine main.cpp)\ntarget_link_libraries(mine PRIVATE trtswap::trtswap)\n"
    )
    (tmp_path / "main.cpp").write_text(
        "#include <cstdio>\n#include <trtswap.hpp>\n#include <vector>\n"
        "int main(int, char** argv) {\n"
        "    trtswap::Graphs graphs(argv[1]);\n"
        "    std::vector<unsigned char> frame(1280 * 720 * 3);\n"
        "    if (std::fread(frame.data(), 1, frame.size(), stdin) != frame.size()) return 1;\n"
        "    const trtswap::Image image(1280, 720, frame.data());\n"
        "    const auto faces = graphs.find(image);\n"
        "    graphs.swap(image, image, faces, graphs.person(image, faces.front()));\n"
        "    std::fwrite(frame.data(), 1, frame.size(), stdout);\n"
        "}\n"
    )
    folder = run(shutil.which("trtswap") or ROOT / ".venv/test/bin/trtswap", "config", "--cmake-dir").strip()
    run(
        "cmake", "-S", tmp_path, "-B", tmp_path / "build", f"-Dtrtswap_DIR={folder}",
        f"-DONNXRUNTIME_INCLUDE={HEADERS}", f"-DONNXRUNTIME_LIBRARY={runtime}/libonnxruntime.so",
    )  # fmt: skip
    run("cmake", "--build", tmp_path / "build", "-j2")
    made = np.frombuffer(piped(tmp_path / "build" / "mine", embedded, given=frames[0].tobytes()), np.uint8)
    graphs = Graphs(embedded)
    found = graphs.run("find", frames=frames[:1])
    one = {name: found[name][:, :1] for name in ("landmarks", "points")}
    latents = graphs.run("identify", frames=frames[:1], **one)["latents"]
    wanted = graphs.run(
        "swap", frames=frames[:1], **one, latents=latents, strengths=np.ones((1, 1), np.float32),
        window=np.zeros(int(found["sides"].max()), np.float32),
    )["swapped_frames"]  # fmt: skip
    assert (made.reshape(frames[0].shape) == wanted[0]).all()


def test_nothing_is_wrong_with_its_memory(
    build: Callable[..., Path], embedded: Path, tmp_path: Path, frames: NDArray[np.uint8], face: Path
) -> None:
    """AddressSanitizer and UndefinedBehaviorSanitizer watch a whole swap, of several threads."""
    installed = build("sanitized", "-DTRTSWAP_SANITIZE=address,undefined")
    run(
        "cmake", "-S", ROOT / "examples" / "cpp", "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={installed}",
        "-DCMAKE_CXX_FLAGS=-fsanitize=address,undefined -g",
    )  # fmt: skip
    run("cmake", "--build", tmp_path, "--target", "swap_frames", "-j2")
    done = subprocess.run(
        [tmp_path / "swap_frames", embedded, face, "1280", "720"], input=frames.tobytes(), capture_output=True,
        check=False, env={**os.environ, "ASAN_OPTIONS": "detect_leaks=1", "UBSAN_OPTIONS": "halt_on_error=1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    assert done.stderr == b""
    assert len(done.stdout) == frames.nbytes


def test_threads_do_not_race(
    build: Callable[..., Path], embedded: Path, tmp_path: Path, frames: NDArray[np.uint8]
) -> None:
    """ThreadSanitizer watches eight threads on one handle, each with a stream, while calls are cancelled."""
    installed = build("threads", "-DTRTSWAP_SANITIZE=thread")
    library = installed / "lib"
    run(
        "g++", "-std=c++17", "-g", "-O1", "-fsanitize=thread", "-I", installed / "include",
        ROOT / "tests" / "native" / "stress.cpp", "-o", tmp_path / "stress", "-L", library, "-ltrtswap", "-lpthread",
        f"-Wl,-rpath,{library}:{installed.parent / 'runtime'}",
    )  # fmt: skip
    (tmp_path / "frame.rgb").write_bytes(frames[0].tobytes())
    # Without the random addresses that older versions of the sanitizer do not know.
    run("setarch", "-R", tmp_path / "stress", embedded, tmp_path / "frame.rgb", 1280, 720, "threads", 8)

"""libtrtswap, built once from the sources in the wheel, or in this checkout."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import onnxruntime
import pytest
from filelock import FileLock

from ..conftest import unavailable
from .library import Library

ROOT = Path(__file__).parents[2]
HEADERS = Path(os.environ.get("TRTSWAP_ONNXRUNTIME_INCLUDE", ROOT / ".venv" / "onnxruntime"))

Build = Callable[..., Path]


def run(*command: object, **settings: object) -> str:
    """Output of a command; both its outputs where it fails."""
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, **settings)  # type: ignore[call-overload]
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return str(done.stdout)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """Builds and installs the library, once for each way: the folder that it is installed in."""
    if not (HEADERS / "onnxruntime_c_api.h").is_file() or shutil.which("cmake") is None:
        unavailable(f"ONNX Runtime's headers are not in {HEADERS}, or cmake is missing: native/headers.sh gets them")
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base

    def built(name: str = "release", *options: str) -> Path:
        folder = shared / "native" / name
        with FileLock(str(shared / f"native-{name}.lock")):
            if not (folder / "done").exists():
                (folder / "runtime").mkdir(parents=True)
                (library,) = Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.*")
                for link in ("libonnxruntime.so", "libonnxruntime.so.1"):
                    (folder / "runtime" / link).symlink_to(library)
                run(
                    "cmake", "-S", ROOT / "native", "-B", folder / "build", "-DCMAKE_BUILD_TYPE=Release",
                    f"-DCMAKE_INSTALL_PREFIX={folder}/installed", f"-DONNXRUNTIME_INCLUDE={HEADERS}",
                    "-DCMAKE_COMPILE_WARNING_AS_ERROR=ON",
                    f"-DONNXRUNTIME_LIBRARY={folder}/runtime/libonnxruntime.so", *options,
                )  # fmt: skip
                run("cmake", "--build", folder / "build", "-j2")
                run("cmake", "--install", folder / "build")
                (folder / "done").touch()
        return folder / "installed"

    return built


@pytest.fixture(scope="session")
def library(build: Build) -> Library:
    return Library(build() / "lib" / "libtrtswap.so")


@pytest.fixture(scope="session")
def examples(build: Build, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The examples, built against the installed library: the folder of the programs."""
    folder = tmp_path_factory.mktemp("examples")
    run("cmake", "-S", ROOT / "examples" / "cpp", "-B", folder, f"-DCMAKE_PREFIX_PATH={build()}")
    run("cmake", "--build", folder, "-j2")
    return folder

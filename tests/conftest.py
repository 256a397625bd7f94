"""Fixtures that several test packages share, and the rule for GPU tests."""

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from filelock import FileLock

from trtswap.model.pack import Pack

from .trt_emulator.machine import HostGpu, Machine

DATA = Path(os.environ.get("TRTSWAP_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
CASES = Path(os.environ.get("TRTSWAP_TEST_CASES", Path(__file__).parents[2] / "shared" / "cases"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the real test data; tests that need it are skipped without it, and fail under CI."""
    if (DATA / "presenter.mp4").is_file():
        return DATA
    unavailable(f"the real test data is not at {DATA}; set TRTSWAP_TEST_DATA to its folder")


@pytest.fixture(scope="session")
def cases() -> Path:
    """Folder of small inputs that once failed; as :func:`data`."""
    if CASES.is_dir():
        return CASES
    unavailable(f"the inputs that once failed are not at {CASES}; set TRTSWAP_TEST_CASES to their folder")


def unavailable(what: str) -> NoReturn:
    """Something that a test needs is not here: the test is skipped, and fails under CI."""
    if os.environ.get("CI") == "true":
        pytest.fail(what)
    pytest.skip(what)


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """What a full disk looks like to a writer: writing fails once a file has so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.fixture
def emulator(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Machine:
    """TensorRT and a GPU are here, as far as trtswap can see; engines are kept in a folder of the test."""
    from .trt_emulator import api

    machine = Machine()
    gpu = HostGpu(machine)
    monkeypatch.setattr(api, "machine", machine)
    monkeypatch.setitem(sys.modules, "tensorrt", api)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)  # the real one, which needs no GPU, is not what is tried
    monkeypatch.setattr("trtswap.backends.device.find_gpu", lambda device=None: gpu)
    monkeypatch.setattr("trtswap.backends.device._DEVICES", {None: gpu})
    monkeypatch.setenv("TRTSWAP_ENGINES", str(tmp_path / "engines"))
    return machine


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        if os.environ.get("TRTSWAP_REQUIRE_GPU") == "1":
            pytest.fail("TRTSWAP_REQUIRE_GPU=1, and torch sees no CUDA device")
        pytest.skip("needs a CUDA device")


def _shared(name: str, tmp_path_factory: pytest.TempPathFactory, export: Callable[[Path], object]) -> Path:
    """A pack that is made once and shared by all test workers: exporting takes seconds to minutes."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base
    pack = shared / "packs" / name
    with FileLock(str(shared / f"{name}.lock")):
        if not pack.exists():
            export(pack)
    return pack


def _exported(recipe: str, data: Path, tmp_path_factory: pytest.TempPathFactory, *, seed: int | None = None) -> Path:
    """A pack with real YuNet weights, and random ones elsewhere."""
    from trtswap.export.build import Weights, export_pack
    from trtswap.export.recipes import find_recipe

    return _shared(recipe, tmp_path_factory, lambda pack: export_pack(find_recipe(recipe), pack, Weights(data, seed)))


@pytest.fixture(scope="session")
def identity_pack(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds faces with YuNet; its swap and restore graphs are Identity nodes."""
    return _exported("identity", data, tmp_path_factory)


@pytest.fixture(scope="session")
def paste_pack(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Finds faces with YuNet and pastes the source's face."""
    return _exported("paste", data, tmp_path_factory)


@pytest.fixture(scope="session")
def full_pack(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The architectures in full size with random weights; exporting it takes a minute or two."""
    return _exported("simswap-224", data, tmp_path_factory, seed=0)


@pytest.fixture(scope="session")
def full_half_pack(full_pack: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same in FP16, with what the conversion told in ``report.txt`` beside it; takes minutes.

    One frame to calibrate on, another to compare on, and one picture that no clip has, because a face takes seconds.
    """
    from trtswap.calibration import calibrate, ranges, to_half

    def convert(pack: Path) -> None:
        lines, clip, full = list[str](), data / "presenter.mp4", Pack.load(full_pack)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ranges, "SLICE", 1000)  # one run instead of two
            table = calibrate(full, clip, frames=1, adversaries=0)
            to_half(full, table, pack, held_out=clip, frames=1, adversaries=1, report=lines.append)
        (pack / "report.txt").write_text("\n".join(lines))

    return _shared("simswap-224-fp16", tmp_path_factory, convert)


def _embedded(
    name: str, tmp_path_factory: pytest.TempPathFactory, pack: str, *, triton: bool = False, **layout: Any
) -> Path:
    from trtswap.export.embed import Layout, embed
    from trtswap.packs import find_pack

    return _shared(
        name, tmp_path_factory,
        lambda target: embed(Pack.load(find_pack(pack)), target, Layout(**layout), triton=triton),
    )  # fmt: skip


@pytest.fixture(scope="session")
def embedded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack avatar for RGB frames of its clip's size, two faces each."""
    return _embedded("embedded", tmp_path_factory, "avatar", size=(1280, 720), faces=2)


@pytest.fixture(scope="session")
def embedded_planes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack avatar for NV12 frames of any size, two faces each."""
    return _embedded("embedded-planes", tmp_path_factory, "avatar", format="nv12", faces=2, matrix="bt709")


@pytest.fixture(scope="session")
def embedded_mesh(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack mesh for BGR frames of 1920x1080, in windows of 640 pixels."""
    return _embedded("embedded-mesh", tmp_path_factory, "mesh", format="bgr", size=(1920, 1080), window=640)


@pytest.fixture(scope="session")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pack avatar as a model repository of Triton, for frames of any size, two faces each."""
    return _embedded("repository", tmp_path_factory, "avatar", triton=True, faces=2, window=448)


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Every architecture, narrow; its detector sees the same face everywhere."""
    from trtswap.export.build import Weights, export_pack

    from .export.small import small_recipe

    pack = _shared("small", tmp_path_factory, lambda folder: export_pack(small_recipe(), folder, Weights(None, seed=0)))
    return Pack.load(pack)


@pytest.fixture(scope="session")
def seeing(small: Pack, identity_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The small pack with YuNet."""
    from .calibration.packs import with_detector

    return with_detector(small, Pack.load(identity_pack), tmp_path_factory.mktemp("packs") / "seeing")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the figures that tests recorded with ``record_property``: they belong into the log of every run."""
    reports = [r for outcome in ("passed", "failed") for r in terminalreporter.stats.get(outcome, ())]
    figures = [f"{r.nodeid.split('::')[-1]}: {name}: {value}" for r in reports for name, value in r.user_properties]
    if figures:
        terminalreporter.section("measured")
        for line in figures:
            terminalreporter.write_line(line)

"""TensorRT for RTX inside of ONNX Runtime: all of it that needs no GPU. What needs one has never run."""

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime
import pytest
import torch

from trtswap.backends import OnnxRuntimeOptions, choose, rtx_provider
from trtswap.backends import device as gpus
from trtswap.backends.onnxruntime import _session, gpu_provider
from trtswap.backends.runtime import Runtime
from trtswap.errors import BackendError
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

from ...trt_emulator.machine import Machine

GPU = torch.device("cuda", 0)
TWICE = """
import onnxruntime, torch
from trtswap.backends import rtx_provider
from trtswap.errors import BackendError
for _ in range(2):
    try:
        rtx_provider.find_device(onnxruntime, torch.device("cuda", 0))
    except BackendError as e:
        print(e)
"""
real = pytest.mark.skipif(not rtx_provider.is_installed(), reason=f"{rtx_provider.PACKAGE} is not installed")


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx_provider, "is_installed", lambda: True)


@pytest.mark.usefixtures("installed")
def test_the_plugin_is_taken_for_the_gpus_that_it_runs_on(emulator: Machine) -> None:
    for capability, taken in (
        ("8.6", True),
        ("8.9", True),
        ("12.0", True),
        ("12.1", True),
        ("8.0", False),
        ("9.0", False),
    ):
        emulator.gpu = replace(emulator.gpu, compute_capability=capability)
        if taken:
            assert gpu_provider(gpus.find_gpu()) == rtx_provider.NAME
        else:
            with pytest.raises(
                BackendError, match=r"no provider for Emulated GPU: pip install onnxruntime-gpu in place"
            ):
                gpu_provider(gpus.find_gpu())


def test_what_would_bring_a_provider_is_said(emulator: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rtx_provider, "is_installed", lambda: False)
    with pytest.raises(BackendError, match=rf"pip install {rtx_provider.PACKAGE}, or onnxruntime-gpu in place of"):
        gpu_provider(gpus.find_gpu())
    assert emulator.streams


def test_options_name_stream_shapes_and_cache(tmp_path: Path) -> None:
    shapes = {"faces": ((1, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8)), "latents": ((1, 5), (4, 5), (16, 5))}
    assert rtx_provider.provider_options(stream=4096, shapes=shapes, cache=tmp_path) == {
        "has_user_compute_stream": "1",
        "user_compute_stream": "4096",
        "enable_cuda_graph": "0",
        "nv_runtime_cache_path": str(tmp_path),
        "nv_profile_min_shapes": "faces:1x3x8x8;latents:1x5",
        "nv_profile_opt_shapes": "faces:4x3x8x8;latents:4x5",
        "nv_profile_max_shapes": "faces:16x3x8x8;latents:16x5",
    }
    assert not any("shapes" in key for key in rtx_provider.provider_options(stream=0, shapes={}, cache=tmp_path))


@real
def test_the_names_of_options_are_the_packages_own() -> None:
    import onnxruntime_ep_nv_tensorrt_rtx as package

    header = (Path(package.__file__).parent / "tensorrt_rtx_provider_options.h").read_text("utf-8")
    shapes = {"x": ((1,), (1,), (1,))}
    for name in rtx_provider.provider_options(stream=0, shapes=shapes, cache=Path("kept")):
        assert f'"{name}"' in header
    assert package.get_ep_name() == rtx_provider.NAME


def test_shapes_of_a_pack_span_all_of_its_profiles(emulator: Machine) -> None:
    detect = Pack.load(find_pack("avatar")).stages["detect"]
    runtime: Any = SimpleNamespace(device=GPU)
    assert emulator.gpu.memory_bytes == 24 * 2**30
    (name, (least, best, most)), *others = Runtime._shapes(runtime, detect).items()
    assert (name, others) == ("images", [])
    assert (least, best[0], most) == ((1, 3, 32, 32), 8, (32, 3, 416, 416))
    assert best[3] > best[2]  # tuned for a picture that is wide


class Session:
    """Stands in for ONNX Runtime's options and sessions, whose real ones need the GPU."""

    def __init__(self, *given: Any) -> None:
        self.given = given

    def add_provider_for_devices(self, devices: list[Any], options: dict[str, str]) -> None:
        self.devices, self.options = devices, options

    def add_session_config_entry(self, key: str, value: str) -> None: ...


def test_a_session_is_given_the_gpus_own_device(
    emulator: Machine, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def device(name: str, place: str) -> Any:
        return SimpleNamespace(ep_name=name, device=SimpleNamespace(metadata={"pci_bus_id": place}))

    devices = [device("CPUExecutionProvider", ""), device(rtx_provider.NAME, "0000:01:00.0")]
    devices.append(device(rtx_provider.NAME, "0000:4B:00.0"))
    runtime: Any = SimpleNamespace(
        get_ep_devices=lambda: devices,
        SessionOptions=Session,
        InferenceSession=Session,
        GraphOptimizationLevel=onnxruntime.GraphOptimizationLevel,
    )
    bus = SimpleNamespace(pci_domain_id=0, pci_bus_id=0x4B, pci_device_id=0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: bus)
    monkeypatch.setattr(rtx_provider, "_register", lambda onnxruntime: None)
    lane = gpus.find_gpu().lane("main")
    session = _session(
        runtime, tmp_path / "x.onnx", OnnxRuntimeOptions(), provider=rtx_provider.NAME, device=GPU, lane=lane
    )
    file, options = session.given
    assert file == tmp_path / "x.onnx"
    assert options.devices == [devices[2]]
    assert options.options["user_compute_stream"] == str(lane.stream.cuda_stream) != "0"
    assert emulator.streams


@real
@pytest.mark.skipif(torch.cuda.is_available(), reason="a driver is here")
def test_without_a_driver_it_says_that_it_is_missing() -> None:
    with pytest.raises(
        BackendError, match=r"cannot be loaded into ONNX Runtime .*driver is not installed.*--device cpu"
    ):
        rtx_provider.find_device(onnxruntime, GPU)
    with pytest.raises(BackendError, match="PyTorch sees no CUDA device"):
        choose("onnxruntime", "cuda")


@real
@pytest.mark.skipif(torch.cuda.is_available(), reason="a driver is here")
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no C compiler for libraries that stand in for the driver's")
def test_without_a_gpu_the_loaded_provider_says_what_it_needs(tmp_path: Path) -> None:
    """With libraries in place of the driver's that know no device the real provider registers, and finds nothing."""
    import onnxruntime_ep_nv_tensorrt_rtx as package

    wanted = subprocess.check_output(["nm", "-D", "--undefined-only", package.get_library_path()], text=True)
    names = re.findall(r" U ((?:cu[A-Z]|nvml)\w+)$", wanted, re.MULTILINE)
    source = tmp_path / "driver.c"
    source.write_text("".join(f"int {name}(void) {{ return 100; }}\n" for name in names), "utf-8")
    for name in ("libcuda.so.1", "libnvidia-ml.so.1"):
        made = ["-shared", "-fPIC", str(source), f"-Wl,-soname,{name}", "-o", str(tmp_path / name)]
        subprocess.run(["gcc", *made], check=True)
    ran = subprocess.run(
        [sys.executable, "-P", "-c", f"import sys\nsys.path[:] = {sys.path!r}\n{TWICE}"],
        env={"LD_LIBRARY_PATH": str(tmp_path), "PATH": "/usr/bin:/bin"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("found no GPU that it runs on") == 2

"""PyTorch's engines on a GPU, by stand-ins: what is captured, what plays back, and the settings of the process."""

import threading
import weakref
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from trtswap.backends import TorchOptions
from trtswap.backends import device as gpus
from trtswap.backends.options import has_bfloat16
from trtswap.backends.torch.cuda_graphs import CapturedRuns
from trtswap.backends.torch.engine import TorchEngine
from trtswap.backends.torch.precision import without_tf32
from trtswap.errors import BackendError

from ....trt_emulator.machine import HostGpu, Machine


class Doubling:
    """Counts its runs; the emulated machine captures none of PyTorch's work, so a replay leaves the outputs."""

    def __init__(self) -> None:
        self.runs = 0
        self.fails = False

    def __call__(self, tensors: dict[str, Tensor], uploads: dict[int, Tensor] | None) -> dict[str, Tensor]:
        self.runs += 1
        if self.fails and self.runs > 2:
            return {}
        return {"y": tensors["x"] * 2}


def test_only_what_is_prepared_is_captured_and_outputs_are_the_callers(emulator: Machine) -> None:
    gpu, double = HostGpu(emulator), Doubling()
    runs = CapturedRuns(double, gpu, gpu.lane("swap"))  # type: ignore[arg-type]
    assert runs.run({"x": torch.ones(2)}) is None
    assert (len(runs), double.runs) == (0, 0)
    kept = torch.zeros(2)
    for _ in range(2):
        runs.capture({"x": kept})
    assert (len(runs), double.runs) == (1, 3)  # twice to warm up, once captured
    given = runs.run({"x": torch.ones(2)})
    again = runs.run({"x": torch.ones(2)})
    assert given is not None
    assert again is not None
    assert emulator.replays == 2
    assert torch.equal(kept, torch.ones(2))
    assert given["y"].data_ptr() != again["y"].data_ptr()


def test_what_was_uploaded_lives_as_long_as_its_capture(emulator: Machine) -> None:
    """The captured work reads it at every replay, and nobody else has it."""
    gpu, uploaded = HostGpu(emulator), list[weakref.ref[Tensor]]()

    def compute(tensors: Mapping[str, Tensor], uploads: dict[int, Tensor]) -> dict[str, Tensor]:
        if not uploads:
            uploads[3] = torch.ones(2)
            uploaded.append(weakref.ref(uploads[3]))
        return {"y": tensors["x"] * uploads[3]}

    runs = CapturedRuns(compute, gpu, gpu.lane("swap"))
    runs.capture({"x": torch.zeros(2)})
    (upload,) = uploaded
    assert upload() is not None
    runs.close()
    assert upload() is None


def test_outputs_are_kept_for_the_callers_stream(emulator: Machine) -> None:
    gpu = HostGpu(emulator)
    runs = CapturedRuns(Doubling(), gpu, gpu.lane("swap"))  # type: ignore[arg-type]
    runs.capture({"x": torch.zeros(2)})
    with gpu.role("detect"):
        given = runs.run({"x": torch.ones(2)})
    assert given is not None
    assert emulator.kept == [(given["y"].data_ptr(), gpu.lane("detect").stream.cuda_stream)]


def test_the_oldest_captures_are_forgotten(emulator: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtswap.backends.torch.cuda_graphs.MOST_GRAPHS", 2)
    gpu = HostGpu(emulator)
    runs = CapturedRuns(Doubling(), gpu, gpu.lane("swap"))  # type: ignore[arg-type]
    for size in (1, 2, 3):
        runs.capture({"x": torch.zeros(size)})
    assert len(runs) == 2
    assert runs.run({"x": torch.zeros(1)}) is None


def test_float32_keeps_its_mantissa_and_the_process_its_settings() -> None:
    kinds = torch.backends.cuda.matmul, torch.backends.cudnn.conv  # type: ignore[attr-defined]
    before, barrier = [kind.fp32_precision for kind in kinds], threading.Barrier(2)
    inside: list[list[str]] = []

    def call(number: int) -> None:
        with without_tf32():
            barrier.wait()  # both are inside
            inside.append([kind.fp32_precision for kind in kinds])
            if number:
                barrier.wait()  # the other has left
        if not number:
            barrier.wait()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(call, range(2)))
    assert inside == [["ieee", "ieee"]] * 2
    assert [kind.fp32_precision for kind in kinds] == before
    with pytest.raises(ZeroDivisionError), without_tf32():
        raise ZeroDivisionError
    assert [kind.fp32_precision for kind in kinds] == before


@pytest.mark.parametrize(("capability", "has"), [("7.5", False), ("8.0", True), ("8.9", True), ("12.0", True)])
def test_bfloat16_is_refused_where_the_gpu_has_none(
    emulator: Machine, graph: Callable[[str], Path], capability: str, has: bool
) -> None:
    emulator.gpu = replace(emulator.gpu, name="T4", compute_capability=capability)
    cuda = torch.device("cuda", 0)
    assert has_bfloat16(cuda) == has
    assert not has_bfloat16(torch.device("cpu"))
    assert gpus.find_gpu(cuda).facts.compute_capability == capability
    if not has:
        message = r"adain\.onnx: T4 has compute capability 7\.5, and bfloat16 needs 8\.0"
        with pytest.raises(BackendError, match=message):
            TorchEngine(graph("adain"), device=cuda, precision="fp32", options=TorchOptions(half=torch.bfloat16))

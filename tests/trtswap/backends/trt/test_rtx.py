"""Plans that were made ahead of time, where they run: on the emulator, since that needs a GPU."""

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch

from trtswap.backends import choose, open_engine
from trtswap.backends import device as gpus
from trtswap.backends.runtime import Runtime
from trtswap.backends.trt.plans import Place, StoredPlan, stored_plans, write_plan
from trtswap.errors import BackendError, EngineBuildError, PlanError
from trtswap.model.pack import Pack, StageSpec, sha256_of

from ....engines.packs import write_pack
from ....trt_emulator import rtx
from ....trt_emulator.machine import Machine

GRAPH = '<ir_version: 9, opset_import: ["" : 19]> g (float[N,2] x) => (float[N,2] y) { y = Neg (x) }'
PLACE = Place("rtx", rtx.VERSION, "", ("8.6", "8.9"))


@pytest.fixture
def library(emulator: Machine, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """TensorRT for RTX is here, TensorRT is not."""
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx.module())
    return emulator


@pytest.fixture
def graph(library: Machine, tmp_path: Path) -> Path:
    """A graph whose plan was made ahead of time for two GPUs."""
    from ....engines.plans import build

    file = tmp_path / "neg.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), file)
    made = build(file)
    data = made.read()
    made.remove()
    write_plan(replace(made.record, place=PLACE, device_memory_bytes=1000), data)
    return file


def run(graph: Path, rows: int = 3) -> None:
    x = torch.rand(rows, 2)
    with open_engine(graph, backend="tensorrt") as engine:
        engine.prepare(x=(rows, 2))
        assert torch.equal(engine(x=x)["y"], -x)


def kernels() -> list[Path]:
    (stored,) = stored_plans()
    return sorted(stored.path.parent.glob("*.kernels"))


def test_it_runs_with_kernels_that_are_finished_before_and_kept(graph: Path, library: Machine) -> None:
    """That the config is one for captures and for scratch memory of ours is what the emulator demands."""
    run(graph)
    assert library.finished == 1
    (file,) = kernels()
    assert file.name.endswith(f".Emulated-GPU-8.9-{rtx.VERSION}.kernels")
    run(graph)
    assert library.finished == 1, "kernels that are on disk were finished again"


def test_kernels_of_another_gpu_have_a_file_of_their_own(graph: Path, library: Machine) -> None:
    run(graph)
    library.gpu = replace(library.gpu, name="Other GPU", compute_capability="8.6")
    stored = stored_plans()[0]  # the emulator's plans know their GPU; the real ones of this library do not
    data = stored.read().replace(b"Emulated GPU", b"Other GPU").replace(b'"8.9"', b'"8.6"')
    rewritten(stored, data)
    run(graph)
    assert library.finished == 2
    assert len(kernels()) == 2


def rewritten(stored: StoredPlan, data: bytes) -> None:
    import hashlib

    from ....trt_emulator.api import MAGIC

    body = data[len(MAGIC) + 32 :]
    data = MAGIC + hashlib.sha256(body).digest() + body
    record = replace(stored.record, plan_sha256=hashlib.sha256(data).hexdigest(), plan_bytes=len(data))
    write_plan(record, data)


@pytest.fixture
def pack(library: Machine, tmp_path: Path) -> Pack:
    """A pack whose engines were made ahead of time."""
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, build_engines

    made = write_pack(tmp_path / "pack")
    chosen = Options(precision="fp32")
    for built in build_engines(made, aim(gpus.find_gpu(), library="tensorrt"), chosen):
        data, record = built.plan.read(), built.plan.record
        built.plan.remove()
        write_plan(replace(record, place=PLACE, difference={}), data)
    return made


def test_it_is_compared_where_it_runs_first_and_once(
    pack: Pack, library: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from trtswap.engines import proof

    compared: list[str] = []
    real = proof.compare
    monkeypatch.setattr(proof, "compare", lambda stage, *rest: compared.append(stage.name) or real(stage, *rest))
    for _ in range(2):
        Runtime(pack, backend="tensorrt").close()
    assert sorted(compared) == ["detect", "identify", "parse", "swap"]
    proofs = {plan.record.stage: plan.record.proofs for plan in stored_plans()}
    here = f"Emulated GPU (compute capability 8.9), TensorRT for RTX {rtx.VERSION}"
    assert proofs["swap"] == {here: {"finite": 1.0, "picture_db": 120.0}}
    assert proofs["identify"][here]["latent_cosine"] > 0.9999


def test_one_that_differs_is_refused_with_the_figures_and_removed(pack: Pack, library: Machine) -> None:
    library.faults.add("inexact")
    with pytest.raises(EngineBuildError, match=r"the engine of graph \w+ differs from its FP32 reference: .* expected"):
        Runtime(pack, backend="tensorrt")
    assert len(stored_plans()) < 4


@pytest.mark.parametrize("damage", [b"", b"garbage", b"Other GPU|kernel"])
def test_kernels_that_do_not_fit_are_finished_anew_and_said(
    graph: Path, library: Machine, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    run(graph)
    kernels()[0].write_bytes(damage)
    with caplog.at_level(logging.WARNING):
        run(graph)
    assert "is damaged or of another driver or GPU; kernels are finished anew" in caplog.text
    assert library.finished == 2
    run(graph)
    assert library.finished == 2


def test_a_folder_that_cannot_be_written_keeps_nobody_from_work(
    graph: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with caplog.at_level(logging.WARNING):
        run(graph)
    assert "finished kernels are not kept: " in caplog.text
    assert kernels() == []


def test_kernels_go_with_their_plan(graph: Path) -> None:
    run(graph)
    folder = kernels()[0].parent
    stored_plans()[0].remove()
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m, "gpu", replace(m.gpu, name="RTX 2080", compute_capability="7.5")),
         r"it was built for compute capability 8\.6, 8\.9, this is RTX 2080 \(compute capability 7\.5\)"),
        (lambda m: setattr(rtx, "VERSION", "1.6.1.120"),
         r"it was built with TensorRT for RTX 1\.7\.1\.116, this is 1\.6\.1\.120"),
    ],
    ids=["GPU", "version"],
)  # fmt: skip
def test_elsewhere_it_is_refused_with_the_reason(
    graph: Path, library: Machine, monkeypatch: pytest.MonkeyPatch, change: Callable[[Any], None], message: str
) -> None:
    monkeypatch.setattr(rtx, "VERSION", rtx.VERSION)
    change(library)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", rtx.module())
    with pytest.raises(PlanError, match=rf"stale: {message}"):
        open_engine(graph, backend="tensorrt")


def test_a_plan_of_the_other_library_is_not_taken(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(PlanError, match=r"it was built with TensorRT for RTX 1\.7\.1\.116, this is TensorRT 11\.4"):
        open_engine(graph, backend="tensorrt")


def test_auto_takes_an_engine_that_is_there(graph: Path) -> None:
    assert choose(graphs=[StageSpec("swap", graph, sha256_of(graph))]).backend == "tensorrt"


def test_neither_library_is_said(emulator: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    with pytest.raises(BackendError, match=r'not installed: pip install "trtswap\[rtx\]" for GeForce RTX'):
        choose("tensorrt")


@pytest.mark.parametrize(
    ("faults", "reason"),
    [
        (("OLD_CUDA_DRIVER",), "it needs a newer driver"),
        (("VERSION_MISMATCH", "UNSUPPORTED_CC"), "another version of the library; it was not made for this GPU"),
        (("INSUFFICIENT_GPU_MEMORY",), "the GPU has too little memory for it"),
    ],
)
def test_nvidias_own_check_refuses_a_plan_with_its_reason(
    library: Machine, graph: Path, faults: tuple[str, ...], reason: str
) -> None:
    library.faults.update(faults)
    with pytest.raises(PlanError, match=rf"TensorRT for RTX 1\.7.* says that this engine cannot run here: .*{reason}"):
        run(graph)


def test_a_plan_that_may_be_slow_runs_and_says_so(
    library: Machine, graph: Path, caplog: pytest.LogCaptureFixture
) -> None:
    library.faults.add("slow here")
    with caplog.at_level(logging.WARNING):
        run(graph)
    assert "may be slow here" in caplog.text


def test_every_word_of_nvidias_check_is_known() -> None:
    import tensorrt_rtx as real

    from trtswap.backends.trt.loaded import INVALID

    assert set(INVALID) == set(real.EngineInvalidityDiagnostics.__members__)

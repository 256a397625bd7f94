"""The TensorRT backend on the emulator: streams, memory, captures, profiles, and what can go wrong."""

import gc
import json
import logging
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from trtswap.backends import choose, open_engine
from trtswap.backends import device as gpus
from trtswap.backends.options import TensorRtOptions
from trtswap.backends.trt.plans import Place, stored_plans
from trtswap.errors import BackendError, DeviceMemoryError, InputError, PlanError

from ....trt_emulator.machine import Machine

Graph = Callable[[str], Path]
REAL_FIND_GPU = gpus.find_gpu


@pytest.fixture
def opened(emulator: Machine, graph: Graph) -> Callable[..., Any]:
    """Compile one of the graphs for N = 1..8 and open it."""

    def open_(name: str = "adain", *profiles: Any, **options: Any) -> Any:
        from ....engines.plans import build

        path = graph(name)
        build(path, *profiles)
        return open_engine(path, backend="tensorrt", **options)

    return open_


def adain(batch: int, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    faces, latents = torch.rand(batch, 3, 16, 16, generator=random), torch.randn(batch, 6, generator=random)
    return {"faces": faces, "latents": latents}


def reference(path: Path, inputs: dict[str, Tensor]) -> Tensor:
    with open_engine(path, backend="onnxruntime", device="cpu") as engine:
        return engine(**inputs)["swapped"]


class Watched(TorchDispatchMode):
    """Notes every operation of PyTorch."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.seen.append(func.overloadpacket.__name__)
        return func(*args, **(kwargs or {}))


def prepare(engine: Any, *batches: int) -> None:
    for batch in batches:
        engine.prepare(**{name: tuple(t.shape) for name, t in adain(batch).items()})


def test_ragged_batches_in_any_order(opened: Callable[..., Any], graph: Graph, emulator: Machine) -> None:
    with opened() as engine:
        prepare(engine, 1, 2, 5, 6, 8)
        assert engine.captured == 3  # 1, 2, 8
        for batch in (3, 8, 1, 5, 5, 2, 7, 0, 3, 8, 6, 4):
            inputs = adain(batch, seed=batch)
            found = engine(**inputs)["swapped"]
            assert found.shape == (batch, 3, 16, 16)
            torch.testing.assert_close(found, reference(graph("adain"), inputs), rtol=1e-6, atol=1e-6)
        assert engine.captured == 3
    assert emulator.replays == 8  # all but 3 twice, 4, and none


def test_nothing_is_captured_while_frames_run(opened: Callable[..., Any], emulator: Machine) -> None:
    with opened() as engine:
        for _ in range(4):
            engine(**adain(2))
        assert engine.captured == emulator.replays == 0


def test_prepared_it_neither_waits_nor_allocates(opened: Callable[..., Any], emulator: Machine) -> None:
    with opened() as engine:
        prepare(engine, 1, 4)
        before = emulator.waits, emulator.allocations, emulator.launches
        inputs = adain(4, seed=3)
        with Watched() as watched:
            engine(**inputs)
            engine(**{name: t[:1] for name, t in inputs.items()})
            engine(**adain(2))
        assert (emulator.waits, emulator.allocations, emulator.launches - 3) == before
        assert emulator.replays == 2
        moving = {"copy_", "clone", "view", "slice", "_reshape_alias", "detach", "alias"}
        assert set(watched.seen) - {"rand", "randn"} <= moving


def test_what_is_prepared_twice_is_captured_once(opened: Callable[..., Any], emulator: Machine) -> None:
    with opened() as engine:
        prepare(engine, 2)
        before = emulator.waits, emulator.allocations
        prepare(engine, 2)
        assert (emulator.waits, emulator.allocations, engine.captured) == (*before, 1)
        prepare(engine, 0)
        assert engine.captured == 1


def test_wrong_shapes_are_not_prepared(opened: Callable[..., Any]) -> None:
    with opened() as engine:
        with pytest.raises(InputError, match=r"inputs are faces; expected faces \[N,3,16,16\]"):
            engine.prepare(faces=(1, 3, 16, 16))
        with pytest.raises(InputError, match=r"faces \[1,3,16,17\] has another shape; expected faces \[N,3,16,16\]"):
            engine.prepare(faces=(1, 3, 16, 17), latents=(1, 6))
        with pytest.raises(InputError, match=r"N=9 is outside of what the engine was built for"):
            prepare(engine, 9)
        assert engine.max_rows == 8
    with pytest.raises(BackendError, match="the engine is closed"):
        prepare(engine, 1)


def test_outputs_are_the_callers(opened: Callable[..., Any]) -> None:
    with opened() as engine:
        prepare(engine, 2)
        results = [(batch, seed, engine(**adain(batch, seed))["swapped"]) for batch in (2, 3) for seed in (1, 2)]
        for batch, seed, found in results:
            assert torch.equal(found, engine(**adain(batch, seed))["swapped"])


def test_work_is_queued_on_the_stream_of_the_role(opened: Callable[..., Any], emulator: Machine) -> None:
    """TensorRT waits for the whole device around work on the default stream, which is ordered with the role's."""
    gpu = gpus.find_gpu()
    with opened(role="swap") as engine:
        lane, default = gpu.lane("swap").stream, gpu.current_stream()
        assert list(emulator.streams.values()) == [default, lane]
        engine(**adain(2))
        assert lane.waited_for == [default.cuda_stream]  # type: ignore[attr-defined]
        assert default.waited_for == [lane.cuda_stream]  # type: ignore[attr-defined]
        with gpu.role("swap"):
            lane.waited_for.clear()  # type: ignore[attr-defined]
            engine(**adain(2))
            assert lane.waited_for == []  # type: ignore[attr-defined]


def test_threads_may_call_an_engine_at_the_same_time(opened: Callable[..., Any]) -> None:
    batches = [adain(n, seed) for seed, n in enumerate((1, 2, 3, 2, 1, 4) * 8)]
    with opened() as engine, ThreadPoolExecutor(3) as threads:
        prepare(engine, 1, 2)
        alone = [engine(**inputs)["swapped"] for inputs in batches]
        together = threads.map(lambda inputs: engine(**inputs)["swapped"], batches)
        assert all(torch.equal(one, other) for one, other in zip(alone, together, strict=True))


def test_engines_of_a_role_share_scratch_memory(opened: Callable[..., Any], graph: Graph, emulator: Machine) -> None:
    with opened("mix", role="swap") as small, opened("adain", role="swap") as large, opened("adain") as other:
        mix = {"faces": torch.rand(2, 3, 4, 5), "latents": torch.rand(2, 7)}
        prepare(large, 3)
        small.prepare(faces=(2, 3, 4, 5), latents=(2, 7))
        first = small(**mix)["mixed"]
        found = large(**adain(3))["swapped"]
        assert small._scratch is large._scratch is not other._scratch
        assert small._scratch.numel() == max(small.device_memory_bytes, large.device_memory_bytes)
        assert torch.equal(small(**mix)["mixed"], first)
        assert torch.equal(large(**adain(3))["swapped"], found)
        torch.testing.assert_close(found, reference(graph("adain"), adain(3)), rtol=1e-6, atol=1e-6)


def test_scratch_memory_lives_as_long_as_its_engines(opened: Callable[..., Any], emulator: Machine) -> None:
    lane = gpus.find_gpu().lane("swap")
    with opened(role="swap") as engine:
        prepare(engine, 2)
        before = emulator.allocations
        address = lane.scratch(1).data_ptr()
        assert emulator.allocations == before
    del engine
    gc.collect()
    assert not emulator.owns(address, 1)


def test_larger_scratch_memory_leaves_captures_as_they_are(opened: Callable[..., Any], graph: Graph) -> None:
    """They have the address of the old one, which lives on."""
    with opened(role="swap") as engine:
        prepare(engine, 2)
        first = engine(**adain(2))["swapped"]
        larger = gpus.find_gpu().lane("swap").scratch(engine.device_memory_bytes * 3)
        assert torch.equal(engine(**adain(2))["swapped"], first)
        prepare(engine, 4)
        assert torch.equal(engine(**adain(2))["swapped"], first)
        torch.testing.assert_close(
            engine(**adain(4))["swapped"], reference(graph("adain"), adain(4)), rtol=1e-6, atol=1e-6
        )
        assert larger.numel() == engine.device_memory_bytes * 3


def test_the_tightest_profile_is_taken(opened: Callable[..., Any], graph: Graph) -> None:
    from trtswap.engines.config import Range

    wide, tight = {"N": Range(1, 4, 8)}, {"N": Range(1, 1, 2)}
    with opened("adain", wide, tight) as engine:
        for batch in (1, 2, 3, 8, 1):
            found = engine(**adain(batch))["swapped"]
            torch.testing.assert_close(found, reference(graph("adain"), adain(batch)), rtol=1e-6, atol=1e-6)
        assert sorted(engine._in_use) == [0, 1]
        message = (
            r"adain\.onnx: N=9 is outside of what the engine was built for: N=1..8 or N=1..2\. Use a smaller batch"
        )
        with pytest.raises(InputError, match=message):
            engine(**adain(9))


def test_a_batch_below_the_profile_is_padded(opened: Callable[..., Any], graph: Graph) -> None:
    from trtswap.engines.config import Range

    with opened("adain", {"N": Range(4, 4, 4)}) as engine:
        for batch in (1, 3, 4):
            prepare(engine, batch)
            found = engine(**adain(batch))["swapped"]
            torch.testing.assert_close(found, reference(graph("adain"), adain(batch)), rtol=1e-6, atol=1e-6)
        assert engine.captured == 1


def test_only_the_latest_captures_are_kept(
    opened: Callable[..., Any], emulator: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened("rows") as engine:
        monkeypatch.setattr("trtswap.backends.trt.context.MOST_CAPTURED", 3)
        for width in (4, 5, 6, 7):
            engine.prepare(images=(1, 3, 4, width))
        assert engine.captured == 3
        for width in (4, 5, 6, 7):
            images = torch.rand(1, 3, 4, width)
            assert torch.equal(engine(images=images)["flat"], images.flatten(1))
        assert emulator.replays == 3


def test_what_cannot_be_captured_runs_all_the_same_and_says_so(
    opened: Callable[..., Any], emulator: Machine, graph: Graph, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.faults.add("capture")
    with opened() as engine, caplog.at_level(logging.WARNING):
        prepare(engine, 2, 3)
        for batch in (2, 2, 3, 2):
            inputs = adain(batch, seed=batch)
            found = engine(**inputs)["swapped"]
            torch.testing.assert_close(found, reference(graph("adain"), inputs), rtol=1e-6, atol=1e-6)
        assert engine.captured == 0
    assert emulator.replays == 0
    assert caplog.text.count("runs without a CUDA graph: it was refused during the capture") == 2


def test_without_memory_for_a_capture_it_runs_all_the_same(
    opened: Callable[..., Any], emulator: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    with opened() as engine, caplog.at_level(logging.WARNING):
        engine(**adain(2))
        emulator.faults.add("context")
        prepare(engine, 2)
        assert engine.captured == 0
        assert engine(**adain(2))["swapped"].shape == (2, 3, 16, 16)
    assert "runs without a CUDA graph" in caplog.text
    assert "out of memory" in caplog.text


def test_a_capture_lets_other_threads_go_on_with_their_work_on_the_lane(opened: Callable[..., Any]) -> None:
    """A video that starts, and one that runs: what the latter queues meanwhile must not be captured."""
    gpu, working, done = gpus.find_gpu(), threading.Event(), threading.Event()

    def run() -> None:
        with gpu.role("swap"):
            working.set()
            done.wait(10)

    with opened(role="swap") as engine, ThreadPoolExecutor(1) as other:
        running = other.submit(run)
        working.wait(10)
        prepare(engine, 2)
        done.set()
        running.result()
        assert engine.captured == 1


def test_outputs_are_kept_for_the_callers_stream(opened: Callable[..., Any], emulator: Machine) -> None:
    gpu = gpus.find_gpu()
    with opened(role="swap") as engine:
        prepare(engine, 2)
        for batch in (2, 3):  # from a capture, and as it is
            with gpu.role("detect"):
                found = engine(**adain(batch))
            assert emulator.kept[-1] == (found["swapped"].data_ptr(), gpu.lane("detect").stream.cuda_stream)


def test_released_in_order(opened: Callable[..., Any], emulator: Machine) -> None:
    with opened() as engine:
        prepare(engine, 2)
        gc.collect()
        emulator.released.clear()
        waits = emulator.waits
    assert emulator.released == ["IExecutionContext", "IExecutionContext", "ICudaEngine", "Runtime"]
    assert emulator.waits == waits + 1  # what is queued is awaited first
    engine.close()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("context", DeviceMemoryError, r"could not make an execution context: out of memory"),
        ("profile", BackendError, r"profile 0: profile 0 cannot be set"),
        ("address", BackendError, r"refused the address of faces: address \d+ of faces is not aligned"),
        ("forget address", BackendError, r"still misses shapes or addresses of faces, latents"),
        ("shape", InputError, r"refused shape \[8, 3, 16, 16\] of input faces: .* is refused"),
        ("enqueue", BackendError, r"failed to run at \[\(2, 3, 16, 16\), \(2, 6\)\]: cuda failure 719"),
        ("unbounded", BackendError, r"no largest size of output swapped: its size depends on data"),
    ],
)
def test_faults_are_typed(
    opened: Callable[..., Any], emulator: Machine, fault: str, error: type[Exception], message: str
) -> None:
    with opened() as engine:
        emulator.faults.add(fault)
        with pytest.raises(error, match=rf"adain\.onnx.*{message}"):
            engine(**adain(2))
    emulator.faults.clear()
    with opened() as engine:
        assert engine(**adain(2))["swapped"].shape == (2, 3, 16, 16)


def test_too_little_memory_says_how_much(opened: Callable[..., Any], emulator: Machine) -> None:
    emulator.free = 1000
    with pytest.raises(DeviceMemoryError, match=r"Emulated GPU has no memory for \d+ MiB: 0 of 24576 MiB are free"):
        opened()
    emulator.free = 20_000  # for scratch memory, and not for outputs
    with opened() as engine:
        with pytest.raises(DeviceMemoryError, match=r"Emulated GPU has no memory"):
            engine(**adain(2))
        emulator.free = None
        assert engine(**adain(2))["swapped"].shape == (2, 3, 16, 16)


def test_a_corrupted_plan_with_a_true_hash_is_refused_by_tensorrt(opened: Callable[..., Any]) -> None:
    with opened() as engine:
        record, file = engine.record, engine.file
    from trtswap.backends.trt.engine import TensorRtEngine

    with pytest.raises(PlanError, match=r"does not take this engine: the plan is corrupted.*build-engines"):
        TensorRtEngine(file, record, b"EMULATED-PLAN\0 and nonsense", gpu=gpus.find_gpu())


@pytest.mark.parametrize(
    "change",
    [
        lambda t: {"outputs": tuple(replace(o, binding="other") for o in t.outputs)},
        lambda t: {"inputs": tuple(replace(i, dtype="float16") for i in t.inputs)},
        lambda t: {"inputs": tuple(replace(i, binding=f"no {i.name}") for i in t.inputs)},
        lambda t: {"outputs": tuple(replace(o, shape=o.shape[:2]) for o in t.outputs)},
    ],
    ids=["output missing", "other type", "no input", "other rank"],
)
def test_a_plan_that_is_not_what_its_record_says_is_refused(opened: Callable[..., Any], change: Any) -> None:
    from trtswap.backends.trt.engine import TensorRtEngine

    with opened() as engine:
        record, file = engine.record, engine.file
    (stored,) = stored_plans()
    with pytest.raises(PlanError, match=r"adain\.onnx: the engine has "):
        TensorRtEngine(file, replace(record, **change(record)), stored.read(), gpu=gpus.find_gpu())


def test_compatible_plans_run_elsewhere(emulator: Machine, graph: Graph) -> None:
    from ....engines.plans import build

    path = graph("adain")
    build(path, version_compatible=True, hardware_compatibility="ampere-plus")
    emulator.tensorrt = "11.5.0.1"
    emulator.gpu = replace(emulator.gpu, name="Newer GPU", compute_capability="12.0")
    with pytest.raises(PlanError, match=r"carries code for the CPU\. If you built it yourself, .*--host-code"):
        open_engine(path, backend="tensorrt")  # the file beside a plan does not decide what runs in the process
    with open_engine(path, backend="tensorrt", options=TensorRtOptions(host_code=True)) as engine:
        torch.testing.assert_close(engine(**adain(2))["swapped"], reference(path, adain(2)), rtol=1e-6, atol=1e-6)
    emulator.tensorrt = "11.3.0.99"
    with pytest.raises(PlanError, match=r"stale: it was built with TensorRT 11\.4\.0\.106, this is 11\.3\.0\.99"):
        open_engine(path, backend="tensorrt")


HERE = Place("tensorrt", "11.4.0.106", "Emulated GPU", ("8.9",))


@pytest.mark.parametrize(
    ("level", "place", "fits"),
    [
        ("none", HERE, True),
        ("none", replace(HERE, gpu="Other"), False),
        ("none", replace(HERE, version="11.4.0.107"), False),
        ("none", Place("rtx", "11.4.0.106", "Emulated GPU", ("8.9",)), False),
        ("same-capability", replace(HERE, gpu="Other"), True),
        ("same-capability", replace(HERE, gpu="Other", targets=("9.0",)), False),
        ("ampere-plus", replace(HERE, gpu="Other", targets=("9.0",)), True),
        ("ampere-plus", replace(HERE, gpu="Other", targets=("7.5",)), False),
    ],
)
@pytest.mark.usefixtures("emulator")
def test_where_a_plan_fits(graph: Graph, level: str, place: Place, fits: bool) -> None:
    from ....engines.plans import build

    record = build(graph("identity"), hardware_compatibility=level).record
    assert (record.misfit(place) is None) == fits


@pytest.mark.parametrize(
    ("targets", "fits", "does_not"),
    [
        (("8.9",), ("8.9",), ("8.6", "12.0")),
        (("8.6", "12.0"), ("8.6", "12.0"), ("8.0", "8.9", "12.1")),
        (("8.0", "8.6", "8.9", "12.0+"), ("8.0", "8.6", "8.9", "12.0", "12.1"), ("7.5", "9.0", "10.0")),
    ],
)
def test_a_plan_made_ahead_fits_every_gpu_of_its_targets(
    targets: tuple[str, ...], fits: tuple[str, ...], does_not: tuple[str, ...], opened: Callable[..., Any]
) -> None:
    opened().close()
    (stored,) = stored_plans()
    record = replace(stored.record, place=Place("rtx", "1.7.1.116", "", targets))
    for capability in fits:
        assert record.misfit(Place("rtx", "1.7.1.116", "Any GPU", (capability,))) is None
    for capability in does_not:
        made, here = f"compute capability {', '.join(targets)}", f"Any GPU (compute capability {capability})"
        found = record.misfit(Place("rtx", "1.7.1.116", "Any GPU", (capability,)))
        assert found == f"it was built for {made}, this is {here}"
    other = record.misfit(Place("rtx", "1.6.1.120", "Any GPU", fits[:1]))
    assert other == "it was built with TensorRT for RTX 1.7.1.116, this is 1.6.1.120"
    other = record.misfit(Place("tensorrt", "1.7.1.116", "Any GPU", fits[:1]))
    assert other == "it was built with TensorRT for RTX 1.7.1.116, this is TensorRT 1.7.1.116"


def test_records_that_are_none_are_passed_over(opened: Callable[..., Any]) -> None:
    opened().close()
    (stored,) = stored_plans()
    text = stored.sidecar.read_text()
    for wrong in ("{", "[]", json.dumps(json.loads(text) | {"format": 99}), json.dumps({"format": 1})):
        stored.sidecar.write_text(wrong)
        assert stored_plans() == []
    stored.sidecar.write_text(text)
    assert stored_plans() == [stored]


def test_folders_of_plans(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from trtswap.backends.trt.plans import plans_folder

    monkeypatch.delenv("TRTSWAP_ENGINES", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert plans_folder() == tmp_path / "trtswap" / "engines"
    assert stored_plans() == []
    monkeypatch.setenv("TRTSWAP_ENGINES", str(tmp_path / "mine"))
    assert plans_folder() == tmp_path / "mine"


def test_a_write_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from trtswap.errors import WriteError
    from trtswap.files import write_whole

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(WriteError, match="No space left"):
        write_whole(tmp_path / "plan", b"data")
    assert list(tmp_path.iterdir()) == []


def test_a_plan_that_cannot_be_written_is_named(opened: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(
        PlanError,
        match=r"engines cannot be written to: .*plan: cannot finish it: No space left on device\. .*TRTSWAP_ENGINES",
    ):
        opened()


def test_no_driver_is_said_before_any_object_is_made(
    emulator: Machine, opened: Callable[..., Any], graph: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Loading a plan without a driver crashes the process, and making a runtime is the first step of it."""
    opened().close()
    emulator.driver = False
    monkeypatch.setattr(gpus, "find_gpu", REAL_FIND_GPU)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for call in (lambda: open_engine(graph("adain"), backend="tensorrt"), lambda: choose("tensorrt")):
        with pytest.raises(BackendError, match=r"PyTorch sees no GPU: .*(CPU build|nvidia-smi)"):
            call()
    assert choose().backend in ("onnxruntime", "openvino")


@pytest.mark.parametrize("version", ["10.12.0.36", "12.0.0.1"])
def test_other_versions_are_refused(emulator: Machine, graph: Graph, version: str) -> None:
    emulator.tensorrt = version
    with pytest.raises(BackendError, match=rf"TensorRT {version} is installed, expected 10\.13 or newer and below 12"):
        open_engine(graph("adain"), backend="tensorrt")


@pytest.mark.usefixtures("emulator")
def test_a_library_that_cannot_be_loaded_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
            if name == "tensorrt":
                raise ImportError("libnvinfer.so.11: cannot open shared object file")
            return None

    monkeypatch.delitem(sys.modules, "tensorrt")
    monkeypatch.setattr("trtswap.backends.trt.library.find_spec", lambda name: object() if name == "tensorrt" else None)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(BackendError, match=r"TensorRT is installed but cannot be loaded: libnvinfer\.so\.11"):
        choose("tensorrt")


@pytest.mark.usefixtures("emulator")
def test_a_graph_without_a_plan_says_what_to_do(graph: Graph, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"adain\.onnx: no TensorRT engine .*none has been built.*build-engines"):
        open_engine(graph("adain"), backend="tensorrt")
    with pytest.raises(BackendError, match=r"none\.onnx cannot be loaded: there is no such file"):
        open_engine(tmp_path / "none.onnx", backend="tensorrt")


def test_messages_of_the_library_go_to_the_log(emulator: Machine, caplog: pytest.LogCaptureFixture) -> None:
    import tensorrt as trt

    from trtswap.backends.trt.library import find_library, make_logger

    logger = make_logger(find_library("tensorrt"))
    with caplog.at_level(logging.DEBUG, logger="trtswap.tensorrt"):
        for severity in trt.ILogger.Severity.__members__.values():
            logger.log(severity, severity.name.lower())
    assert [r.levelname for r in caplog.records] == ["INFO", "INFO", "INFO", "INFO", "DEBUG"]
    assert logger.take_errors() == "internal_error | error"
    assert logger.take_errors() == "TensorRT gave no reason"


def test_an_upright_picture_takes_the_profile_that_is_tuned_for_it(opened: Callable[..., Any]) -> None:
    """Both profiles of a detector allow both kinds of picture; only one is tuned for each."""
    from trtswap.engines.config import Range

    batch = Range(1, 2, 4)
    wide = {"N": batch, "H": Range(2, 36, 64), "W": Range(2, 64, 64)}
    tall = {"N": batch, "H": Range(2, 64, 64), "W": Range(2, 36, 64)}
    with opened("rows", wide, tall) as engine:
        for height, width, profile in ((36, 64, 0), (64, 36, 1), (27, 48, 0), (48, 27, 1), (20, 64, 0), (64, 64, 0)):
            engine._in_use.clear()
            images = torch.rand(1, 3, height, width)
            assert torch.equal(engine(images=images)["flat"], images.flatten(1))
            assert list(engine._in_use) == [profile]


def test_nothing_grows_with_the_number_of_videos(opened: Callable[..., Any], emulator: Machine) -> None:
    """Streams, memory and contexts are those of the first flow after fifty more."""
    from trtswap.backends.device import device_of
    from trtswap.session.flow import Flow, Role, each

    device = device_of(torch.device("cpu"))  # the emulated one
    inputs = [adain(n, n) for n in (1, 3, 2)]
    counts = []
    with opened(role="swap") as engine:
        prepare(engine, 1, 2, 4)
        for flow in range(51):
            found: list[Tensor] = []
            roles = (
                Role("decode", lambda _: iter(inputs)),
                each("swap", lambda batch: engine(**batch)["swapped"]),
                each("paste", found.append),
            )
            Flow(roles, handover=device).run()
            assert [len(pictures) for pictures in found] == [1, 3, 2]
            if flow in (0, 50):
                gc.collect()
                live = sum(type(o).__name__ == "IExecutionContext" for o in gc.get_objects())
                counts.append((len(emulator.streams), emulator.allocations, live, engine.captured))
    assert counts[0][0] == 5  # the default stream, one for each role, and one to capture on
    assert counts[0] == counts[1]

"""Which backend is chosen, and what is said about it."""

import importlib.util
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import onnx
import pytest
import torch

from trtswap.backends import OpenVinoOptions, TorchOptions, choose, open_engine
from trtswap.backends.options import on_cores
from trtswap.errors import BackendError, InputError, PackError
from trtswap.model.pack import Pack, StageSpec, sha256_of
from trtswap.packs import find_pack

from ...trt_emulator.machine import Machine


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with one GPU, as far as choosing looks."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    facts = SimpleNamespace(name="a GPU", major=8, minor=9, total_memory=8 * 2**30)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: facts)


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Makes a package look as if it were not installed."""
    real, hidden = importlib.util.find_spec, set[str]()

    def hide(package: str) -> None:
        hidden.add(package)
        found = lambda name: None if name in hidden else real(name)  # noqa: E731
        for module in ("opening", "trt.library"):
            monkeypatch.setattr(f"trtswap.backends.{module}.find_spec", found)

    return hide


@pytest.fixture
def instructions(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Gives the CPU other vector instructions, as far as choosing looks."""
    return lambda name: monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: name)


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu_is_openvino_where_it_is_faster(instructions: Callable[[str], None]) -> None:
    instructions("AVX512")
    choice = choose()
    assert (choice.backend, choice.device) == ("openvino", torch.device("cpu"))
    assert choice.reason == "openvino on the CPU, which has AVX-512: PyTorch sees no CUDA device."
    assert choose(frames=64).backend == "openvino"
    short = choose(frames=63)
    assert short.backend == "onnxruntime"
    assert "OpenVINO: takes longer to open, which 63 frames would not repay." in short.reason
    assert choose("auto", "cpu").backend == "openvino"
    assert choose(graphs=tuple(Pack.load(find_pack("avatar")).graphs.values())).backend == "openvino"
    points = choose(graphs=tuple(Pack.load(find_pack("mesh")).graphs.values()))
    assert points.backend == "onnxruntime"
    assert "OpenVINO: slower, and larger, for a pack that has no network which makes pictures." in points.reason


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu_is_else_onnxruntime(
    instructions: Callable[[str], None], without: Callable[[str], None]
) -> None:
    instructions("AVX2")
    choice = choose()
    assert (choice.backend, choice.device) == ("onnxruntime", torch.device("cpu"))
    assert "PyTorch sees no CUDA device. OpenVINO: taken by itself only on a CPU with AVX-512" in choice.reason
    instructions("AVX512")
    without("openvino")
    choice = choose()
    assert choice.backend == "onnxruntime"
    assert 'OpenVINO: not installed, pip install "trtswap[openvino]"' in choice.reason


def test_openvino_runs_on_the_cpu_alone(gpu: None, graph: Callable[[str], Path]) -> None:
    assert choose("openvino").reason == "openvino on cpu, as asked for."
    with pytest.raises(BackendError, match=r"device is 'cuda:0'; the openvino backend runs on the CPU: expected cpu"):
        choose("openvino", "cuda")
    with pytest.raises(InputError, match=r"half=None\), but openvino runs: expected OpenVinoOptions or None"):
        open_engine(graph("adain"), backend="openvino", options=TorchOptions())


@pytest.mark.usefixtures("gpu")
def test_auto_with_a_gpu_is_torch_and_says_why_not_tensorrt() -> None:
    choice = choose()
    assert (choice.backend, choice.device) == ("torch", torch.device("cuda", 0))
    assert "TensorRT: taken for a pack whose engines are built: `trtswap build-engines`" in choice.reason


@pytest.mark.usefixtures("gpu")
def test_auto_says_that_tensorrt_is_not_installed(without: Callable[[str], None], graph: Callable[[str], Path]) -> None:
    without("tensorrt")
    without("tensorrt_rtx")
    choice = choose(graphs=(StageSpec("swap", graph("adain"), "0"),))
    assert choice.backend == "torch"
    assert 'needs TensorRT, which is not installed: pip install "trtswap[rtx]" for GeForce RTX' in choice.reason


def test_auto_takes_tensorrt_where_every_graph_has_an_engine(emulator: Machine, graph: Callable[[str], Path]) -> None:
    from ...engines.plans import build

    stages = [StageSpec(name, graph(name), sha256_of(graph(name))) for name in ("adain", "mix")]
    build(stages[0].path)
    choice = choose(graphs=stages)
    assert choice.backend == "torch"
    assert "TensorRT: no engine of mix for this GPU and TensorRT 11.4.0.106; `trtswap build-engines`" in choice.reason
    assert 'TensorRT for RTX suits this GPU better: pip install "trtswap[rtx]"' in choice.reason
    emulator.gpu, usual = replace(emulator.gpu, compute_capability="9.0"), emulator.gpu
    assert choose(graphs=stages).reason.endswith("`trtswap build-engines`.")
    emulator.gpu = usual
    build(stages[1].path)
    choice = choose(graphs=stages)
    assert (choice.backend, choice.reason) == ("tensorrt", "tensorrt on Emulated GPU: its engines are built.")
    assert choose("tensorrt").reason == "tensorrt on Emulated GPU, as asked for."
    with open_engine(stages[0]) as engine:
        assert engine.backend == "tensorrt"
    emulator.tensorrt = "10.9.0.34"
    assert "TensorRT: TensorRT 10.9.0.34 is installed, expected 10.13 or newer" in choose(graphs=stages).reason


def test_a_plan_of_a_file_covers_all_of_its_weights(
    emulator: Machine, graph: Callable[[str], Path], tmp_path: Path
) -> None:
    """A graph of no pack, too: its plan is found by the hash of the one file."""
    onnx.save(
        onnx.load(graph("adain")), tmp_path / "g.onnx", save_as_external_data=True, size_threshold=0, location="w.bin"
    )
    with pytest.raises(PackError, match=r"g\.onnx keeps weights in other files \('w\.bin'\)"):
        open_engine(tmp_path / "g.onnx", backend="tensorrt")


@pytest.mark.usefixtures("gpu")
def test_auto_with_a_gpu_that_nothing_here_can_use_says_so(without: Callable[[str], None]) -> None:
    without("onnx")
    choice = choose()
    assert (choice.backend, choice.device) == ("onnxruntime", torch.device("cpu"))  # OpenVINO needs onnx, too
    assert (
        'a GPU is here, but the torch backend that would use it needs: pip install "trtswap[export]"' in choice.reason
    )
    with pytest.raises(BackendError, match=r'onnx, which is not installed: pip install "trtswap\[export\]"'):
        choose("auto", "cuda")


@pytest.mark.usefixtures("gpu")
def test_explicit_choice_is_kept_beside_a_gpu() -> None:
    choice = choose("auto", "cpu")
    assert (choice.backend in ("onnxruntime", "openvino"), choice.device) == (True, torch.device("cpu"))
    assert choose("onnxruntime").device == torch.device("cpu")
    assert choose("torch", "cpu").device == torch.device("cpu")
    assert choose("torch").device == torch.device("cuda", 0)


@pytest.mark.parametrize("backend", ["auto", "torch", "onnxruntime"])
@pytest.mark.usefixtures("no_gpu")
def test_cuda_without_a_gpu_is_refused(backend: str) -> None:
    with pytest.raises(
        BackendError, match=r"device is 'cuda', but PyTorch sees no CUDA device.*nvidia-smi.*device='cpu'"
    ):
        choose(backend, "cuda")


@pytest.mark.usefixtures("gpu")
def test_absent_gpu_number_is_refused() -> None:
    with pytest.raises(BackendError, match="device is 'cuda:3', but there are 1 CUDA devices"):
        choose("torch", "cuda:3")


@pytest.mark.usefixtures("no_gpu")
def test_tensorrt_without_a_gpu_is_refused() -> None:
    with pytest.raises(BackendError, match=r"PyTorch sees no GPU: .*(CPU build|nvidia-smi)"):
        choose("tensorrt")
    with pytest.raises(BackendError, match=r"device is 'cpu'; expected a GPU: cuda or cuda:N"):
        choose("tensorrt", "cpu")


@pytest.mark.usefixtures("gpu")
def test_tensorrt_that_is_not_installed_is_refused(without: Callable[[str], None]) -> None:
    without("tensorrt")
    without("tensorrt_rtx")
    with pytest.raises(
        BackendError,
        match=r'TensorRT, which is not installed: pip install "trtswap\[rtx\]" .* "trtswap\[tensorrt\]" for',
    ):
        choose("tensorrt")


@pytest.mark.parametrize(
    ("package", "backend"),
    [("onnx", "torch"), ("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("onnx", "openvino")],
)
def test_missing_package_is_named(package: str, backend: str, without: Callable[[str], None]) -> None:
    without(package)
    with pytest.raises(BackendError, match=rf"The {backend} backend .*not installed: pip install"):
        choose(backend, "cpu")


@pytest.mark.parametrize("device", ["mps", "quantum", "cuda:x"])
def test_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(InputError, match=rf"device is '{device}', expected auto, cpu, cuda or cuda:N"):
        choose("auto", device)


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(
        InputError, match="backend is 'ncnn', expected one of auto, onnxruntime, openvino, tensorrt, torch"
    ):
        choose("ncnn")


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_threads_belong_to_runtimes_of_the_cpu(backend: str, graph: Callable[[str], Path]) -> None:
    path = graph("adain")
    inputs = {"faces": torch.rand(2, 3, 16, 16), "latents": torch.randn(2, 6)}
    results = []
    for threads in (1, 2, None):
        with open_engine(path, backend=backend, device="cpu", options=on_cores(backend, threads)) as engine:
            results.append(engine(**inputs)["swapped"])
    for other in results[1:]:  # OpenVINO sums a normalisation in as many parts as there are threads
        torch.testing.assert_close(other, results[0], rtol=0, atol=0 if backend == "onnxruntime" else 1e-6)
    with pytest.raises(InputError, match="threads is 0, expected 1 or more"):
        open_engine(path, backend=backend, options=on_cores(backend, 0))
    with pytest.raises(InputError, match=r"threads is 2, but the torch backend .*torch\.set_num_threads"):
        on_cores("torch", 2)
    assert on_cores("torch", None) is None
    with pytest.raises(InputError, match="threads is 2, but tensorrt runs on a GPU and uses no CPU threads"):
        on_cores("tensorrt", 2)


@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("calls", [1, 2])
def test_threads_may_call_an_engine_at_the_same_time(calls: int, backend: str, graph: Callable[[str], Path]) -> None:
    """Three of them, so that one waits where there are two; each gets what it would get alone."""
    batches = [{"faces": torch.rand(n, 3, 16, 16), "latents": torch.randn(n, 6)} for n in (1, 2, 3, 2, 1, 4) * 8]
    with (
        open_engine(graph("adain"), backend=backend, device="cpu", options=on_cores(backend, 1, calls=calls)) as engine,
        ThreadPoolExecutor(3) as threads,
    ):
        alone = [engine(**inputs)["swapped"].clone() for inputs in batches]
        together = threads.map(lambda inputs: engine(**inputs)["swapped"], batches)
        for one, other in zip(alone, together, strict=True):
            assert torch.equal(one, other)


def test_an_engine_without_place_for_calls_is_refused(graph: Callable[[str], Path]) -> None:
    with pytest.raises(InputError, match="calls is 0, expected 1 or more"):
        open_engine(graph("adain"), backend="openvino", options=OpenVinoOptions(calls=0))

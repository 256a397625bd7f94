"""Execution contexts of the emulator do what NVIDIA's headers and guide say; who breaks a rule sees it."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnx
import pytest
import torch

from .machine import HostGpu, Machine

GRAPH = '<ir_version: 9, opset_import: ["" : 19]> g (float[N,2] x) => (float[N,2] y) { y = Neg (x) }'


@pytest.fixture
def made(emulator: Machine, tmp_path: Path) -> Iterator[Any]:
    """A context without shapes, its buffers bound, and what else a run needs."""
    import tensorrt as trt

    from trtswap.backends import device as gpus
    from trtswap.backends.trt.library import find_library
    from trtswap.backends.trt.loaded import LoadedPlan

    from ..engines.plans import build

    file = tmp_path / "neg.onnx"
    onnx.save(onnx.parser.parse_model(GRAPH), file)
    stored = build(file)
    gpu = gpus.find_gpu()
    assert isinstance(gpu, HostGpu)
    with gpu.current():
        plan = LoadedPlan(find_library("tensorrt"), stored.read(), name="neg", host_code=False)
    made = SimpleNamespace(gpu=gpu, lane=gpu.lane("test"), stream=gpu.lane("test").stream.cuda_stream)
    with gpu.current():
        made.context = plan.engine.create_execution_context(trt.ExecutionContextAllocationStrategy.USER_MANAGED)
    made.memory = memory = {name: gpu.allocate(1024) for name in ("scratch", "x", "y")}
    made.context.set_device_memory(memory["scratch"].data_ptr(), 1024)
    for name in "xy":
        assert made.context.set_tensor_address(name, memory[name].data_ptr())
    yield made
    vars(made).pop("context", None)
    plan.close()


def capture(made: Any) -> Callable[[], None]:
    def launch(stream: Any) -> bool:
        return bool(made.context.execute_async_v3(stream.cuda_stream))

    replay: Callable[[], None] = made.gpu.capture(made.lane, launch)
    return replay


def value(made: Any, name: str) -> torch.Tensor:
    view: torch.Tensor = made.memory[name][:16].view(torch.float32)
    return view


def test_the_largest_size_of_an_output_is_known_once_shapes_are_set(made: Any) -> None:
    assert made.context.get_max_output_size("y") == -1
    assert tuple(made.context.get_tensor_shape("y")) == tuple(made.context.get_tensor_shape("x")) == (-1, 2)
    assert made.context.set_input_shape("x", (3, 2))
    assert made.context.get_max_output_size("y") == 8 * 2 * 4  # of the profile, not of the shape
    assert made.context.get_max_output_size("x") == -1
    assert tuple(made.context.get_tensor_shape("y")) == (3, 2)


def test_a_capture_needs_a_run_after_the_last_change(made: Any) -> None:
    from trtswap.backends.device import NotCapturableError

    made.context.set_input_shape("x", (2, 2))
    with pytest.raises(NotCapturableError):
        capture(made)
    made.context.execute_async_v3(made.stream)
    replay = capture(made)
    value(made, "x").copy_(torch.arange(4.0))
    replay()
    assert torch.equal(value(made, "y"), -torch.arange(4.0))


@pytest.mark.parametrize(
    "change",
    [
        lambda made: made.context.set_input_shape("x", (3, 2)),
        lambda made: made.context.set_tensor_address("y", made.memory["x"].data_ptr()),
        lambda made: made.context.set_device_memory(made.memory["x"].data_ptr(), 1024),
        lambda made: made.context.set_optimization_profile_async(0, made.stream),
        lambda made: delattr(made, "context"),
    ],
    ids=["shape", "address", "scratch memory", "profile", "released"],
)
def test_a_replay_after_a_change_of_its_context_is_seen(made: Any, change: Callable[[Any], object]) -> None:
    """NVIDIA/TensorRT#3798: many graphs of one context whose shapes change in between gave wrong pictures."""
    made.context.set_input_shape("x", (2, 2))
    made.context.execute_async_v3(made.stream)
    replay = capture(made)
    made.context.set_input_shape("x", (2, 2))
    replay()  # the same shape is no change
    change(made)
    with pytest.raises(RuntimeError, match="context was changed or released"):
        replay()


def test_a_thread_on_a_capturing_stream_is_seen(made: Any) -> None:
    """What it queues would be captured."""
    with ThreadPoolExecutor(1) as other:

        def launch(stream: Any) -> bool:
            def work() -> None:
                with made.gpu.on(stream):
                    pass

            other.submit(work).result()
            return True

        with pytest.raises(AssertionError, match="which another one captures"):
            made.gpu.capture(made.lane, launch)


def test_a_wait_spoils_a_capture(made: Any) -> None:
    def launch(stream: Any) -> bool:
        stream.synchronize()
        return True

    from trtswap.backends.device import NotCapturableError

    with pytest.raises(NotCapturableError, match="not permitted when stream is capturing"):
        made.gpu.capture(made.lane, launch)

"""Model repositories of Triton: read by its own protocol buffers, and served by NVIDIA's server.

The server is the one of the package nvidia-pytriton, with Triton's core and its Python backend; the graphs run in ONNX
Runtime there, behind that backend.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from PIL import Image

from trtswap.errors import InputError
from trtswap.export.embed import Embedded, Layout, embed, triton
from trtswap.model.pack import Pack
from trtswap.packs import find_pack, sample_sources

from ...conftest import unavailable
from .running import Graphs, decibels
from .test_graphs import CLIP, decoded

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[3]
TOOLS = Path(os.environ.get("TRTSWAP_TRITON", ROOT / ".venv" / "triton"))
TYPES = {"TYPE_UINT8": onnx.TensorProto.UINT8, "TYPE_FP32": onnx.TensorProto.FLOAT}


@pytest.fixture(scope="module")
def python() -> Path:
    """With tritonclient and the server."""
    if not (TOOLS / ".ready").is_file():
        unavailable(f"Triton's client and server are not in {TOOLS}: make .venv/triton/.ready gets them")
    return TOOLS / "bin" / "python"


def read(python: Path, repository: Path) -> dict[str, Any]:
    done = subprocess.run([python, HERE / "triton_configs.py", repository], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    configs: dict[str, Any] = json.loads(done.stdout)
    return configs


def described(folder: Path, target: Path) -> Path:
    """The repository of graphs that are embedded already."""
    about = Embedded.load(folder).description
    for name, graph in about["graphs"].items():
        path = target / triton.place(about["pack"]["name"], name)
        path.parent.mkdir(parents=True)
        path.symlink_to(folder / graph["file"])
    triton.write_configs(about, target)
    return target


def assert_fits(config: dict[str, Any], model: onnx.ModelProto) -> None:
    """A config names all tensors of a graph, with their types and sizes."""
    assert config["max_batch_size"] > 1
    assert "dynamic_batching" in config
    for side, values in (("input", model.graph.input), ("output", model.graph.output)):
        named = {tensor["name"]: tensor for tensor in config[side]}
        assert set(named) == {value.name for value in values}
        for value in values:
            tensor, kind = named[value.name], value.type.tensor_type
            batch, *sizes = kind.shape.dim
            assert batch.dim_param == "B"
            assert [int(size) for size in tensor["dims"]] == [size.dim_value or -1 for size in sizes]
            assert TYPES[tensor["data_type"]] == kind.elem_type


def assert_connected(configs: dict[str, Any], pack: str) -> None:
    """Each tensor of the ensemble is given, or made by a step before, and has the sizes of the model that takes it."""
    ensemble = configs[pack]
    known = {tensor["name"]: tensor for tensor in ensemble["input"]}
    for step in ensemble["ensemble_scheduling"]["step"]:
        model = configs[step["model_name"]]
        taken = {tensor["name"]: tensor for tensor in model["input"]}
        assert set(step["input_map"]) == set(taken)
        for name, value in step["input_map"].items():
            assert known[value]["data_type"] == taken[name]["data_type"]
            pairs = zip(known[value]["dims"], taken[name]["dims"], strict=True)
            assert all(wanted in {given, "-1"} for given, wanted in pairs)
        made = {tensor["name"]: tensor for tensor in model["output"]}
        known |= {value: made[name] for name, value in step["output_map"].items()}
    for tensor in ensemble["output"]:
        assert known[tensor["name"]] == tensor


@pytest.mark.parametrize("graphs", ["embedded_mesh", "repository"])
def test_configs_are_triton_s(graphs: str, python: Path, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    repository: Path = request.getfixturevalue(graphs)
    if graphs != "repository":
        repository = described(repository, tmp_path / "repository")
    configs = read(python, repository)
    (pack,) = (name for name, config in configs.items() if config.get("platform") == "ensemble")
    assert set(configs) == {pack, *(f"{pack}_{graph}" for graph in ("find", "identify", "swap"))}
    for name, config in configs.items():
        assert config["name"] == name
        assert (repository / name / "1").is_dir()
        if name != pack:
            assert_fits(config, onnx.load(repository / name / "1" / "model.onnx", load_external_data=False))
    assert_connected(configs, pack)


def test_a_misspelt_field_would_be_refused(python: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong" / "config.pbtxt").write_text('name: "wrong"\nmax_batchsize: 8\n')
    with pytest.raises(AssertionError, match="max_batchsize"):
        read(python, tmp_path)


def test_frames_of_any_size_need_a_window(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Give window, or a size"):
        embed(Pack.load(find_pack("avatar")), tmp_path / "repository", Layout(), triton=True)
    assert Layout(size=(1918, 1078)).windowed().window == 1072
    assert Layout(size=(1918, 1078), window=640).windowed().window == 640


@pytest.fixture(scope="module")
def served(python: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The addresses of a server of the repository: HTTP and gRPC."""
    place = tmp_path_factory.mktemp("triton")
    shutil.copytree(repository, place / "repository")
    for config in (place / "repository").glob("*/config.pbtxt"):
        if (config.parent / "1" / "model.onnx").is_file():
            config.write_text(config.read_text().replace('backend: "onnxruntime"', 'backend: "python"'))
            shutil.copy(HERE / "triton_model.py", config.parent / "1" / "model.py")
    packages = next(TOOLS.glob("lib/python*/site-packages"))
    parts = packages / "pytriton" / "tritonserver"
    backend = place / "backends" / "python"
    shutil.copytree(parts / "backends" / "python", backend)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    shutil.copy(parts / "python_backend_stubs" / version / "triton_python_backend_stub", backend)
    for program in (parts / "bin" / "tritonserver", backend / "triton_python_backend_stub"):
        program.chmod(0o755)
    http, grpc = free_port(), free_port()
    with (place / "log").open("w") as log:
        server = subprocess.Popen(
            [
                parts / "bin" / "tritonserver", "--model-repository", place / "repository",
                "--backend-directory", place / "backends", "--allow-metrics", "false",
                "--http-address", "127.0.0.1", "--http-port", str(http),
                "--grpc-address", "127.0.0.1", "--grpc-port", str(grpc),
            ],
            env=os.environ | {
                "LD_LIBRARY_PATH": str(packages / "nvidia_pytriton.libs"),
                "PATH": f"{TOOLS / 'bin'}:{os.environ['PATH']}",
            },
            stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for(f"http://127.0.0.1:{http}/v2/health/ready", server, place / "log")
        yield f"127.0.0.1:{http}", f"127.0.0.1:{grpc}"
    finally:
        server.terminate()
        server.wait(30)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def http(address: str, body: bytes | None = None) -> Any:
    """The answer to JSON, which may be empty."""
    with urllib.request.urlopen(address, body, timeout=60) as answer:  # noqa: S310 - the server of this module
        return json.loads(answer.read() or "{}")


def wait_for(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    for _ in range(240):
        try:
            http(address)
            return
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(log.read_text())


def test_the_server_swaps_frames(python: Path, served: tuple[str, str], repository: Path, tmp_path: Path) -> None:
    """The example, which knows what the server tells it; several at once."""
    _, grpc = served
    frames = [frame.rgb(0).numpy() for frame in decoded(CLIP, 40)]
    for i, frame in enumerate(frames):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")

    def swapped(i: int) -> np.ndarray[Any, Any]:
        done = subprocess.run(
            [python, ROOT / "examples" / "triton" / "swap.py", grpc, "avatar", sample_sources("avatar")[0],
             tmp_path / f"{i}.png", tmp_path / f"{i}-out.png"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert "score of the face: 0.9" in done.stdout
        return np.asarray(Image.open(tmp_path / f"{i}-out.png"))

    with ThreadPoolExecutor(len(frames)) as threads:
        made = list(threads.map(swapped, range(len(frames))))
    graphs = Graphs(repository)
    who = graphs.latent(np.asarray(Image.open(sample_sources("avatar")[0]).convert("RGB")))
    for found, before in zip(made, frames, strict=True):
        wanted = graphs.swap({"frames": before[None]}, who)["frames"][0]
        assert (wanted != before).any()
        assert decibels(found, wanted, before) > 60


def test_requests_go_through_a_graph_together(served: tuple[str, str]) -> None:
    models = f"http://{served[0]}/v2/models/avatar_find"
    frames = {"name": "frames", "shape": [1, 64, 64, 3], "datatype": "UINT8", "data": [0] * (64 * 64 * 3)}
    body = json.dumps({"inputs": [frames]}).encode()

    def asked(_: int) -> list[float]:
        outputs = {tensor["name"]: tensor["data"] for tensor in http(f"{models}/infer", body)["outputs"]}
        scores: list[float] = outputs["scores"]
        return scores

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(asked, range(32))) == [[0, 0]] * 32
    (told,) = http(f"{models}/stats")["model_stats"]
    assert told["inference_count"] >= 32
    assert told["execution_count"] < told["inference_count"]

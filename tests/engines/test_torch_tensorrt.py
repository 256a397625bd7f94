"""The second compiler. Graphs are exported for real; torch-tensorrt itself needs a GPU and has a stand-in here."""

import ast
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import onnx
import pytest
import torch
from filelock import FileLock

from trtswap.backends import device as gpus
from trtswap.backends import open_engine
from trtswap.backends.trt.plans import stored_plans
from trtswap.errors import BackendError, EngineBuildError
from trtswap.model.pack import Pack

from ..conftest import unavailable
from ..trt_emulator.machine import Machine

# The one for the torch that is pinned, and one that has to be told about types; all of ``PAIRS`` were compared by hand.
RELEASES = {"2.11": "2.11.0", "2.13": "2.13.0"}


def options(**values: Any) -> Any:
    from trtswap.engines.build import Options

    return Options(precision="fp32", compiler="torch-tensorrt", **values)


@pytest.fixture
def installed(emulator: Machine, hand: Pack, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """torch-tensorrt is here: it names tensors anew, and what the exported program computes is checked on the way."""
    emulator.tensorrt = "11.0.0.114"
    asked: dict[str, Any] = {}

    def convert(
        program: torch.export.ExportedProgram,
        inputs: Any = None,
        *,
        arg_inputs: list[SimpleNamespace],
        use_explicit_typing: bool = False,
        **settings: Any,
    ) -> bytes:
        asked.update(settings, program=program, typed=use_explicit_typing)
        return plan_with_other_names(hand, arg_inputs)

    module: Any = ModuleType("torch_tensorrt")
    module.Input = SimpleNamespace
    module.dynamo = SimpleNamespace(convert_exported_program_to_serialized_trt_engine=convert)
    monkeypatch.setitem(sys.modules, "torch_tensorrt", module)
    monkeypatch.setattr("trtswap.engines.torch_tensorrt.version", lambda name: "2.13.0")
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    return asked


def plan_with_other_names(pack: Pack, inputs: list[SimpleNamespace]) -> bytes:
    """The swap graph compiled with the names that torch-tensorrt would give its tensors."""
    import tensorrt as trt

    from trtswap.backends.trt.library import find_library, make_logger

    model = onnx.load(pack.stages["swap"].path)
    names = {"faces": "tensors_0", "latents": "tensors_1", "swapped": "output0"}
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for value in (*model.graph.input, *model.graph.output):
        value.name = names[value.name]
    path = pack.path / "renamed.onnx"
    onnx.save(model, path)
    logger = make_logger(find_library("tensorrt"))
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    assert trt.OnnxParser(network, logger).parse_from_file(str(path))
    config, profile = builder.create_builder_config(), builder.create_optimization_profile()
    config.max_aux_streams = 0
    for name, given in zip(("tensors_0", "tensors_1"), inputs, strict=True):
        assert given.dtype == torch.float32
        profile.set_shape(name, given.min_shape, given.opt_shape, given.max_shape)
    config.add_optimization_profile(profile)
    return bytes(builder.build_serialized_network(network, config))


def test_compiled_compared_and_run_under_the_graphs_own_names(hand: Pack, installed: dict[str, Any]) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import build_engines

    (built,) = build_engines(hand, aim(gpus.find_gpu()), options(stages=("swap",)))
    record = built.plan.record
    assert record.compiler == "torch-tensorrt"
    assert [t.binding for t in (*record.inputs, *record.outputs)] == ["tensors_0", "tensors_1", "output0"]
    inputs = {"faces": torch.rand(3, 3, 16, 16), "latents": torch.rand(3, 3)}
    with (
        open_engine(hand.stages["swap"], backend="tensorrt") as engine,
        open_engine(hand.stages["swap"], backend="onnxruntime", device="cpu") as reference,
    ):
        wanted = reference(**inputs)["swapped"]
        torch.testing.assert_close(engine(**inputs)["swapped"], wanted)
    # The program that was handed over computes the same, at a batch that it was not exported with.
    torch.testing.assert_close(installed["program"].module()(*inputs.values())[0], wanted)
    assert installed["typed"]
    assert installed["disable_tf32"]
    assert installed["require_full_compilation"]
    assert (installed["max_aux_streams"], installed["optimization_level"]) == (0, 3)


def test_the_detect_graph_is_left_to_the_parser(hand: Pack, installed: dict[str, Any]) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import build_engines

    (built,) = build_engines(hand, aim(gpus.find_gpu()), options(stages=("detect",)))
    assert built.plan.record.compiler == "onnx-parser"
    assert not installed


def test_shapes_that_pytorch_cannot_follow_are_named(graph: Callable[[str], Path]) -> None:
    from trtswap.backends.torch.engine import TorchEngine
    from trtswap.engines.torch_tensorrt import export_program

    with TorchEngine(graph("rows"), device=torch.device("cpu"), precision="fp32") as engine:
        shapes = [((1, 3, 4, 4), (2, 3, 4, 5), (8, 3, 4, 16))]
        with pytest.raises(EngineBuildError, match=r"rows\.onnx cannot be exported .*--compiler onnx-parser"):
            export_program(engine, shapes)


@pytest.fixture
def graph(tmp_path: Path) -> Callable[[str], Path]:
    from ..trtswap.backends.conftest import build

    def write(name: str) -> Path:
        onnx.save(build(name), tmp_path / f"{name}.onnx")
        return tmp_path / f"{name}.onnx"

    return write


@pytest.mark.usefixtures("emulator")
def test_an_adain_network_keeps_its_batch_dynamic(graph: Callable[[str], Path]) -> None:
    from trtswap.backends.torch.engine import TorchEngine
    from trtswap.engines.torch_tensorrt import export_program

    with TorchEngine(graph("adain"), device=torch.device("cpu"), precision="fp32") as engine:
        program = export_program(
            engine, [((1, 3, 16, 16), (1, 3, 16, 16), (8, 3, 16, 16)), ((1, 6), (1, 6), (8, 6))]
        ).module()
        for batch in (2, 5, 8):
            inputs = {"faces": torch.rand(batch, 3, 16, 16), "latents": torch.rand(batch, 6)}
            assert torch.equal(program(*inputs.values())[0], engine(**inputs)["swapped"])


def overrides(**values: Any) -> Any:
    from trtswap.engines.config import Overrides

    return Overrides.none().also(**values)


def test_what_goes_wrong_is_typed(hand: Pack, installed: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import build_engines

    gpu, module = gpus.find_gpu(), sys.modules["torch_tensorrt"]
    chosen = options(stages=("swap",), overrides=overrides(hardware_compatibility="same-capability"))
    with pytest.raises(
        EngineBuildError, match=r"torch-tensorrt knows one profile, .* the config has 1 profiles and same"
    ):
        build_engines(hand, aim(gpu), chosen)

    def fails(program: Any, **settings: Any) -> bytes:
        raise RuntimeError("conversion of aten.foo is not supported")

    monkeypatch.setattr(module.dynamo, "convert_exported_program_to_serialized_trt_engine", fails)
    with pytest.raises(
        EngineBuildError, match=r"swap\.onnx: torch-tensorrt built no engine: RuntimeError: conversion of"
    ):
        build_engines(hand, aim(gpu), options(stages=("swap",)))
    with pytest.raises(
        EngineBuildError, match=r"parse\.onnx: torch-tensorrt's engine has inputs \['tensors_0', 'tensors_1'"
    ):
        renamed_parse(hand)
    assert stored_plans() == []


def renamed_parse(pack: Pack) -> None:
    from trtswap.engines.torch_tensorrt import renamed

    shapes = [SimpleNamespace(dtype=torch.float32, **dict.fromkeys(("min_shape", "opt_shape", "max_shape"), s))
              for s in ((1, 3, 16, 16), (1, 3))]  # fmt: skip
    with gpus.find_gpu().current():
        renamed(plan_with_other_names(pack, shapes), "parse.onnx", (), ())


@pytest.mark.parametrize(
    ("release", "torch_version", "tensorrt", "fits"),
    [
        ("2.11.0", "2.11.1+cu130", "10.15.1.29", True),
        ("2.13.0", "2.13.0", "11.0.0.114", True),
        ("2.13.0", "2.13.0", "11.4.0.106", False),
        ("2.14.0", "2.13.0", "11.1.0.106", False),
        ("2.15.0", "2.15.0", "11.4.0.106", False),
    ],
)
def test_only_pairs_that_exist(
    emulator: Machine, monkeypatch: pytest.MonkeyPatch, release: str, torch_version: str, tensorrt: str, fits: bool
) -> None:
    from trtswap.engines.torch_tensorrt import check_pair

    emulator.tensorrt = tensorrt
    monkeypatch.setattr("trtswap.engines.torch_tensorrt.version", lambda name: release)
    monkeypatch.setattr(torch, "__version__", torch_version)
    if fits:
        check_pair()
        return
    with pytest.raises(
        BackendError, match=r"does not belong to torch .* These do: 2\.11 with torch 2\.11 and TensorRT"
    ):
        check_pair()


@pytest.mark.usefixtures("emulator")
def test_not_installed_is_said() -> None:
    from trtswap.engines.torch_tensorrt import check_pair

    with pytest.raises(BackendError, match=r'not installed: pip install "trtswap\[torch-tensorrt\]"'):
        check_pair()


@pytest.fixture(scope="session", params=RELEASES)
def wheel(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, zipfile.ZipFile]:
    """A real wheel of torch-tensorrt: Python source, which can be read without a GPU."""
    folder = tmp_path_factory.getbasetemp() / f"torch-tensorrt-{request.param}"
    command = [sys.executable, "-m", "pip", "download", "-q", "--disable-pip-version-check", "--no-deps"]
    command += ["-d", str(folder), f"torch-tensorrt=={RELEASES[request.param]}"]
    with FileLock(f"{folder}.lock"):
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
    if ran.returncode:
        unavailable(f"the wheel of torch-tensorrt cannot be had: {ran.stderr[-300:]}")
    return request.param, zipfile.ZipFile(next(folder.glob("*.whl")))


def test_pairs_and_parameters_are_those_of_the_real_wheels(
    wheel: tuple[str, zipfile.ZipFile], emulator: Machine
) -> None:
    from trtswap.engines.config import BuildConfig, Range
    from trtswap.engines.torch_tensorrt import PAIRS, _settings

    release, archive = wheel
    metadata = next(name for name in archive.namelist() if name.endswith("METADATA"))
    demands = [line for line in archive.read(metadata).decode().splitlines() if line.startswith("Requires-Dist:")]
    for package, version in zip(("torch<", "tensorrt-cu13<"), PAIRS[release], strict=True):
        line = next(d for d in demands if d.split()[1].startswith(package))
        assert f">={version}" in line
    tree = ast.parse(archive.read("torch_tensorrt/dynamo/_compiler.py"))
    name = "convert_exported_program_to_serialized_trt_engine"
    function = next(n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) and n.name == name)
    real = {argument.arg for argument in (*function.args.args, *function.args.kwonlyargs)}
    used = _settings(
        lambda use_explicit_typing: None, BuildConfig(profiles=({"N": Range(1, 1, 1)},)), torch.device("cpu")
    )
    typed = {"use_explicit_typing"} if release in ("2.11", "2.12") else set()
    assert "use_explicit_typing" in real or not typed
    assert {"arg_inputs", *used} - {"use_explicit_typing"} <= real
    source = ast.parse(archive.read("torch_tensorrt/_Input.py"))
    assert {"min_shape", "opt_shape", "max_shape"} <= {n.value for n in ast.walk(source) if isinstance(n, ast.Constant)}

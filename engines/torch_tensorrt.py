"""The second compiler: the graph as PyTorch calls, exported, and compiled by torch-tensorrt into a plan like any other.

torch-tensorrt is tied to one release of PyTorch and one of TensorRT; what does not belong together is refused.
"""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from trtswap.backends.torch.engine import TorchEngine
from trtswap.backends.trt.library import find_library
from trtswap.backends.trt.loaded import LoadedPlan, tensor_names
from trtswap.backends.trt.plans import PlanTensor
from trtswap.engines.config import BuildConfig
from trtswap.errors import BackendError, EngineBuildError

PAIRS: Mapping[str, tuple[str, str]] = {
    "2.11": ("2.11", "10.15"),
    "2.12": ("2.12", "10.16"),
    "2.13": ("2.13", "11.0"),
    "2.14": ("2.14", "11.1"),
}
"""Releases of torch-tensorrt, each with the torch and the TensorRT that its wheel demands."""

Tensors = tuple[PlanTensor, ...]


class GraphModule(nn.Module):
    """A graph's calls as a module: inputs in the graph's order in, a tuple of its outputs out.

    Args:
        engine: the graph, opened by the torch backend; stays open.
    """

    def __init__(self, engine: TorchEngine) -> None:
        super().__init__()
        self.plan = engine.plan
        self.names = tuple(engine.inputs)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.plan.run(dict(zip(self.names, tensors, strict=True))).values())


def export_program(engine: TorchEngine, shapes: Sequence[tuple[tuple[int, ...], ...]]) -> torch.export.ExportedProgram:
    """A graph as PyTorch exports it, with every dimension dynamic that is so in the graph.

    Args:
        engine: the graph, opened by the torch backend.
        shapes: smallest, best and largest shape of each input.

    Raises:
        EngineBuildError: PyTorch cannot follow the shapes through the graph.
    """
    dims: dict[str, Any] = {}
    for spec, (low, _, high) in zip(engine.inputs.values(), shapes, strict=True):
        for dim, least, most in zip(spec.shape, low, high, strict=True):
            if isinstance(dim, str) and least < most:
                dims.setdefault(dim, torch.export.Dim(dim, min=least, max=most))
    dynamic = tuple(
        {i: dims[dim] for i, dim in enumerate(spec.shape) if isinstance(dim, str) and dim in dims}
        for spec in engine.inputs.values()
    )
    # Of a dimension of length 1 PyTorch would take it for granted that it stays 1.
    example = tuple(
        torch.zeros(
            [max(b, min(2, m)) for b, m in zip(best, most, strict=True)], dtype=spec.dtype, device=engine.device
        )
        for spec, (_, best, most) in zip(engine.inputs.values(), shapes, strict=True)
    )
    try:
        with torch.no_grad():
            return torch.export.export(GraphModule(engine), example, dynamic_shapes=(dynamic,), strict=False)
    except Exception as e:
        raise EngineBuildError(
            f"{engine.file} cannot be exported for torch-tensorrt: {type(e).__name__}: {str(e).splitlines()[0]}. Use "
            "--compiler onnx-parser for this graph."
        ) from e


def compile_with_torch(
    graph: Path, inputs: Tensors, outputs: Tensors, config: BuildConfig, *, device: torch.device
) -> tuple[bytes, Tensors, Tensors]:
    """A plan, and the inputs and outputs with the names that they have in it.

    Args:
        graph: ONNX file.
        inputs, outputs: of the graph.
        config: how; torch-tensorrt knows one profile, so the first counts, and two levels of hardware compatibility.
        device: the GPU.

    Raises:
        BackendError: torch-tensorrt is not installed, or does not belong to the torch and TensorRT that are.
        EngineBuildError: no plan came out.
    """
    check_pair()
    import torch_tensorrt  # noqa: PLC0415 - an extra of its own

    if config.hardware_compatibility == "same-capability" or len(config.profiles) > 1:
        raise EngineBuildError(
            f"torch-tensorrt knows one profile, and hardware compatibility none or ampere-plus; the config has "
            f"{len(config.profiles)} profiles and {config.hardware_compatibility}."
        )
    shapes = [config.shapes(config.profiles[0], t.spec) for t in inputs]
    with TorchEngine(graph, device=device, precision="as in the graph") as engine:
        program = export_program(engine, shapes)
        given = [
            torch_tensorrt.Input(min_shape=low, opt_shape=best, max_shape=most, dtype=t.spec.dtype)
            for t, (low, best, most) in zip(inputs, shapes, strict=True)
        ]
        convert = torch_tensorrt.dynamo.convert_exported_program_to_serialized_trt_engine
        try:
            data = bytes(convert(program, arg_inputs=given, **_settings(convert, config, device)))
        except Exception as e:
            raise EngineBuildError(f"{graph.name}: torch-tensorrt built no engine: {type(e).__name__}: {e}") from e
    return data, *renamed(data, graph.name, inputs, outputs)


def _settings(convert: Any, config: BuildConfig, device: torch.device) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "device": device,
        "disable_tf32": not config.tf32,
        "workspace_size": config.workspace_bytes or 0,
        "optimization_level": config.optimisation_level,
        "version_compatible": config.version_compatible,
        "hardware_compatible": config.hardware_compatibility == "ampere-plus",
        "require_full_compilation": True,
        "max_aux_streams": 0,
    }
    # Releases for TensorRT 10 have to be told what those for 11 do anyway: types are those of the graph.
    if "use_explicit_typing" in inspect.signature(convert).parameters:
        settings["use_explicit_typing"] = True
    return settings


def renamed(data: bytes, name: str, inputs: Tensors, outputs: Tensors) -> tuple[Tensors, Tensors]:
    """torch-tensorrt names tensors by itself, in the graph's order; finds these names in the plan.

    Raises:
        EngineBuildError: the plan has another number of tensors.
    """
    plan = LoadedPlan(find_library("tensorrt"), data, name=name, host_code=True)
    found = tensor_names(plan)
    plan.close()
    if [len(names) for names in found] != [len(inputs), len(outputs)]:
        raise EngineBuildError(f"{name}: torch-tensorrt's engine has inputs {found[0]} and outputs {found[1]}.")
    return tuple(
        tuple(replace(t, binding=binding) for t, binding in zip(tensors, names, strict=True))
        for tensors, names in zip((inputs, outputs), found, strict=True)
    )  # type: ignore[return-value]


def check_pair() -> None:
    """Hold the installed releases against ``PAIRS``.

    Raises:
        BackendError: one is missing, or they do not belong together.
    """
    try:
        release = ".".join(version("torch-tensorrt").split(".")[:2])
    except PackageNotFoundError as e:
        raise BackendError('torch-tensorrt is not installed: pip install "trtswap[torch-tensorrt]".') from e
    here = tuple(".".join(v.split(".")[:2]) for v in (torch.__version__, find_library("tensorrt").version))
    if PAIRS.get(release) != here:
        known = "; ".join(f"{r} with torch {t} and TensorRT {trt}" for r, (t, trt) in PAIRS.items())
        raise BackendError(
            f"torch-tensorrt {release} does not belong to torch {here[0]} and TensorRT {here[1]}. These do: {known}."
        )

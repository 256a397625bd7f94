"""Writes a pack's embedded graphs, and ``embed.json``, which says all that a program has to know of them."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import onnx
import onnxruntime
from onnx import ModelProto

import trtswap
from trtswap.backends.engine import TensorSpec
from trtswap.backends.runtime import wanted_stages
from trtswap.errors import ExportError
from trtswap.export.graph import export_graph
from trtswap.export.writer import as_export_error
from trtswap.files import TargetFolder
from trtswap.model.pack import Pack, StageSpec, sha256_of
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.pixels.color import PixelFormat, planes_from_rgb
from trtswap.pixels.geometry import TEMPLATES

from . import triton as repository
from .find import Find
from .identify import Identify
from .layout import STEP, Layout
from .stages import Stages, inlined
from .swap import Swap

FORMAT = 1
FILE = "embed.json"
GRAPHS = ("find", "identify", "swap")
_DTYPES = {"torch.float32": "float32", "torch.uint8": "uint8"}


@dataclass(frozen=True)
class Embedded:
    """Embedded graphs on disk.

    Attributes:
        path: their folder.
        description: what ``embed.json`` says.
    """

    path: Path
    description: Mapping[str, Any]

    def graph(self, name: str) -> Path:
        """The file of ``find``, ``identify`` or ``swap``."""
        return self.path / str(self.description["graphs"][name]["file"])

    @staticmethod
    def load(folder: Path) -> "Embedded":
        """What :func:`embed` has written before."""
        return Embedded(folder, json.loads((folder / FILE).read_text(encoding="utf-8")))


def embed(
    pack: Pack,
    target: Path,
    layout: Layout,
    *,
    runtime: RuntimeOptions | None = None,
    options: SwapOptions | None = None,
    precision: Literal["fp32", "fp16"] = "fp32",
    triton: bool = False,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Embedded:
    """Write the graphs find, identify and swap of a pack, which take and give whole frames.

    Args:
        pack: what finds, knows and swaps faces.
        target: the folder to write.
        layout: what frames look like.
        runtime: which of the pack's graphs are part of it: ``restore``, ``dense``, ``occlude``.
        options: what is settled in the graphs: ``detect_threshold``, ``mouth``, ``restore_weight``, ``fidelity``,
            ``likeness``, ``feather``; and told to who runs them: ``min_face``, ``similarity``.
        precision: fp16: of the pack's graphs that are calibrated; between them it is FP32.
        triton: write a model repository of Triton Inference Server, which has these graphs and an ensemble of find and
            swap with the pack's name. Its window is fixed: the frame's shorter side where the layout has none.
        overwrite: replace embedded graphs that are there.
        report: called with one line of text after each graph.

    Raises:
        InputError: an option that the pack does not take; triton with neither size nor window.
        ExportError: a graph takes one face at a time, would not become an engine, or the target cannot be written.
        CalibrationError: fp16, but the pack has not been calibrated.
    """
    runtime, options = runtime or RuntimeOptions(), options or SwapOptions()
    if triton:
        layout = layout.windowed()  # Triton has no tensor without a batch, such as the one that says the side
    specs = {spec.name: spec for spec in wanted_stages(pack, runtime)}
    _check(pack, specs, options)
    stages = Stages(specs)
    graphs = {name: _graph(spec, pack, precision) for name, spec in specs.items()}
    _check_target(target, overwrite=overwrite)
    made = list[tuple[str, Find | Identify | Swap, ModelProto]]()
    for name, module in _modules(layout, pack, stages, options):
        model = export_graph(
            module.eval(), module.inputs, module.outputs, name=name,
            inline=lambda traced: inlined(traced, stages, graphs),
        )  # fmt: skip
        made.append((name, module, model))
        report(f"{name}: {len(model.graph.node)} nodes, {model.ByteSize() / 1e6:.1f} MB")
    # Written at once, so that who stops this before leaves nothing behind.
    try:
        with as_export_error(), TargetFolder(target, overwrite=overwrite, replaceable=_is_embedded) as place:
            folder = place.temporary
            files = {
                name: _written(model, module, folder, repository.place(pack.name, name) if triton else f"{name}.onnx")
                for name, module, model in made
            }
            description = _description(pack, layout, stages, options, precision) | {"graphs": files}
            (folder / FILE).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")
            if triton:
                repository.write_configs(description, folder)
            place.commit()
    except OSError as e:
        raise ExportError(f"{target} cannot be written: {e.strerror}.") from e
    return Embedded(target, description)


def _check_target(target: Path, *, overwrite: bool) -> None:
    """Before a minute of work."""
    if target.exists() and not overwrite:
        raise ExportError(f"{target} exists. Choose another folder with -o, or replace it with --overwrite.")
    if target.exists() and not _is_embedded(target):
        raise ExportError(f"{target} exists and has no {FILE}, so it is not overwritten. Choose another folder.")


def _modules(
    layout: Layout, pack: Pack, stages: Stages, options: SwapOptions
) -> Iterator[tuple[str, Find | Identify | Swap]]:
    yield "find", Find(layout, pack, stages, options)
    yield "identify", Identify(layout, stages)
    yield "swap", Swap(layout, pack, stages, options)


def _check(pack: Pack, specs: Mapping[str, StageSpec], options: SwapOptions) -> None:
    for name, spec in specs.items():
        if spec.single:
            raise ExportError(
                f"the graph {name} of pack {pack.name} takes one face at a time, which cannot be part of a larger "
                "graph. Take a model that was exported with a dynamic batch."
            )
    if options.boost != 1:
        raise ExportError(f"boost is {options.boost}, expected 1: embedded graphs run the swap network once.")


def _graph(spec: StageSpec, pack: Pack, precision: str) -> ModelProto:
    if precision == "fp32" or not spec.converts or spec.name not in pack.stages:
        return onnx.load(spec.path)
    from trtswap.calibration import CalibrationTable  # noqa: PLC0415 - not for FP32
    from trtswap.calibration.convert import half_stage  # noqa: PLC0415

    return half_stage(spec, CalibrationTable.of(pack).stages[spec.name])


def _written(model: ModelProto, module: Find | Identify | Swap, folder: Path, file: str) -> dict[str, Any]:
    """Write a graph, open it, and tell what it is."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)
    onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    inputs, outputs = (list(map(_tensor, specs)) for specs in (module.inputs, module.outputs))
    about = {"file": file, "bytes": path.stat().st_size, "sha256": sha256_of(path)}
    return about | {"inputs": inputs, "outputs": outputs}


def _tensor(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "type": _DTYPES[str(spec.dtype)], "shape": list(spec.shape)}


def _description(pack: Pack, layout: Layout, stages: Stages, options: SwapOptions, precision: str) -> dict[str, Any]:
    pixels, coder = layout.pixels, pack.coder
    return {
        "format": FORMAT,
        "trtswap": trtswap.__version__,
        "pack": {"name": pack.name, "version": pack.version, "licence": pack.licence, "about": pack.description},
        "precision": precision,
        "frames": {
            "format": layout.format,
            "size": list(layout.size) if layout.size else None,
            "matrix": pixels.matrix if layout.planar else None,
            "range": layout.range if layout.planar else None,
            "chroma": list(pixels.chroma_offset) if layout.planar else None,
            "codes": _codes(pixels) if layout.planar else None,
        },
        "faces": layout.faces,
        "window": {"side": layout.window, "step": STEP},
        "min_face": options.min_face,
        "canvas": {
            "size": pack.canvas_size,
            "template": TEMPLATES[pack.canvas_template].scaled(pack.canvas_size).tolist(),
        },
        "latents": {
            "length": stages["identify"].latent,
            "similarity": pack.similarity(options.similarity) if _knows(pack, options) else None,
        },
        "source": {"tensor": coder.outputs[0].name, "length": coder.latent, "average": coder.average or "unit"},
        "stages": {name: {"sha256": spec.sha256, "templates": list(spec.templates), "size": spec.size}
                   for name, spec in stages.specs.items()},
        "weights": {name: dict(entry) for name, entry in pack.weights.items()},
    }  # fmt: skip


def _codes(pixels: PixelFormat) -> dict[str, Any]:
    """How R'G'B' 0..1 becomes code values."""
    matrix, offset = planes_from_rgb(pixels)
    return {"matrix": matrix.tolist(), "offset": offset.tolist()}


def _knows(pack: Pack, options: SwapOptions) -> bool:
    return pack.tells_people_apart or options.similarity is not None


def _is_embedded(folder: Path) -> bool:
    return (folder / FILE).is_file()

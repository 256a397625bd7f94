"""Facts about this machine and installation, found by trying."""

import io
import platform
from collections.abc import Sequence
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import av
import torch
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.codeccontext import VideoCodecContext

from trtswap.backends import choose, cuda
from trtswap.backends.sizing import cores
from trtswap.backends.trt.library import KINDS, find_library
from trtswap.backends.trt.plans import stored_plans
from trtswap.cli.engines import here_for_plans, plan_row
from trtswap.cli.pack_check import references
from trtswap.errors import BackendError, PackError
from trtswap.model.pack import Pack, StageSpec
from trtswap.packs import installed_packs, user_folder
from trtswap.report.measuring import cpu_name
from trtswap.video.scheduling import ordinary_threads

PACKAGES = (
    "trtswap", "torch", "onnxruntime", "onnxruntime-gpu", "openvino", "onnx", "tensorrt-cu13",
    "tensorrt-rtx-cu13", "torch-tensorrt", "cuda-bindings", "av", "numpy",
)  # fmt: skip
ENCODERS = (
    "libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "h264_nvenc", "hevc_nvenc", "av1_nvenc"
)  # fmt: skip
# A decoder of the hardware is tried on a picture that this encoder makes.
DECODERS = {"h264": "libx264", "hevc": "libx265", "av1": "libsvtav1"}
_QUIET = {"libx265": {"x265-params": "log-level=none"}}  # it writes to stderr by itself
_PIXEL_FORMATS = {"prores_ks": "yuv422p10le"}


def facts() -> dict[str, Any]:
    """Everything that ``trtswap doctor`` tells."""
    return {
        "versions": versions(),
        "cpu": cpu(),
        "gpus": gpus(),
        "driver": cuda.driver_version(),
        "cuda": {"torch": torch.version.cuda, "driver": cuda.driver_cuda_version()},
        "libraries": libraries(),
        "tensorrt": tensorrt(),
        "auto": automatic_choice(),
        "packs": packs(),
        "engines": engines(),
        "decoders": decoders(),
        "encoders": encoders(),
    }


def versions() -> dict[str, str | None]:
    """Version by distribution, None where it is not installed."""
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu() -> dict[str, Any]:
    """Name and number of cores that this process may use."""
    return {"name": cpu_name(), "cores": cores(), "system": platform.platform()}


def gpus() -> list[dict[str, Any]]:
    """CUDA devices that PyTorch sees."""
    if not torch.cuda.is_available():
        return []
    properties = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [
        {"name": p.name, "compute_capability": f"{p.major}.{p.minor}", "memory_bytes": p.total_memory}
        for p in properties
    ]


def tensorrt() -> dict[str, str | None]:
    """Whether the ``tensorrt`` backend can run here, and why not."""
    try:
        choose("tensorrt")
    except BackendError as error:
        return {"problem": str(error)}
    return {"problem": None}


def libraries() -> dict[str, dict[str, str | None]]:
    """The libraries of that backend: version, or why there is none."""
    found: dict[str, dict[str, str | None]] = {}
    for name, kind in KINDS.items():
        try:
            found[kind.title] = {"version": find_library(name).version, "problem": None}
        except BackendError as error:
            found[kind.title] = {"version": None, "problem": str(error)}
    return found


def automatic_choice(graphs: Sequence[StageSpec] = ()) -> dict[str, str | None]:
    """What ``--backend auto`` would take, in general or for the graphs of a pack."""
    try:
        choice = choose(graphs=graphs)
    except BackendError as error:
        return {"backend": None, "device": None, "reason": str(error)}
    return {"backend": choice.backend, "device": str(choice.device), "reason": choice.reason}


def packs() -> list[dict[str, Any]]:
    """Installed packs, each loaded, so that a broken one says what is wrong with it."""
    return [_pack(name, folder) for name, folder in installed_packs().items()]


def _pack(name: str, folder: Path) -> dict[str, Any]:
    try:
        pack = Pack.load(folder)
    except PackError as error:
        known = {"name": name, "folder": str(folder), "version": None, "licence": None, "similarity": None}
        return known | {"problem": str(error), "auto": None}
    auto = automatic_choice(tuple(pack.graphs.values()))
    known = {"name": name, "folder": str(folder), "version": pack.version, "licence": pack.licence}
    similarity = pack.stages["identify"].threshold or None
    return known | {"similarity": similarity, "references": references(pack), "problem": None, "auto": auto}


def engines() -> list[dict[str, Any]]:
    """Compiled engines in the cache, and whether each can run here."""
    here = here_for_plans()
    return [plan_row(plan, here) for plan in stored_plans()]


def decoders() -> list[dict[str, Any]]:
    """Decoders of the GPU (NVDEC), each tried on one small picture."""
    return [{"name": f"{codec} by NVDEC", "problem": _decode_on_gpu(encoder)} for codec, encoder in DECODERS.items()]


def _decode_on_gpu(encoder: str) -> str | None:
    """None if the GPU decodes a picture of this encoder, else what FFmpeg says."""
    file = io.BytesIO()
    with ordinary_threads():
        try:
            with av.open(file, "w", format="matroska") as video:
                stream = cast(av.VideoStream, video.add_stream(encoder, rate=25, options=_QUIET.get(encoder, {})))
                stream.width, stream.height, stream.pix_fmt = 256, 256, "yuv420p"
                frame = av.VideoFrame(256, 256, "yuv420p")
                frame.pts = 0
                video.mux(stream.encode(frame))
                video.mux(stream.encode(None))
            file.seek(0)
            hardware = HWAccel(device_type="cuda", allow_software_fallback=False)
            with cast(InputContainer, av.open(file, hwaccel=hardware)) as shown:
                next(shown.decode(video=0))
        except (av.error.FFmpegError, ValueError, OSError, RuntimeError, NotImplementedError, StopIteration) as error:
            return str(getattr(error, "strerror", None) or error) or "it gave no picture"
    return None


def encoders() -> list[dict[str, Any]]:
    """Video encoders, each opened once: that FFmpeg lists one says nothing about the hardware behind it."""
    return [{"name": name, "problem": _open_encoder(name)} for name in ENCODERS]


def _open_encoder(name: str) -> str | None:
    """None if the encoder opens, else what FFmpeg says."""
    with ordinary_threads():
        try:
            context = cast(VideoCodecContext, av.CodecContext.create(name, "w"))
            context.width, context.height = 256, 256
            context.pix_fmt = _PIXEL_FORMATS.get(name, "yuv420p")
            context.time_base = Fraction(1, 25)
            context.options = _QUIET.get(name, {})
            context.open()
        except (av.error.FFmpegError, ValueError, OSError) as error:
            return str(getattr(error, "strerror", None) or error)
    return None


def in_words(facts: dict[str, Any]) -> dict[str, list[str]]:
    """The same facts as lines for people, by heading."""
    found, auto = facts["cpu"], facts["auto"]
    return {
        "Versions": [f"{name} {number or 'not installed'}" for name, number in facts["versions"].items()],
        "Processor": [f"{found['name']}, {found['cores']} cores, {found['system']}"],
        "GPU": [
            f"{gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_bytes'] / 2**30:.0f} GiB"
            for gpu in facts["gpus"]
        ]
        or ["none that PyTorch sees"],
        "Driver": [f"{facts['driver'] or 'unknown'}, for CUDA up to {facts['cuda']['driver'] or 'unknown'}"],
        "CUDA": [f"PyTorch is built for {facts['cuda']['torch'] or 'none'}"],
        "TensorRT": [
            *(f"{title}: {here['version'] or here['problem']}" for title, here in facts["libraries"].items()),
            facts["tensorrt"]["problem"] or "can run",
        ],
        "Backend": [auto["reason"]],
        "Packs": [line for pack in facts["packs"] for line in _pack_in_words(pack)]
        or [f"none; `trtswap export` makes them in {user_folder()}"],
        "Engines": [
            f"{e['key']} {e['pack']} {e['stage']} {e['precision']}, {e['made_with']}, {e['for']}: {e['state']}"
            for e in facts["engines"]
        ]
        or ["none; `trtswap build-engines` makes them"],
        "Decoders": [f"{decoder['name']}: {decoder['problem'] or 'decodes'}" for decoder in facts["decoders"]],
        "Encoders": [f"{encoder['name']}: {encoder['problem'] or 'opens'}" for encoder in facts["encoders"]],
    }


def _pack_in_words(pack: dict[str, Any]) -> list[str]:
    """The pack, and what would run it."""
    first = f"{pack['name']} {pack['problem'] or pack['version']} ({pack['folder']})"
    if pack["auto"] is None:
        return [first]
    return [first, f"  with it: {pack['auto']['reason']}", f"  references: {pack['references']}"]

"""Facts about this machine and installation, found by trying."""

import os
import platform
from fractions import Fraction
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import av
import torch
from av.video.codeccontext import VideoCodecContext

from trtswap.backends import choose
from trtswap.errors import BackendError, PackError
from trtswap.measuring import cpu_name
from trtswap.pack import Pack
from trtswap.packs import installed_packs, user_folder
from trtswap.video.fflog import captured_log

PACKAGES = ("trtswap", "torch", "onnxruntime", "onnxruntime-gpu", "onnx", "tensorrt", "av", "kornia", "numpy")
ENCODERS = (
    "libx264", "libx265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks", "h264_nvenc", "hevc_nvenc", "av1_nvenc"
)  # fmt: skip
_QUIET = {"libx265": {"x265-params": "log-level=none"}}  # it writes to stderr by itself
_PIXEL_FORMATS = {"prores_ks": "yuv422p10le"}


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
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"name": cpu_name(), "cores": cores, "system": platform.platform()}


def gpus() -> list[dict[str, Any]]:
    """CUDA devices that PyTorch sees."""
    if not torch.cuda.is_available():
        return []
    properties = (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count()))
    return [
        {"name": p.name, "compute_capability": f"{p.major}.{p.minor}", "memory_bytes": p.total_memory}
        for p in properties
    ]


def automatic_choice() -> dict[str, str | None]:
    """What ``--backend auto`` would take."""
    try:
        choice = choose()
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
        return {"name": name, "folder": str(folder), "version": None, "licence": None, "problem": str(error)}
    return {"name": name, "folder": str(folder), "version": pack.version, "licence": pack.licence, "problem": None}


def encoders() -> list[dict[str, Any]]:
    """Video encoders, each opened once: that FFmpeg lists one says nothing about the hardware behind it."""
    return [{"name": name, "problem": _open_encoder(name)} for name in ENCODERS]


def _open_encoder(name: str) -> str | None:
    """None if the encoder opens, else what FFmpeg says."""
    with captured_log(av.logging.PANIC):
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
        "CUDA devices": [
            f"{gpu['name']}, compute capability {gpu['compute_capability']}, {gpu['memory_bytes'] / 2**30:.0f} GiB"
            for gpu in facts["gpus"]
        ]
        or ["none that PyTorch sees"],
        "Backend": [auto["reason"]],
        "Packs": [f"{pack['name']} {pack['problem'] or pack['version']} ({pack['folder']})" for pack in facts["packs"]]
        or [f"none; `trtswap export` makes them in {user_folder()}"],
        "Encoders": [f"{encoder['name']}: {encoder['problem'] or 'opens'}" for encoder in facts["encoders"]],
    }

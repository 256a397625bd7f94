"""Kinds of input: undamaged ones made by code, and what trtswap is asked to do with a stranger's."""

import json
import shutil
from abc import ABC, abstractmethod
from contextlib import suppress
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from math import prod
from pathlib import Path
from random import Random
from typing import Any

import av
import numpy as np
import onnx
import onnx.parser
import torch
from av.codec.codec import UnknownCodecError
from PIL import Image

from trtswap.backends import open_engine
from trtswap.backends.device import GpuFacts
from trtswap.backends.runtime import Runtime
from trtswap.backends.trt.plans import Place, PlanRecord, PlanTensor, StoredPlan, read_record, stored_plans
from trtswap.calibration.table import CalibrationTable, TensorRange
from trtswap.engines.config import BuildConfig, Overrides, Range, default_config
from trtswap.errors import TrtswapError
from trtswap.export.checkpoints import Checkpoint, load_state_dict
from trtswap.faces.identity import Identity
from trtswap.files import Target
from trtswap.model.pack import Pack, sha256_of
from trtswap.pictures.arrays import read_image
from trtswap.pictures.picture import About, read_picture
from trtswap.pictures.picture import Picture as PictureFile
from trtswap.pictures.saving import SUFFIXES, fitted, save
from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions

from ..engines.packs import GRAPHS, HEADER, write_pack
from ..trtswap.video.clips import FAST, Clip
from . import mutate

GPU = GpuFacts("A GPU", "8.9", 2**34, "13.0", None)
MOST_NUMBERS = 1 << 22
PLACE = Place("tensorrt", "11.4.0.106", "A GPU", ("8.9",))


MILLISECONDS: dict[str, Any] = {"time_base": Fraction(1, 1000), "pts": range(0, 480, 40), "last_duration": 40}
BROADCAST: dict[str, Any] = {"time_base": Fraction(1, 90_000), "pts": range(0, 43_200, 3600), "last_duration": 3600}
CLIPS = {
    "plain.mp4": Clip(audio=("aac",), title="t"),
    "reordered.mkv": Clip(options={**FAST, "bf": "2"}),
    "turned.mp4": Clip(rotation=(90, False, False)),
    "deep.mkv": Clip(pix_fmt="yuv420p10le"),
    "web.webm": Clip(codec="libvpx-vp9", options={"cpu-used": "8"}, **MILLISECONDS),
    "old.avi": Clip(codec="mpeg4", options={}, time_base=Fraction(1, 25), pts=range(12), last_duration=1),
    "stream.ts": Clip(audio=("mp2",), **BROADCAST),
    "words.mkv": Clip(subtitles=((0, 400, "one"),), chapters=((0, 200, "a"),), attachment=b"font" * 50),
    "lossless.mkv": Clip(codec="ffv1", options={}),
    "pictures.mov": Clip(codec="mjpeg", pix_fmt="yuvj420p", options={}),
    "flash.flv": Clip(**MILLISECONDS),
}


class Kind(ABC):
    """A kind of input.

    Attributes:
        name: of the kind.
        text: mutate words and numbers, not only bytes.
    """

    name: str
    text = False

    @abstractmethod
    def seeds(self, folder: Path) -> list[Path]:
        """Undamaged files, small, made in an empty folder."""

    @abstractmethod
    def use(self, path: Path, rng: Random) -> None:
        """What a service would do with a stranger's file; nothing but a TrtswapError may come out."""

    def mutated(self, data: bytes, rng: Random) -> bytes:
        return (mutate.of_text if self.text else mutate.of_bytes)(rng, data)


class Video(Kind):
    name = "video"

    def seeds(self, folder: Path) -> list[Path]:
        return [path for name, clip in CLIPS.items() if (path := _written(clip, folder / name)) is not None]

    def use(self, path: Path, rng: Random) -> None:
        start = rng.choice((None, None, 0.1))
        with VideoReader(path, batch_size=3, start=start) as reader:
            options = WriteOptions(preset="ultrafast", overwrite=True, audio=rng.choice(("copy", "encode")))
            target = path.with_name(f"out{rng.choice(('.mp4', '.mkv', '.ts', '.mov', '.webm'))}")
            with VideoWriter(target, reader.info, options=options, source=path, start=start) as writer:
                for frames in islice(reader, 5):
                    frames.resized(64)
                    frames.rgb(0)
                    writer.write(frames)


def _written(clip: Clip, path: Path) -> Path | None:
    try:
        return clip.write(path)
    except (av.error.FFmpegError, UnknownCodecError):  # a build of FFmpeg without the codec
        return None


class Picture(Kind):
    name = "picture"

    def seeds(self, folder: Path) -> list[Path]:
        pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3), np.uint8)
        picture, exif = Image.fromarray(pixels), Image.Exif()
        exif[0x0112] = 6
        made = []
        for name in ("a.jpg", "a.png", "a.webp", "a.gif", "a.tif", "a.bmp", "a.ppm", "a.tga", "a.jp2", "a.avif"):
            picture.save(folder / name, **({"exif": exif} if name == "a.jpg" else {}))
            made.append(folder / name)
        picture.convert("CMYK").save(folder / "cmyk.jpg")
        picture.quantize(8).save(folder / "palette.png")
        Image.fromarray(pixels[..., 0].astype(np.uint16) * 257).save(folder / "deep.png")
        moving = [picture.rotate(90 * number) for number in range(3)]
        for name in ("moving.gif", "moving.webp", "moving.png", "moving.avif"):
            moving[0].save(folder / name, save_all=True, append_images=moving[1:], duration=40)
            made.append(folder / name)
        return [*made, *map(self._deep, (folder / "rgb16.png", folder / "rgb16.tif")), folder / "cmyk.jpg",
                folder / "palette.png", folder / "deep.png"]  # fmt: skip

    @staticmethod
    def _deep(path: Path) -> Path:
        pixels = np.random.default_rng(1).integers(0, 65_535, (1, 24, 32, 3), np.uint16)
        save(PictureFile(pixels, None, None, About()), Target(path, source=None, overwrite=False))
        return path

    def use(self, path: Path, rng: Random) -> None:
        with suppress(TrtswapError):
            read_image(path)
        picture = read_picture(path)
        suffixes = SUFFIXES if len(picture.samples) == 1 else (".gif", ".webp", ".png", ".avif")
        target = path.with_name(f"out{rng.choice(suffixes)}")
        picture = fitted(picture.with_frames(picture.frames()), target)
        save(picture, Target(target, source=None, overwrite=True))


class PackToml(Kind):
    name, text = "pack", True

    def seeds(self, folder: Path) -> list[Path]:
        write_pack(folder / "hand")
        return [folder / "hand" / "pack.toml"]

    def use(self, path: Path, rng: Random) -> None:
        folder = path.parent / "pack"
        if not folder.exists():
            write_pack(folder)
        shutil.copyfile(path, folder / "pack.toml")
        with Runtime(Pack.load(folder), backend="onnxruntime", device="cpu"):
            pass


def _attribute(rng: Random, graph: onnx.GraphProto) -> None:
    found = [a for node in graph.node for a in node.attribute]
    if not found:
        return
    one, number = rng.choice(found), rng.choice((0, -1, 1, 7, 2**31, -(2**31), 2**62, -(2**63)))
    one.i = number
    if one.ints:
        one.ints[rng.randrange(len(one.ints))] = number
    if one.floats:
        one.floats[rng.randrange(len(one.floats))] = rng.choice((float("nan"), float("inf"), 1e38, 0.0))
    if rng.random() < 0.2:
        one.type = rng.choice((1, 2, 3, 4, 6, 7, 99))  # type: ignore[assignment]
        one.name = rng.choice((one.name, "axis", "keepdims", "x"))


def _operator(rng: Random, graph: onnx.GraphProto) -> None:
    rng.choice(graph.node).op_type = rng.choice(OPERATORS)


def _wiring(rng: Random, graph: onnx.GraphProto) -> None:
    node = rng.choice(graph.node)
    names = ["", *(name for other in graph.node for name in (*other.input, *other.output))]
    if node.input and rng.random() < 0.7:
        node.input[rng.randrange(len(node.input))] = rng.choice(names)
    else:
        node.input.append(rng.choice(names))


def _missing(rng: Random, graph: onnx.GraphProto) -> None:
    del graph.node[rng.randrange(len(graph.node))]


def _shape(rng: Random, graph: onnx.GraphProto) -> None:
    value = rng.choice([*graph.input, *graph.output])
    dims = value.type.tensor_type.shape.dim
    if dims and rng.random() < 0.7:
        rng.choice(dims).dim_value = rng.choice((0, 1, 2, 17, -1, 2**31, 2**62))
    else:
        value.type.tensor_type.elem_type = rng.choice((0, 1, 2, 6, 7, 9, 10, 11, 16, 99))


OPERATORS = ("Identity", "Reshape", "Concat", "Gather", "Slice", "Resize", "Conv", "MatMul", "Pad", "Expand", "Tile",
             "Range", "TopK", "NonMaxSuppression", "ConstantOfShape", "Loop", "If", "Cast", "Split",
             "Nothing")  # fmt: skip
GRAPH_DAMAGE = (_attribute, _attribute, _operator, _wiring, _missing, _shape)


class Graph(Kind):
    """ONNX files, opened and run by every runtime of the CPU; damaged in their bytes or in what they say."""

    name = "graph"

    def mutated(self, data: bytes, rng: Random) -> bytes:
        if rng.random() < 0.3:
            return mutate.of_bytes(rng, data)
        model = onnx.load_from_string(data)
        for _ in range(rng.choice((1, 1, 2, 3))):
            with suppress(ValueError, IndexError):  # what protobuf itself refuses, or nothing left to damage
                rng.choice(GRAPH_DAMAGE)(rng, model.graph)
        return bytes(model.SerializeToString())

    def seeds(self, folder: Path) -> list[Path]:
        for stage, text in GRAPHS.items():
            onnx.save(onnx.parser.parse_model(HEADER + text), folder / f"{stage}.onnx")
        return sorted(folder.glob("*.onnx"))

    def use(self, path: Path, rng: Random) -> None:
        backend = rng.choice(("onnxruntime", "openvino", "torch"))
        with open_engine(path, backend=backend, device="cpu") as engine:
            shapes = {
                name: [2 if isinstance(dim, str) else dim for dim in spec.shape] for name, spec in engine.inputs.items()
            }
            if all(prod(shape) < MOST_NUMBERS for shape in shapes.values()):
                engine(**{name: torch.zeros(shape, dtype=engine.inputs[name].dtype) for name, shape in shapes.items()})


class Sidecar(Kind):
    name, text = "sidecar", True

    def seeds(self, folder: Path) -> list[Path]:
        tensor = PlanTensor("faces", ("N", 3, 16, 16), "float32", "faces")
        config = BuildConfig(profiles=({"N": Range(1, 4, 16)},)).as_table()
        record = PlanRecord(
            key="0" * 20, pack="p", stage="swap", source_sha256="1" * 64, graph_sha256="2" * 64, precision="fp16+fp32",
            compiler="onnx-parser", config=config, inputs=(tensor,), outputs=(tensor,), place=PLACE, cuda="13.0",
            driver=None, plan_sha256="3" * 64, plan_bytes=12, device_memory_bytes=1, build_seconds=0.5,
            difference={"picture_db": 70.0},
        )  # fmt: skip
        from trtswap.backends.trt.plans import _as_json

        (folder / "a.json").write_bytes(_as_json(record))
        return [folder / "a.json"]

    def use(self, path: Path, rng: Random) -> None:
        from trtswap.cli.engines import plan_row

        record = read_record(path)
        stored_plans(path.parent)
        if record is not None:
            plan = StoredPlan(record, path.with_suffix(".plan"))
            json.dumps(plan_row(plan, [PLACE]))
            [tensor.spec for tensor in (*record.inputs, *record.outputs)]


class Calibration(Kind):
    name, text = "calibration", True

    def seeds(self, folder: Path) -> list[Path]:
        ranges = {"swap": {"a": TensorRange(-1.0, 1.0, 2.0), "b": TensorRange(0.0, 4.0, 9.0)}}
        CalibrationTable("0" * 64, "1" * 64, (0.0, 0.5), 3, ranges).save(folder / "calibration.json")
        return [folder / "calibration.json"]

    def use(self, path: Path, rng: Random) -> None:
        CalibrationTable.load(path)


class Settings(Kind):
    """A file of build settings."""

    name, text = "settings", True

    def seeds(self, folder: Path) -> list[Path]:
        text = 'batch = [1, 4, 8]\ntf32 = true\n[swap]\nfaces = "1,2,4"\nworkspace_mib = 64\n' + (
            "profiles = [{ N = [1, 2, 3] }]\n"
        )
        (folder / "settings.toml").write_text(text)
        return [folder / "settings.toml"]

    def use(self, path: Path, rng: Random) -> None:
        loaded = Overrides.load(path)
        stage = replace(Pack.load(write_once(path.parent / "hand")).stages["swap"])
        loaded.apply(default_config(stage, GPU.memory_bytes), "swap")


class SavedIdentity(Kind):
    name = "identity"

    def seeds(self, folder: Path) -> list[Path]:
        Identity(torch.linspace(-1, 1, 64), ("a.png",), "p", "0" * 64).save(folder / "a.safetensors")
        return [folder / "a.safetensors"]

    def use(self, path: Path, rng: Random) -> None:
        Identity.load(path)


class Weights(Kind):
    """Checkpoints: nothing in them may run."""

    name = "checkpoint"

    def seeds(self, folder: Path) -> list[Path]:
        network = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.PReLU())
        torch.save(network.state_dict(), folder / "state.pth")
        torch.save({"params": network.state_dict()}, folder / "nested.pth")
        torch.save(network, folder / "module.tar")
        torch.save(network.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
        return sorted(folder.iterdir())

    def use(self, path: Path, rng: Random) -> None:
        kind = "pickled_module" if path.suffix == ".tar" else "state_dict"
        entry = "params" if path.name.startswith("nested") else None
        checkpoint = Checkpoint("fuzz", path.name, sha256_of(path), (), "none", kind, entry=entry)  # type: ignore[arg-type]
        load_state_dict(checkpoint, path)


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Video(),
        Picture(),
        PackToml(),
        Graph(),
        Sidecar(),
        Calibration(),
        Settings(),
        SavedIdentity(),
        Weights(),
    )
}


def write_once(folder: Path) -> Path:
    if not (folder / "pack.toml").exists():
        write_pack(folder)
    return folder

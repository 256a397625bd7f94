"""From a pack to a swapped video with the TensorRT backend, on the emulator, against ONNX Runtime."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np

from trtswap.export.closeness import TOLERANCES, psnr
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

from ...trt_emulator.machine import Machine
from .conftest import Run


def frames(path: Path) -> np.ndarray:
    with av.open(str(path)) as video:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)])


def test_build_and_swap(
    run: Run, emulator: Machine, paste_pack: Path, clips: Path, pictures: Path, tmp_path: Path
) -> None:
    built = run("build-engines", paste_pack, "--precision", "fp32", "--json")
    assert built.code == 0, built.err
    stages = {row["stage"]: row for row in json.loads(built.out)}
    assert list(stages) == ["detect", "landmarks", "identify", "swap", "parse", "occlude"]
    assert all(row["built_because"] == "not built yet" for row in stages.values())
    again = run("build-engines", paste_pack, "--precision", "fp32", "--json")
    assert all(row["built_because"] is None for row in json.loads(again.out))
    targets = {}
    for backend in ("tensorrt", "auto", "onnxruntime"):
        targets[backend] = tmp_path / f"{backend}.mkv"
        ran = run(
            "swap", clips / "one.mp4", "-s", pictures / "face.png", "-o", targets[backend], "--pack", paste_pack,
            "--backend", backend, "--codec", "ffv1",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        assert (f"{'onnxruntime' if backend == 'onnxruntime' else 'tensorrt'} on") in ran.err
    expected = frames(targets["onnxruntime"])
    assert np.array_equal(frames(targets["tensorrt"]), expected)
    assert np.array_equal(frames(targets["auto"]), expected)
    assert emulator.replays > 0


def half_against_full(run: Run, pack: Path, clip: Path, source: Path, folder: Path, *config: str) -> float:
    """Calibrated, converted, built, and run beside the FP32 graphs: the worst frame's nearness in the face area, dB.

    Without the occluder, which is not converted, and would leave fewer pixels to compare.
    """
    assert run("calibrate", pack, "--video", clip, "--frames", 1, "--threads", 1, "--overwrite").code == 0
    built = run("build-engines", pack, "--json", *config)
    assert built.code == 0, built.err
    stages = Pack.load(pack).graphs
    assert {row["stage"]: row["precision"] for row in json.loads(built.out)} == dict.fromkeys(stages, "fp16")
    finished = []
    for backend in ("tensorrt", "onnxruntime"):
        target = folder / f"{backend}.mkv"
        ran = run(
            "swap", clip, "-s", source, "-o", target, "--pack", pack, "--backend", backend, "--codec", "ffv1",
            "--end", "0.12", "--no-occlude",
        )  # fmt: skip
        assert ran.code == 0, ran.err
        finished.append(frames(target))
    half, full = finished
    before = frames(clip)[: len(half)]
    face = (half != before).any(-1) | (full != before).any(-1)
    assert face.any((1, 2)).all()
    assert not np.array_equal(half, full)
    return min(psnr(a[where], b[where], peak=255.0) for a, b, where in zip(half, full, face, strict=True))


Note = Callable[[str, object], None]


def test_half_precision_with_a_real_detector(
    run: Run, emulator: Machine, seeing: Pack, clips: Path, pictures: Path, tmp_path: Path, record_property: Note
) -> None:
    """YuNet as it is, the other networks narrow and of random weights."""
    pack = Path(shutil.copytree(seeing.path, tmp_path / "mine"))
    nearness = half_against_full(run, pack, clips / "few.mp4", pictures / "face.png", tmp_path)
    record_property("face area, FP16 engines against FP32 graphs, dB", f"{nearness:.1f}")
    assert nearness >= TOLERANCES["fp16"].frame_db


def test_half_precision_of_the_trained_pack(run: Run, emulator: Machine, tmp_path: Path, record_property: Note) -> None:
    """The pack `avatar` on the beginning of its own clip."""
    pack = Path(shutil.copytree(find_pack("avatar"), tmp_path / "avatar"))
    samples = pack / "samples"
    nearness = half_against_full(run, pack, samples / "clip.mp4", samples / "source_1.png", tmp_path)
    record_property("avatar, face area, FP16 engines against FP32 graphs, dB", f"{nearness:.1f}")
    assert nearness >= TOLERANCES["fp16"].frame_db

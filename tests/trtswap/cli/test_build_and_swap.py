"""From a pack to a swapped video with the TensorRT backend, on the emulator, against ONNX Runtime."""

import json
from pathlib import Path

import av
import numpy as np

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
    assert list(stages) == ["detect", "identify", "swap", "parse"]
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

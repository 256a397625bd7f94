"""What it takes to add a stage: the table, its own step, and its place in the pipeline's order."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

from trtswap import Pack, Runtime, SwapOptions, Swapper
from trtswap.backends import device as gpus
from trtswap.backends import open_engine
from trtswap.backends.runtime import Stage
from trtswap.canvas import pipeline
from trtswap.canvas.batch import FaceBatch
from trtswap.canvas.pipeline import Opened, Step
from trtswap.export.build import example_inputs
from trtswap.export.closeness import figures_of
from trtswap.export.writer import PackWriter
from trtswap.model import stages
from trtswap.model.stages import CROPS, Port, StageKind
from trtswap.report.facts import stage_rows
from trtswap.report.recorder import Recorder

from ...trt_emulator.machine import Machine

INVERT = """<ir_version: 9, opset_import: ["" : 19]> invert (float[N,3,512,512] faces) => (float[N,3,512,512] inverted)
    { one = Constant<value_float = 1.0> () inverted = Sub (one, faces) }"""


# The table, the stage's own step, and its place: all that a new stage needs.
KIND = StageKind(
    name="invert",
    doing="inverting",
    inputs=(CROPS,),
    outputs=(Port("inverted", ("N", 3, "size", "size"), "pictures"),),
    required=False,
)


def with_invert(opened: Opened) -> Iterator[Step]:
    *before, last = ORDER(opened)
    yield from before
    if opened.has("invert"):
        yield Step("invert", Inverter(opened.stage("invert")))
    yield last


class Inverter:
    def __init__(self, stage: Stage) -> None:
        self.stage = stage

    def __call__(self, batch: FaceBatch) -> None:
        batch.canvas = self.stage.rows(faces=batch.canvas.clamp(0, 1))["inverted"]


ORDER = pipeline.order


@pytest.fixture
def inverting(paste_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The pack `paste` with a stage that nobody knew."""
    monkeypatch.setitem(stages._BY_NAME, "invert", KIND)
    monkeypatch.setattr(pipeline, "order", with_invert)
    pack = Pack.load(paste_pack)
    spec = replace(pack.stages["parse"], name="invert", path=Path("invert.onnx"), size=512)
    with PackWriter(tmp_path / "inverting", overwrite=False) as writer:
        for stage in pack.stages.values():
            writer.copy(stage)
        writer.add(spec, onnx.parser.parse_model(INVERT))
        writer.finish(name="inverting", version="1", licence="", description="", weights={})
    return tmp_path / "inverting"


def test_a_new_stage_is_loaded_opened_run_and_compared(inverting: Path, paste_pack: Path, data: Path) -> None:
    pack = Pack.load(inverting)
    spec = pack.stages["invert"]
    assert [[str(tensor) for tensor in side] for side in spec.contract] == [
        ["faces [N,3,512,512] float32"],
        ["inverted [N,3,512,512] float32"],
    ]
    inputs = example_inputs(spec, 2)
    with Runtime(pack, backend="onnxruntime", device="cpu") as runtime:
        assert list(runtime.engines) == [*Pack.load(paste_pack).graphs, "invert"]
        found = {name: value.numpy() for name, value in runtime.stage("invert")(**inputs).items()}
        wanted = {"inverted": 1 - inputs["faces"].numpy()}
        assert figures_of(spec, [(wanted, found)]).values["picture_db"] == 120
        swapper = Swapper(runtime=runtime, options=SwapOptions())
        picture = _face(data)
        out = swapper.swap(picture, swapper.identity(data / "astronaut.png"))
    with Swapper(paste_pack, backend="onnxruntime", device="cpu") as plain:
        other = plain.swap(picture, plain.identity(data / "astronaut.png"))
    changed = (other != picture).any(-1)
    both = out[changed].astype(int) + other[changed]
    assert np.median(np.abs(both - 255)) < 40  # inverted where the mask is whole


def _face(data: Path) -> np.ndarray:
    from trtswap.pictures.arrays import read_image

    return torch.as_tensor(read_image(data / "astronaut.png"))[None].numpy()


def test_a_new_stage_gets_an_engine(inverting: Path, emulator: Machine) -> None:
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, build_engines
    from trtswap.engines.config import Overrides

    options = Options(stages=("invert",), precision="fp32", overrides=Overrides.none().also(faces="1,1,2"))
    (built,) = build_engines(Pack.load(inverting), aim(gpus.find_gpu()), options)
    assert built.plan.record.stage == "invert"
    assert built.plan.record.config["profiles"] == [{"N": [1, 1, 2]}]
    with open_engine(Pack.load(inverting).stages["invert"], backend="tensorrt") as engine:
        x = torch.rand(2, 3, 512, 512)
        assert torch.equal(engine(faces=x)["inverted"], 1 - x)


def test_a_new_stage_is_in_the_report_where_its_work_is(inverting: Path, data: Path, tmp_path: Path) -> None:
    recorder = Recorder()
    with Swapper(inverting, backend="onnxruntime", device="cpu") as swapper:
        who = swapper.identity(data / "astronaut.png")
        video, target = data / "presenter.mp4", tmp_path / "out.mp4"
        result = swapper.swap_video(video, target, who, end=0.2, preset="ultrafast", observers=[recorder])
        rows = stage_rows(swapper, result, recorder, seconds=1.0, codec="libx264")
    order = ["decode", "detect", "track", "identify", "align", "occlude", "swap", "parse", "blend", "invert", "paste"]
    assert [row.name for row in rows] == [*order, "encode", "report", "rest"]
    assert next(row for row in rows if row.name == "invert").kind == "network"

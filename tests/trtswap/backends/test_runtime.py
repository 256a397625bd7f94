"""The runtime opens what the options want, takes its face batch from the engines, and has them prepared."""

from dataclasses import replace
from pathlib import Path

import onnx
import onnx.parser
import pytest

from trtswap.backends import choose
from trtswap.backends import device as gpus
from trtswap.backends.onnxruntime import OnnxRuntimeEngine
from trtswap.backends.runtime import Runtime, wanted_stages
from trtswap.errors import InputError
from trtswap.model import stages
from trtswap.model.pack import Pack
from trtswap.model.stages import STAGES as KINDS
from trtswap.options import RuntimeOptions
from trtswap.session.session import Session

from ...engines.packs import write_pack
from ...trt_emulator.machine import Machine


@pytest.fixture
def built(tmp_path_factory: pytest.TempPathFactory, emulator: Machine) -> Pack:
    """A pack with engines for three faces at once."""
    from trtswap.engines.aim import aim
    from trtswap.engines.build import Options, build_engines
    from trtswap.engines.config import Overrides

    pack = write_pack(tmp_path_factory.mktemp("packs") / "hand")
    overrides = Overrides.none().also(faces="1,2,3", batch="1,1,2")
    build_engines(pack, aim(gpus.find_gpu()), Options(precision="fp32", overrides=overrides))
    return pack


def test_no_more_faces_than_the_engines_take(built: Pack) -> None:
    with Runtime(built, backend="tensorrt") as runtime:
        assert runtime.face_batch == 3
        assert runtime.engines["detect"].max_rows == 2
        assert runtime.engines["swap"].captured == 3  # type: ignore[attr-defined]  # of 1, 2 and 3 faces
    with Runtime(built, backend="tensorrt", options=RuntimeOptions(face_batch=2)) as runtime:
        assert runtime.face_batch == 2


def test_more_faces_than_the_engines_take_are_refused_at_opening(built: Pack) -> None:
    with pytest.raises(InputError, match=r"face_batch is 8, but the engines .*identify 3, swap 3, parse 3\. Take 3 or"):
        Runtime(built, backend="tensorrt", options=RuntimeOptions(face_batch=8))


def test_without_cuda_graphs_nothing_is_captured(built: Pack) -> None:
    with Runtime(built, backend="tensorrt", options=RuntimeOptions(cuda_graphs=False)) as runtime:
        Session(runtime, None).prepare((64, 64), 2)
        assert {engine.captured for engine in runtime.engines.values()} == {0}  # type: ignore[attr-defined]


def test_a_session_captures_the_detector_before_its_first_frame(built: Pack) -> None:
    with Runtime(built, backend="tensorrt") as runtime:
        detect = runtime.engines["detect"]
        assert detect.captured == 0  # type: ignore[attr-defined]
        Session(runtime, None).prepare((64, 64), 2)
        assert detect.captured == 1  # type: ignore[attr-defined]


def test_threads_that_nothing_uses_are_refused(built: Pack) -> None:
    with pytest.raises(InputError, match="threads is 3, but tensorrt runs on a GPU"):
        Runtime(built, backend="tensorrt", options=RuntimeOptions(threads=3))


def test_auto_asks_for_the_engines_of_the_stages_that_are_opened(built: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restorer without an engine does not matter to who leaves it out; what no option leaves out is opened."""
    restorer = KINDS["restore"]
    assert restorer.option == "restore"
    extra = replace(built.stages["parse"], name="restore", sha256="0" * 64)
    pack = replace(built, stages={**built.stages, "restore": extra})
    assert {s.name for s in wanted_stages(pack, RuntimeOptions())} == set(pack.stages)
    without = RuntimeOptions(restore=False)
    assert {s.name for s in wanted_stages(pack, without)} == set(built.stages)
    with Runtime(pack, options=without) as runtime:
        assert runtime.choice.backend == "tensorrt"
    assert "no engine of restore" in choose(graphs=wanted_stages(pack, RuntimeOptions())).reason
    monkeypatch.setitem(stages._BY_NAME, "restore", replace(restorer, option=None))
    assert {s.name for s in wanted_stages(pack, without)} == set(pack.stages)


def test_a_graph_may_leave_open_what_the_pack_gives(
    paste_pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its height and width are dynamic in the graph, and numbers in pack.toml."""
    from trtswap.export.writer import PackWriter

    text = """<ir_version: 9, opset_import: ["" : 19]> g (float[N,3,H,W] faces) => (float[N,3,H,W] restored) {
        restored = Neg(faces)
    }"""
    pack = Pack.load(paste_pack)
    with PackWriter(tmp_path / "open", overwrite=False) as writer:
        for stage in pack.stages.values():
            if stage.name != "restore":
                writer.copy(stage)
        spec = replace(pack.stages["parse"], name="restore", path=Path("restore.onnx"), size=64)
        writer.add(spec, onnx.parser.parse_model(text))
        writer.finish(name="open", version="1", licence="", description="", weights={})
    asked: list[tuple[int, ...]] = []
    monkeypatch.setattr(OnnxRuntimeEngine, "prepare", lambda self, **shapes: asked.extend(shapes.values()))
    with Runtime(tmp_path / "open", backend="onnxruntime", device="cpu"):
        assert (1, 3, 64, 64) in asked

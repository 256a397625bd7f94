"""Networks that give NaN or infinity: such faces are left as they are, to the bit, and counted."""

from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from PIL import Image

from trtswap import Pack, RuntimeOptions, Swapper
from trtswap.errors import SourceError
from trtswap.export.writer import PackWriter
from trtswap.pictures.arrays import read_image
from trtswap.video.reader import VideoReader

# Divided by zero where the source's latent is negative in its first number; a graph of any size.
BROKEN = """<ir_version: 9, opset_import: ["" : 19]> g (float[N,3,{s},{s}] faces, float[N,{d}] latents)
    => (float[N,3,{s},{s}] swapped) {{
    zero = Constant<value_float = 0.0>() worse = {worse}(zero, zero) one = Constant<value_float = 1.0>()
    bad = {op}(one, {by}) swapped = Add(faces, bad) }}"""


@pytest.fixture(params=["nan", "infinity"])
def broken(request: pytest.FixtureRequest, paste_pack: Path, tmp_path: Path) -> Path:
    words = {"nan": ("Div", "Mul", "worse"), "infinity": ("Mul", "Div", "zero")}[request.param]
    return with_graph(paste_pack, tmp_path / "broken", "swap", words)


def with_graph(pack: Path, folder: Path, stage: str, words: tuple[str, str, str]) -> Path:
    loaded = Pack.load(pack)
    with PackWriter(folder, overwrite=False) as writer:
        for spec in loaded.stages.values():
            if spec.name != stage:
                writer.copy(spec)
                continue
            worse, op, by = words
            text = BROKEN.format(s=spec.size, d=spec.latent, worse=worse, op=op, by=by)
            writer.add(spec, onnx.parser.parse_model(text))
        writer.finish(name="broken", version="1", licence="", description="", weights={})
    return folder


def test_faces_without_numbers_stay_as_they_are(broken: Path, data: Path, tmp_path: Path) -> None:
    settled = RuntimeOptions(threads=1)
    with Swapper(broken, backend="onnxruntime", device="cpu", runtime=settled) as swapper:
        who = swapper.identity(data / "astronaut.png")
        picture = read_image(data / "astronaut.png")[None].numpy()
        assert np.array_equal(swapper.swap(picture, who), picture)
        target = tmp_path / "out.mkv"
        options = {"end": 0.2, "codec": "ffv1"}
        result = swapper.swap_video(data / "presenter.mp4", target, who, **options)
    assert result.frames == 5
    assert [w for w in result.warnings if "5 faces were left unchanged: a network of pack broken gave NaN" in w]
    with VideoReader(data / "presenter.mp4", end=0.2) as before, VideoReader(target) as after:
        for old, new in zip(before, after, strict=True):
            assert all(a.equal(b) for a, b in zip(old.planes, new.planes, strict=True))


def test_the_command_says_so(broken: Path, data: Path, tmp_path: Path) -> None:
    import subprocess
    import sys

    code = "import trtswap_command; trtswap_command.main()"
    command = [sys.executable, "-c", code, "swap", data / "astronaut.png", "--source", data / "astronaut.png"]
    target = tmp_path / "out.png"
    done = subprocess.run([*command, "-o", target, "--pack", broken], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "1 face was left unchanged" in " ".join(done.stderr.split())
    assert np.array_equal(np.asarray(Image.open(target)), np.asarray(Image.open(data / "astronaut.png")))


def test_an_identity_without_numbers_is_refused(paste_pack: Path, data: Path, tmp_path: Path) -> None:
    text = """<ir_version: 9, opset_import: ["" : 19]> g (float[N,3,112,112] faces) => (float[N,{d}] latents) {{
        axes = Constant<value_ints = [1, 2, 3]>() mean = ReduceMean<keepdims=0>(faces, axes)
        zero = Constant<value_float = 0.0>() nan = Div(zero, zero)
        last = Constant<value_ints = [1]>() column = Unsqueeze(mean, last) bad = Mul(column, nan)
        wide = Constant<value_ints = [1, {d}]>() latents = Expand(bad, wide) }}"""
    loaded = Pack.load(paste_pack)
    spec = loaded.stages["identify"]
    with PackWriter(tmp_path / "nobody", overwrite=False) as writer:
        for other in loaded.stages.values():
            if other.name == "identify":
                writer.add(spec, onnx.parser.parse_model(text.format(d=spec.latent)))
            else:
                writer.copy(other)
        writer.finish(name="nobody", version="1", licence="", description="", weights={})
    with (
        Swapper(tmp_path / "nobody", backend="onnxruntime", device="cpu") as swapper,
        pytest.raises(SourceError, match="the identify graph of pack nobody gave no numbers"),
    ):
        swapper.identity(data / "astronaut.png")

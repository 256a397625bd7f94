"""Swap, parse, restore and composite stages with real, tiny graphs."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
import torch

from trtswap.backends import open_engine
from trtswap.backends.engine import Engine
from trtswap.backends.runtime import Stage
from trtswap.canvas.composite import blend, layers
from trtswap.canvas.parse import CLASSES, FACE, MOUTH, Parser, _blurred, masks_of
from trtswap.canvas.restore import Restorer
from trtswap.canvas.swap import FaceSwapper, Patch, join, split
from trtswap.errors import InputError
from trtswap.model.pack import StageSpec
from trtswap.pixels.geometry import TEMPLATES, align, compose, invert

Opener = Callable[[str], Engine]


@pytest.fixture
def engine(tmp_path: Path) -> Opener:
    def opened(text: str) -> Engine:
        path = tmp_path / "graph.onnx"
        onnx.save(onnx.parser.parse_model(f'<ir_version: 9, opset_import: ["" : 19]> {text}'), path)
        return open_engine(path, backend="onnxruntime", device="cpu")

    return opened


IDENTITY = "g (float[N,3,{s},{s}] faces) => (float[N,3,{s},{s}] out) {{ out = Identity(faces) }}"
BRIGHTEST_AS_LABEL = """g (float[N,3,64,64] faces) => (uint8[N,64,64] labels) <int64[1] axes = {1}> {
    brightest = ReduceMax<keepdims=0>(faces, axes)
    peak = Constant<value_float=255.0>()
    value = Mul(brightest, peak)
    labels = Cast<to=2>(value)
}"""


def stage(name: str, size: int, engine: Engine, *, face_batch: int = 2, **values: float) -> Stage:
    spec = StageSpec(name, Path("graph.onnx"), "", size=size, templates=("arcface_112_v1",), latent=4, **values)  # type: ignore[arg-type]
    return Stage(spec, engine, face_batch=face_batch)


def test_face_batches_give_what_one_run_gives(engine: Opener) -> None:
    with engine("g (float[N,3] faces) => (float[N,3] restored) { restored = Mul(faces, faces) }") as square:
        x = torch.randn(11, 3)
        for face_batch in (1, 4, 11, 50):
            assert torch.equal(stage("restore", 3, square, face_batch=face_batch).rows(faces=x)["restored"], x * x)
        kept = stage("restore", 3, square, face_batch=20).rows(faces=x)["restored"]
        stage("restore", 3, square, face_batch=20).rows(faces=x * 0)
        assert torch.equal(kept, x * x)  # the caller owns it


def test_all_outputs_of_a_graph_come_in_pieces(engine: Opener) -> None:
    text = "g (float[N,3] faces) => (float[N,3] a, float[N,3] b) { a = Neg(faces) b = Mul(faces, faces) }"
    with engine(text) as both:
        x = torch.randn(5, 3)
        found = stage("restore", 3, both).rows(faces=x)
    assert list(found) == ["a", "b"]
    assert torch.equal(found["a"], -x)
    assert torch.equal(found["b"], x * x)


def test_a_watcher_sees_every_run(engine: Opener) -> None:
    seen: list[tuple[str, int, float]] = []
    with engine("g (float[N,3] faces) => (float[N,3] restored) { restored = Mul(faces, faces) }") as square:
        spec = stage("restore", 3, square).spec
        watched = Stage(spec, square, face_batch=2, watchers=[
            lambda name, inputs, outputs: seen.append((name, len(inputs["faces"]), float(outputs["restored"].sum())))
        ])  # fmt: skip
        watched.rows(faces=torch.full((5, 3), 2.0))
    assert seen == [("restore", 2, 24.0), ("restore", 2, 24.0), ("restore", 1, 12.0)]


def test_coverage_is_one_inside_the_swap_crop_and_zero_outside(engine: Opener) -> None:
    swapped = """g (float[N,3,112,112] faces, float[N,4] latents) => (float[N,3,112,112] swapped) {
        swapped = Identity(faces)
    }"""
    landmarks = TEMPLATES["ffhq_512"].scaled(400)[None] + 100
    to_swap, to_canvas = align(landmarks, ("arcface_112_v1",), 112), align(landmarks, ("ffhq_512",), 256)
    canvas_to_swap = compose(to_swap, invert(to_canvas))
    with engine(swapped) as graph:
        swapper = FaceSwapper(stage("swap", 112, graph))
        crops = torch.full((1, 3, 112, 112), 0.25)
        (patch,) = swapper.to_canvas(*swapper.swapped(crops, torch.zeros(1, 4)), canvas_to_swap, 256)
    picture, coverage = torch.zeros(1, 3, 256, 256), torch.zeros(1, 1, 256, 256)
    patch.of(picture).copy_(patch.picture)
    patch.of(coverage).copy_(patch.coverage)
    picture, coverage = picture[0], coverage[0]
    # Where each canvas pixel lies in the swap crop, in pixels from the nearest border.
    grid = torch.stack(torch.meshgrid(torch.arange(256.0), torch.arange(256.0), indexing="xy"), -1).view(-1, 2)
    m = canvas_to_swap[0]
    position = (grid @ m[:, :2].T + m[:, 2]).view(256, 256, 2)
    depth = torch.minimum(position, 111 - position).amin(-1)
    assert (coverage[0][depth > 0.06 * 112 + 1] > 0.999).all()
    assert (coverage[0][depth < -1] == 0).all()
    assert (depth[coverage[0] == 0] < 1.5).all()
    torch.testing.assert_close(picture[:, depth > 1], torch.full_like(picture[:, depth > 1], 0.25))
    assert patch.coverage.numel() < 256 * 256


@pytest.mark.parametrize(("crop", "canvas"), [(32, 128), (96, 64), (112, 24)])
def test_faces_together_are_laid_as_one_after_the_other(engine: Opener, crop: int, canvas: int) -> None:
    """Crops smaller and larger than their place in the canvas; of turned faces, and one that the template misses."""
    points, angle = TEMPLATES["ffhq_512"].scaled(1) - 0.5, torch.tensor([0.0, 0.4, -1.2, 3.0])
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    landmarks = points @ turn.mT * torch.tensor([300.0, 80, 200, 900])[:, None, None] + 400
    landmarks[3, 0] += 300
    to_swap, to_canvas = align(landmarks, ("arcface_112_v1",), crop), align(landmarks, ("ffhq_512",), canvas)
    canvas_to_swap, g = compose(to_swap, invert(to_canvas)), torch.Generator().manual_seed(0)
    swapped, originals = torch.rand(4, 3, crop, crop, generator=g), torch.rand(4, 3, canvas, canvas, generator=g)
    face, mouth = torch.rand(2, 4, 1, canvas, canvas, generator=g)
    done = []
    with engine(IDENTITY.format(s=crop)) as graph:
        swapper = FaceSwapper(stage("swap", crop, graph))
        coverage = swapper._ramp.expand(4, -1, -1, -1)
        for together in (False, True):
            blended, seen = originals.clone(), torch.zeros(4, 4, canvas, canvas)
            patches = swapper.to_canvas(swapped, coverage, canvas_to_swap, canvas, together=together)
            blend(blended, patches, mouth)
            for whole, layer in zip(seen, layers(blended, face, patches), strict=True):
                x0, y0, x1, y1 = layer.box
                whole[:, y0:y1, x0:x1] = torch.cat([layer.picture * (layer.alpha > 0), layer.alpha])
            done.append((len(patches), blended, seen))
        # Without values, as if they were on a GPU still to come: nothing waits for one, and all are laid together.
        patches = swapper.to_canvas(swapped.to("meta"), coverage.to("meta"), canvas_to_swap, canvas)
    blend(originals.to("meta"), patches, mouth.to("meta"))
    assert len(patches) == 1
    assert len(layers(originals.to("meta"), face.to("meta"), patches)) == 4
    (singly, blended, seen), (at_once, blended_at_once, seen_at_once) = done
    assert (singly, at_once) == (4, 1)
    torch.testing.assert_close(blended_at_once, blended, atol=2e-4, rtol=0)
    torch.testing.assert_close(seen_at_once[:, 3], seen[:, 3], atol=2e-4, rtol=0)
    shown = (seen[:, 3:] > 1e-3).expand(4, 4, canvas, canvas)
    torch.testing.assert_close(seen_at_once[shown], seen[shown], atol=2e-4, rtol=0)


def test_masks_follow_the_labels(engine: Opener) -> None:
    """Labels: left half skin, right half background, a mouth block in the skin."""
    size = 256
    labels = torch.zeros(1, size, size, dtype=torch.uint8)
    labels[:, :, :128] = CLASSES.index("skin")
    labels[:, 100:140, 40:90] = CLASSES.index("mouth")
    masks = masks_of(labels, size, 0.02)
    face, mouth = masks.face[0, 0], masks.mouth[0, 0]
    assert (face[:, :105] > 0.99).all()
    assert (face[:, 128:] < 0.02).all()  # nothing outside the face is shown
    assert ((face[128] - face[128].clamp(0, 1)).abs() == 0).all()
    assert (face[60].diff() <= 1e-6).all()  # falls steadily
    assert (mouth[102:138, 42:88] > 0.9).all()  # the mouth is kept whole
    assert (mouth[:, 120:] == 0).all()
    assert 0.2 < float(mouth[120, 92]) < 0.98  # and fades outside of it


@pytest.mark.parametrize("sigma", [0.3, 1.28, 3.9])
def test_masks_are_blurred_as_kornia_does(sigma: float) -> None:
    from kornia.filters import gaussian_blur2d

    masks, side = torch.rand(3, 2, 96, 96), 2 * int(3 * sigma + 0.5) + 1
    expected = gaussian_blur2d(masks, (side, side), (sigma, sigma), border_type="replicate")
    torch.testing.assert_close(_blurred(masks, sigma), expected, atol=1e-6, rtol=0)


def test_mask_edges_are_sized_in_crop_pixels() -> None:
    labels = torch.zeros(1, 128, 128, dtype=torch.uint8)
    labels[:, :, :64] = 1
    small, large = (masks_of(labels, size, 0.03).face[0, 0, size // 2] for size in (128, 512))
    torch.testing.assert_close(large[2::4], small, atol=0.06, rtol=0)


def test_a_canvas_of_another_size_is_resized_for_the_parser(engine: Opener) -> None:
    with engine(BRIGHTEST_AS_LABEL) as graph:
        labels = Parser(stage("parse", 64, graph), feather=0.02).labels(torch.full((3, 3, 256, 256), 0.5))
    assert labels.shape == (3, 64, 64)
    assert (labels == 127).all()


def test_face_and_mouth_classes_are_the_documented_ones() -> None:
    assert len(CLASSES) == 19
    assert {CLASSES[i] for i in MOUTH} == {"mouth"}
    assert {CLASSES[i] for i in range(19)} - {CLASSES[i] for i in FACE} == {
        "background", "left ear", "right ear", "earring", "neck", "necklace", "cloth", "hair", "hat"
    }  # fmt: skip


def test_the_restorer_is_mixed_in_by_weight(engine: Opener) -> None:
    with engine("g (float[N,3,8,8] faces) => (float[N,3,8,8] restored) { restored = Neg(faces) }") as graph:
        canvas = torch.rand(2, 3, 8, 8)
        for weight in (0.0, 0.25, 1.0):
            out = Restorer(stage("restore", 8, graph), weight=weight).restored(canvas)
            torch.testing.assert_close(out, canvas * (1 - weight) - canvas * weight)
        default = Restorer(stage("restore", 8, graph, weight=0.5)).restored(canvas)
        torch.testing.assert_close(default, torch.zeros_like(canvas))


def test_blend_keeps_the_mouth_and_the_surroundings() -> None:
    mouth, coverage = torch.zeros(1, 1, 6, 6), torch.ones(1, 1, 4, 4)
    coverage[..., 0], mouth[..., 4] = 0, 1
    patch = Patch(slice(0, 1), (1, 1, 5, 5), torch.ones(1, 3, 4, 4), coverage)
    for kept, expected in ((mouth, [0, 0, 1, 1, 0, 0]), (None, [0, 0, 1, 1, 1, 0])):
        canvas = torch.zeros(1, 3, 6, 6)
        blend(canvas, [patch], kept)
        np.testing.assert_array_equal(canvas[0, 0, 2], expected)
        assert canvas[0, :, [0, 5]].sum() == 0
    (layer,) = layers(canvas, mouth, [patch])
    assert layer.box == (4, 1, 5, 5)  # no more than is seen
    np.testing.assert_array_equal(layer.alpha[0], np.ones((4, 1)))
    np.testing.assert_array_equal(layer.picture, canvas[0, :, 1:5, 4:5])


@pytest.mark.parametrize("boost", [1, 2, 3, 4])
def test_crops_are_taken_apart_pixel_by_pixel_and_put_together(boost: int) -> None:
    crops = torch.rand(3, 4, 6 * boost, 6 * boost, generator=torch.Generator().manual_seed(0))
    parts = split(crops, boost)
    assert parts.shape == (3 * boost**2, 4, 6, 6)
    for row in range(boost):
        for column in range(boost):
            assert torch.equal(parts[row * boost + column], crops[0, :, row::boost, column::boost])
    assert torch.equal(join(parts, boost), crops)


GIVES_MASK = """g (float[N,3,16,16] faces, float[N,4] latents) => (float[N,3,16,16] swapped, float[N,1,16,16] mask)
    <int64[1] channels = {1}> {
    swapped = Identity(faces)
    mask = ReduceMean<keepdims=1>(faces, channels)
}"""


@pytest.mark.parametrize("boost", [1, 2])
def test_a_networks_own_mask_is_part_of_what_is_seen(engine: Opener, boost: int) -> None:
    """Whatever the boost, each pixel has its own mask, and rows keep their latents."""
    with engine(GIVES_MASK) as graph:
        swapper = FaceSwapper(stage("swap", 16, graph, mask=True), boost=boost)
        crops = torch.rand(5, 3, 16 * boost, 16 * boost, generator=torch.Generator().manual_seed(0))
        swapped, coverage = swapper.swapped(crops, torch.zeros(5, 4))
    assert torch.equal(swapped, crops)
    torch.testing.assert_close(coverage, swapper._ramp * crops.mean(1, keepdim=True))


def test_a_restorer_is_given_its_fidelity_one_face_at_a_time(engine: Opener) -> None:
    text = (
        "g (float[1,3,8,8] faces, float[1] fidelity) => (float[1,3,8,8] restored) { restored = Mul(faces, fidelity) }"
    )
    faces = torch.rand(5, 3, 8, 8)
    with engine(text) as graph:
        made = stage("restore", 8, graph, fidelity=0.25, single=True)
        assert torch.equal(Restorer(made).restored(faces), faces * 0.25)
        assert torch.equal(Restorer(made, fidelity=0.5).restored(faces), faces * 0.5)
        with pytest.raises(InputError, match=r"fidelity is 0\.5, but the restorer of this pack takes none"):
            Restorer(stage("restore", 8, graph), fidelity=0.5)

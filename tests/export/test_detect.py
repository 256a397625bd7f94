"""The detect graph: its suppression against sequential greedy NMS, its faces against OpenCV's FaceDetectorYN."""

from pathlib import Path

import av
import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from trtswap.errors import InputError
from trtswap.export.detect import DetectGraph, GreedyNms
from trtswap.export.graph import export_graph
from trtswap.export.networks.yunet import STRIDES, Level, YuNet
from trtswap.model.pack import StageSpec

K = 256
FORBIDDEN = {"NonMaxSuppression", "NonZero", "Loop", "If", "Scan", "Compress", "Unique", "ScatterElements"}


def yunet(data, size):
    network = YuNet(size)
    network.load_state_dict(torch.load(data / f"yunet_{size}.pth", map_location="cpu", weights_only=True)["state_dict"])
    return network


def export(graph):
    spec = StageSpec("detect", Path("detect.onnx"), "", size=640, max_faces=graph.max_faces)
    return export_graph(graph.eval(), *spec.contract, name="detect")


def session(model):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def to_images(pictures):
    """uint8 BGR [B, H, W, 3] as the detect graph takes them."""
    return np.ascontiguousarray(pictures[..., ::-1].transpose(0, 3, 1, 2)).astype(np.float32) / 255


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Many tiny operations in PyTorch: handing each to several threads takes longer than doing it."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def graph(data):
    return DetectGraph(yunet(data, "n")).eval()


@pytest.fixture(scope="module")
def model(graph):
    return export(graph)


@pytest.fixture(scope="module")
def detect(model):
    """The exported graph in ONNX Runtime: float32 images -> boxes, landmarks, scores."""
    runtime = session(model)
    return lambda images: runtime.run(["boxes", "landmarks", "scores"], {"images": images})


@pytest.fixture(scope="module")
def frames(data):
    """All frames of presenter.mp4, letterboxed: uint8 BGR [138, 384, 640, 3]."""
    with av.open(str(data / "presenter.mp4")) as container:
        pictures = [f.reformat(640, 360, "bgr24").to_ndarray() for f in container.decode(video=0)]
    return np.pad(np.stack(pictures), ((0, 0), (0, 24), (0, 0), (0, 0)))


# Suppression


def sequential(boxes, valid, threshold=0.3):
    """Greedy NMS one box after the other, for sets side by side: [N, K, 4] xywh, bool [N, K] -> bool [N, K]."""
    x, y, w, h = np.moveaxis(boxes.astype(np.int32), 2, 0)
    tenths = round(threshold * 10)
    keep = valid.copy()
    area = w * h
    for i in range(boxes.shape[1]):
        one, later = slice(i, i + 1), slice(i + 1, None)
        across = np.minimum((x + w)[:, later], (x + w)[:, one]) - np.maximum(x[:, later], x[:, one])
        down = np.minimum((y + h)[:, later], (y + h)[:, one]) - np.maximum(y[:, later], y[:, one])
        both = across.clip(0) * down.clip(0)
        either = area[:, later] + area[:, one] - both
        # both / either > threshold, in whole numbers
        keep[:, later] &= ~(keep[:, one] & (both * 10 > either * tenths))
    return keep


def shuffled(boxes, rng):
    return np.take_along_axis(boxes, rng.permuted(np.tile(np.arange(K), (len(boxes), 1)), axis=1)[..., None], 1)


def row(count, step, width):
    """Boxes side by side: [count, K, 4]."""
    x = np.arange(K) * step
    return np.tile(np.stack([x, np.full(K, 7), np.full(K, width), np.full(K, 90)], 1), (count, 1, 1)).astype(float)


def random_boxes(rng, count, area, largest):
    corner = rng.uniform(-largest, area, (count, K, 2))
    return np.concatenate([corner, rng.uniform(0, largest, (count, K, 2))], 2)


def adversarial(rng, n):
    """Kinds of sets of boxes, best first: name -> float [n, K, 4]."""
    centre = np.arange(K)[::-1] + 1.0
    nested = np.stack([300 - centre, 300 - centre, 2 * centre, 2 * centre], 1)
    return {
        "random": random_boxes(rng, n, 400, 120),
        "sparse": random_boxes(rng, n, 3000, 120),
        "crowded": random_boxes(rng, n, 60, 60),
        "tiny": random_boxes(rng, n, 12, 4),
        "whole pixels": np.floor(random_boxes(rng, n, 30, 14)),
        "chain of full length": row(n, 50, 100),
        "shuffled chain": shuffled(row(n, 50, 100), rng),
        "chain of three neighbours": shuffled(row(n, 25, 100), rng),
        "exactly the threshold": row(n, 7, 13),
        "shuffled exactly the threshold": shuffled(row(n, 7, 13), rng),
        "just above the threshold": row(n, 6, 12),
        "identical": np.repeat(random_boxes(rng, n, 400, 120)[:, :1], K, 1),
        "pairs": shuffled(np.repeat(random_boxes(rng, n, 900, 120)[:, : K // 2], 2, 1), rng),
        "nested": np.tile(nested, (n, 1, 1)),
        "shuffled nested": shuffled(np.tile(nested, (n, 1, 1)), rng),
        "no area": random_boxes(rng, n, 60, 60) * [1, 1, 0, 1],
        "some without area": random_boxes(rng, n, 60, 60) * (rng.random((n, K, 1)) < 0.5),
    }


def validity(rng, n):
    """All, none, the first few, each one at random: bool [n, K]."""
    kinds = [np.full(K, True), np.full(K, False), np.arange(K) < 20, None]
    return np.stack([rng.random(K) < 0.7 if (k := kinds[i % 4]) is None else k for i in range(n)])


@pytest.fixture(scope="module")
def suppress(model):
    """The part of the exported graph that is the GreedyNms module: boxes, valid -> keep."""
    nodes = [n for n in model.graph.node if n.name.startswith("choice/nms/")]
    made = {name for n in nodes for name in n.output} | {t.name for t in model.graph.initializer}
    boxes, valid = dict.fromkeys(name for n in nodes for name in n.input if name and name not in made)
    keep = nodes[-1].output[0]
    runtime = session(onnx.utils.Extractor(model).extract_model([boxes, valid], [keep]))
    return lambda b, v: runtime.run([keep], {boxes: b.astype(np.float32), valid: v.astype(np.float32)})[0]


def test_exported_nms_is_sequential_greedy_nms(suppress):
    rng = np.random.default_rng(0)
    checked = 0
    for _ in range(10):
        for name, boxes in adversarial(rng, 60).items():
            valid = validity(rng, len(boxes))
            assert np.array_equal(suppress(boxes, valid) > 0.5, sequential(boxes, valid)), name
            checked += len(boxes)
    assert checked >= 10_000


@pytest.mark.parametrize(("count", "block"), [(1, 32), (31, 32), (32, 32), (33, 32), (100, 16), (K, 1), (K, K)])
def test_block_size_and_count_do_not_matter(count, block):
    rng = np.random.default_rng(count)
    nms = GreedyNms(count, block=block)
    for name, sets in adversarial(rng, 4).items():
        boxes, valid = sets[:, :count], validity(rng, len(sets))[:, :count]
        keep = nms(torch.from_numpy(boxes).float(), torch.from_numpy(valid).float())
        assert np.array_equal(keep.numpy() > 0.5, sequential(boxes, valid)), name


@pytest.mark.parametrize("threshold", [0.3, 0.45, 0.7])
def test_overlap_is_opencvs(threshold):
    rng = np.random.default_rng(1)
    nms = GreedyNms(K, threshold=threshold)
    for name, sets in adversarial(rng, 8).items():
        boxes = np.trunc(sets)
        if not boxes[..., 2:].all():  # two empty boxes: OpenCV says that they overlap
            boxes[..., 2:] += 1
        keep = nms(torch.from_numpy(boxes).float(), torch.ones(len(boxes), K)).numpy() > 0.5
        for one, kept in zip(boxes, keep, strict=True):
            indices = cv2.dnn.NMSBoxes(one.tolist(), np.linspace(1, 0.5, K).tolist(), 0.0, threshold)
            assert np.flatnonzero(kept).tolist() == sorted(indices), name


# Ties and broken outputs


class Planted(nn.Module):
    """Stands in for the network: what it sees at each cell of stride 8 is read from the image, in eighths."""

    def levels(self, images):
        maps = nn.functional.pixel_unshuffle(images, 8)[:, :16].round() / 8
        return [Level(*maps[:, :, ::step, ::step].split([1, 1, 4, 10], 1)) for step in (1, 2, 4)]


def plant(maps):
    """The image that shows ``Planted`` the outputs [B, 16, h, w]."""
    pixels = np.pad(maps * 8, ((0, 0), (0, 176), (0, 0), (0, 0)))
    return (nn.functional.pixel_shuffle(torch.from_numpy(pixels).float(), 8).flip(1) / 255).numpy()


@pytest.fixture(scope="module")
def planted():
    graph = DetectGraph(Planted(), candidates=64, max_faces=24)
    runtime = session(export(graph))

    def run(images):
        with torch.no_grad():
            eager = graph(torch.from_numpy(images))
        found = runtime.run(["boxes", "landmarks", "scores"], {"images": images})
        for ours, module in zip(found, eager, strict=True):
            np.testing.assert_allclose(ours, module.numpy(), rtol=1e-6)
        return found

    return run


def random_maps(rng, batch, height, width):
    """Few different scores, boxes of one stride, everything exact in float32."""
    maps = rng.integers(-16, 17, (batch, 16, height, width)) / 8
    maps[:, 0] = rng.choice([-9.0, -1.0, 0.0, 2.0], (batch, height, width))
    maps[:, 1] = 100
    maps[:, 4:6] = 0
    return maps


def faces_of(maps, candidates, max_faces):
    """Boxes, landmarks and scores of one image's maps [16, h, w], one cell after the other."""
    cells = [
        (s, column, row, maps[:, row * s // 8, column * s // 8])
        for s in STRIDES
        for row in range(-(-maps.shape[1] * 8 // s))
        for column in range(-(-maps.shape[2] * 8 // s))
    ]
    score = [np.sqrt(1 / (1 + np.exp(-cell[0]))) for *_, cell in cells]
    order = [i for i in np.argsort(-np.array(score), kind="stable") if score[i] > 0.3][:candidates]
    boxes = np.array([((c + m[2] - 0.5) * s, (r + m[3] - 0.5) * s, s, s) for s, c, r, m in (cells[i] for i in order)])
    keep = sequential(np.trunc(boxes)[None], np.ones((1, len(boxes)), bool))[0]
    kept = np.flatnonzero(keep)[:max_faces]
    points = [(m[6:].reshape(5, 2) + np.array([c, r])) * s for s, c, r, m in (cells[order[i]] for i in kept)]
    boxes = boxes[kept]
    return (
        np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], 1),
        np.array(points),
        np.array(score)[order][kept],
    )


def test_equal_scores_count_in_the_order_of_the_cells(planted):
    rng = np.random.default_rng(2)
    maps = random_maps(rng, 12, 12, 8)
    for image, *found in zip(maps, *planted(plant(maps)), strict=True):
        boxes, landmarks, scores = faces_of(image, candidates=64, max_faces=24)
        assert len(scores) > 12
        for ours, expected in zip(found, (boxes, landmarks, scores), strict=True):
            np.testing.assert_allclose(ours[: len(scores)], expected, rtol=1e-6)
            assert not ours[len(scores) :].any()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_cells_that_are_not_finite_are_no_faces(planted, bad):
    rng = np.random.default_rng(3)
    broken = random_maps(rng, 16, 8, 8)
    healthy = broken.copy()
    healthy[:, 0, 2:5, 3:6] = -9
    for channel in range(16):
        broken[channel, channel, 2:5, 3:6] = bad
        broken[channel, 0, 2:5, 3:6] += 11.0 if channel else 0.0  # the best cells of all, but for one number
    for found, expected in zip(planted(plant(broken)), planted(plant(healthy)), strict=True):
        assert np.isfinite(found).all()
        np.testing.assert_array_equal(found, expected)


def test_image_of_nothing_finite_has_no_faces(planted):
    for found in planted(np.full((2, 3, 64, 32), np.nan, np.float32)):
        assert not found.any()


# Faces


def as_opencv_sees(data, file, picture):
    """Boxes [n, 4] xyxy, landmarks [n, 5, 2], scores [n] of one uint8 BGR picture, from OpenCV's own detector."""
    height, width = picture.shape[:2]
    detector = cv2.FaceDetectorYN.create(str(data / file), "", (width, height), 0.3, 0.3, 5000)
    found = detector.detect(picture)[1]
    found = np.zeros((0, 15)) if found is None else found
    boxes = np.concatenate([found[:, :2], found[:, :2] + found[:, 2:4]], 1)
    return boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14]


def assert_same_faces(found, expected):
    boxes, landmarks, scores = found
    wanted_boxes, wanted_landmarks, wanted_scores = expected
    count = int((scores > 0).sum())
    assert count == len(wanted_scores)
    assert (np.diff(scores) <= 0).all()
    # faces with nearly equal scores may change places
    match = np.abs(boxes[:count, None] - wanted_boxes).max(2).argmin(1)
    assert sorted(match) == list(range(count))
    assert np.abs(boxes[:count] - wanted_boxes[match]).max(initial=0) <= 0.5
    assert np.abs(landmarks[:count] - wanted_landmarks[match]).max(initial=0) <= 0.5
    assert np.abs(scores[:count] - wanted_scores[match]).max(initial=0) <= 1e-3


def test_all_frames_have_opencvs_faces(data, frames, detect):
    assert len(frames) == 138
    for start in range(0, len(frames), 8):
        batch = frames[start : start + 8]
        for picture, *found in zip(batch, *detect(to_images(batch)), strict=True):
            assert found[2][0] > 0.8
            assert_same_faces(found, as_opencv_sees(data, "yunet_n_dynamic.onnx", picture))


def test_small_network_has_opencvs_faces(data, frames):
    graph = DetectGraph(yunet(data, "s")).eval()
    for start in range(0, len(frames), 8):
        batch = frames[start : start + 8]
        with torch.no_grad():
            result = [t.numpy() for t in graph(torch.from_numpy(to_images(batch)))]
        for picture, *found in zip(batch, *result, strict=True):
            assert found[2][0] > 0.8
            assert_same_faces(found, as_opencv_sees(data, "yunet_s_640_640.onnx", picture))


@pytest.fixture(scope="module")
def mosaic(data):
    """27 faces of four sizes, upright and lying: uint8 BGR [640, 960, 3]."""
    face = cv2.imread(str(data / "astronaut.png"))[20:220, 130:310]
    picture = np.zeros((640, 960, 3), np.uint8)
    y = 0
    for scale, turned in ((1.2, False), (0.9, True), (0.6, False), (0.5, False)):
        tile = cv2.resize(face, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        tile = cv2.rotate(tile, cv2.ROTATE_90_CLOCKWISE) if turned else tile
        height, width = tile.shape[:2]
        for x in range(0, 960 - width + 1, width):
            picture[y : y + height, x : x + width] = tile
        y += height
    return picture


def test_crowd_has_opencvs_faces(data, mosaic, detect):
    (found,) = zip(*detect(to_images(mosaic[None])), strict=True)
    expected = as_opencv_sees(data, "yunet_n_dynamic.onnx", mosaic)
    assert len(expected[2]) == 27
    assert_same_faces(found, expected)


def test_higher_threshold_is_a_filter(mosaic, detect, data):
    strict = DetectGraph(yunet(data, "n"), threshold=0.9).eval()
    images = to_images(mosaic[None])
    with torch.no_grad():
        boxes, _, scores = (t[0].numpy() for t in strict(torch.from_numpy(images)))
    all_boxes, _, all_scores = (t[0] for t in detect(images))
    confident = all_scores > 0.9
    assert 0 < confident.sum() < (all_scores > 0).sum()
    assert (scores > 0).sum() == confident.sum()
    np.testing.assert_allclose(boxes[: confident.sum()], all_boxes[confident], atol=1e-3)


# The graph


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("size", [(32, 32), (128, 256), (384, 640), (320, 224)])
def test_graph_is_the_module(graph, detect, frames, batch, size):
    height, width = size
    pictures = frames[:: 138 // batch][:batch, 40 : 40 + height, 200 : 200 + width]
    pictures = np.pad(pictures, ((0, 0), (0, height - pictures.shape[1]), (0, width - pictures.shape[2]), (0, 0)))
    images = to_images(pictures)
    with torch.no_grad():
        expected = graph(torch.from_numpy(images))
    assert bool(expected[2].any()) == (size != (32, 32))
    for ours, module in zip(detect(images), expected, strict=True):
        assert ours.shape == module.shape
        np.testing.assert_allclose(ours, module.numpy(), atol=1e-3, rtol=1e-5)


@pytest.mark.parametrize("batch", [4, 16, 64])
def test_batch_size_changes_nothing(detect, frames, batch):
    images = to_images(frames[::2, ::2, ::2])
    one = [np.concatenate(t) for t in zip(*(detect(images[i : i + 1]) for i in range(len(images))), strict=True)]
    many = [
        np.concatenate(t)
        for t in zip(*(detect(images[i : i + batch]) for i in range(0, len(images), batch)), strict=True)
    ]
    assert len(images) % batch, "the last batch has to be a ragged one"
    assert (one[2][:, 0] > 0.5).all()
    for alone, together in zip(one, many, strict=True):
        np.testing.assert_allclose(together, alone, atol=1e-3)


def test_graph_has_no_shape_that_depends_on_data(model):
    assert not FORBIDDEN & {node.op_type for node in model.graph.node}
    dims = {o.name: [d.dim_param or d.dim_value for d in o.type.tensor_type.shape.dim] for o in model.graph.output}
    assert dims == {"boxes": ["B", 64, 4], "landmarks": ["B", 64, 5, 2], "scores": ["B", 64]}


@pytest.mark.parametrize(
    "options",
    [
        {"max_faces": 0},
        {"max_faces": 65, "candidates": 64},
        {"candidates": 3840},
        {"threshold": 1},
        {"nms_threshold": -0.1},
    ],
)
def test_options_out_of_range_are_named(options):
    with pytest.raises(InputError, match=next(iter(options))):
        DetectGraph(YuNet("s"), **options)

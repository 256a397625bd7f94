"""Detectors of other projects: what a wrapped one finds against the sequential arithmetic of InsightFace, FaceFusion
and Pytorch_Retinaface, on networks whose outputs were planted; YuNet's own file against trtswap's graph of it."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from trtswap.errors import ExportError, InputError
from trtswap.export import checkpoints
from trtswap.export.detect import DetectGraph
from trtswap.export.networks.yunet import YuNet
from trtswap.export.recipes import FACE
from trtswap.export.wrap import Wrapping, wrap
from trtswap.export.wrap.models import find_model
from trtswap.pictures.arrays import read_image

Array = NDArray[Any]
Face = tuple[float, Array, Array]
STRIDES = (8, 16, 32)
SIZES = ((320, 256), (256, 416))


def planted(columns: list[int], anchors: int, path: Path, *, flat: bool = False, one: bool = False) -> Path:
    """A network with a layer for each stride and kind; ``flat``: [cells, C], as InsightFace exports; ``one``: all of a
    kind in one output."""
    rng, nodes, weights, outputs = np.random.default_rng(7), [], [], []
    for kind, count in enumerate(columns):
        levels = []
        for stride in STRIDES:
            name = f"k{kind}s{stride}"
            kernel = rng.normal(0, 1.2, (count * anchors, 3, stride, stride)) / stride / (100 if one else 1)
            weights += [numpy_helper.from_array(kernel.astype(np.float32), f"{name}w")]
            nodes += [
                helper.make_node(
                    "Conv", ["in", f"{name}w"], [f"{name}c"], strides=[stride, stride], kernel_shape=[stride] * 2
                ),
                helper.make_node("Transpose", [f"{name}c"], [f"{name}t"], perm=[2, 3, 0, 1] if flat else [0, 2, 3, 1]),
                helper.make_node("Reshape", [f"{name}t", f"shape{kind}"], [f"{name}r"]),
            ]
            last = f"{name}r"
            # Scores are 0..1, distances to a box's sides positive.
            if count <= 2 or (count == 4 and not one):
                nodes.append(helper.make_node("Sigmoid" if count <= 2 else "Abs", [last], [f"{name}p"]))
                last = f"{name}p"
            levels.append(last)
        shape = [-1, count] if flat else [1, -1, count]
        weights.append(numpy_helper.from_array(np.array(shape, np.int64), f"shape{kind}"))
        if one:
            nodes.append(helper.make_node("Concat", levels, [f"k{kind}"], axis=1))
            levels = [f"k{kind}"]
        rank = 2 if flat else 3
        outputs += [helper.make_tensor_value_info(n, 1, [None] * (rank - 1) + [count]) for n in levels]
    graph = helper.make_graph(
        nodes, "planted", [helper.make_tensor_value_info("in", 1, [1, 3, None, None])], outputs, weights
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def decoded_scrfd(outputs: list[Array], height: int, width: int) -> list[Face]:
    """insightface/model_zoo/scrfd.py: distance2bbox, distance2kps."""
    faces = []
    for level, stride in enumerate(STRIDES):
        score, box, points = (
            o.reshape(-1, o.shape[-1]) for o in (outputs[level], outputs[level + 3], outputs[level + 6])
        )
        places = [
            (x * stride, y * stride) for y in range(height // stride) for x in range(width // stride) for _ in (0, 1)
        ]
        for i, (x, y) in enumerate(places):
            left, top, right, bottom = box[i] * stride
            corners = np.array([x - left, y - top, x + right, y + bottom])
            faces.append((float(score[i, 0]), corners, points[i].reshape(5, 2) * stride + (x, y)))
    return faces


def decoded_retinaface(outputs: list[Array], height: int, width: int) -> list[Face]:
    """biubug6/Pytorch_Retinaface: layers/functions/prior_box.py, utils/box_utils.py, in shares of the picture."""
    boxes, classes, points = (o[0] for o in outputs)
    priors = []
    for stride, sides in zip(STRIDES, ((16, 32), (64, 128), (256, 512)), strict=True):
        for row in range(math.ceil(height / stride)):
            for column in range(math.ceil(width / stride)):
                for side in sides:
                    x, y = (column + 0.5) * stride / width, (row + 0.5) * stride / height
                    priors.append((x, y, side / width, side / height))
    prior, whole = np.array(priors), np.array([width, height])
    centre = prior[:, :2] + boxes[:, :2] * 0.1 * prior[:, 2:]
    size = prior[:, 2:] * np.exp(boxes[:, 2:] * 0.2)
    marks = prior[:, None, :2] + points.reshape(-1, 5, 2) * 0.1 * prior[:, None, 2:]
    corners = np.concatenate([(centre - size / 2) * whole, (centre + size / 2) * whole], 1)
    return [(float(c[1]), box, mark * whole) for c, box, mark in zip(classes, corners, marks, strict=True)]


def decoded_yolo(outputs: list[Array], height: int, width: int) -> list[Face]:
    """facefusion/face_detector.py: detect_with_yolo_face."""
    del height, width
    faces = []
    for row in outputs[0][0].T:
        x, y, w, h = row[:4]
        corners = np.array([x - w / 2, y - h / 2, x + w / 2, y + h / 2])
        faces.append((float(row[4]), corners, row[5:].reshape(5, 3)[:, :2]))
    return faces


def chosen(faces: list[Face], threshold: float) -> list[Face]:
    """Sequential greedy suppression of the 256 best, on boxes truncated to whole pixels as OpenCV does it."""
    order = sorted((f for f in faces if f[0] > threshold), key=lambda face: -face[0])[:256]
    kept: list[Face] = []
    for face in order:
        if all(overlap(face[1], other[1]) <= 0.4 for other in kept):
            kept.append(face)
    return kept[:64]


def overlap(a: Array, b: Array) -> float:
    (ax, ay, aw, ah), (bx, by, bw, bh) = (np.trunc([*box[:2], *(box[2:] - box[:2])]) for box in (a, b))
    across = max(0.0, min(ax + aw, bx + bw) - max(ax, bx))
    down = max(0.0, min(ay + ah, by + bh) - max(ay, by))
    union = aw * ah + bw * bh - across * down
    return across * down / union if union else 0.0


def yolo(path: Path) -> Path:
    """One output [1, 20, cells]: places that do not depend on the picture, scores that do."""
    rng = np.random.default_rng(2)
    cells = 600
    fixed = rng.uniform(20, 200, (1, 20, cells)).astype(np.float32)
    fixed[:, 4] = 0
    scale = np.zeros((1, 20, cells), np.float32)
    scale[:, 4] = rng.random(cells)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        yolo (float[1,3,h,w] images) => (float[1,20,600] output0) {
          m = ReduceMean<axes=[1,2,3], keepdims=1>(images)
          s = Squeeze(m, axis)
          k = Mul(s, scale)
          output0 = Add(k, fixed)
        }"""
    )
    for name, value in {"fixed": fixed, "scale": scale, "axis": np.array([3], np.int64)}.items():
        model.graph.initializer.append(numpy_helper.from_array(value, name))
    onnx.save(model, path)
    return path


CASES: dict[str, tuple[Callable[[Path], Path], Callable[..., list[Face]], Callable[[Array], Array]]] = {
    "scrfd_2.5g": (
        lambda path: planted([1, 4, 10], 2, path, flat=True), decoded_scrfd, lambda x: (x * 255 - 127.5) / 128,
    ),
    "retinaface_10g": (
        lambda path: planted([1, 4, 10], 2, path), decoded_scrfd, lambda x: (x * 255 - 127.5) / 128,
    ),
    "retinaface_mobile": (
        lambda path: planted([4, 2, 10], 2, path, one=True), decoded_retinaface,
        lambda x: x[:, ::-1] * 255 - np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1),
    ),
    "yoloface_8n": (yolo, decoded_yolo, lambda x: x),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_wrapped_detector_finds_what_its_authors_code_finds(tmp_path: Path, name: str) -> None:
    make, decode, given = CASES[name]
    path = make(tmp_path / "detector.onnx")
    ((stage, model),) = wrap(find_model(name).wrapping(path, allow_unknown_hash=True))
    wrapped = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    foreign = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    count = 0
    for height, width in SIZES:
        pictures = np.random.default_rng(1).random((2, 3, height, width), np.float32)
        boxes, points, scores = wrapped.run(None, {"images": pictures})
        for i in range(2):
            outputs = foreign.run(None, {foreign.get_inputs()[0].name: given(pictures[i : i + 1]).astype(np.float32)})
            wanted = chosen(decode(outputs, height, width), stage.threshold / 2)
            assert len(wanted) == (scores[i] > 0).sum()
            count += len(wanted)
            for row, (score, box, marks) in enumerate(wanted):
                assert abs(scores[i, row] - score) < 1e-5
                np.testing.assert_allclose(boxes[i, row], box, atol=2e-3)
                np.testing.assert_allclose(points[i, row], marks, atol=2e-3)
    assert count > 40


@pytest.mark.parametrize(("file", "variant"), [("yunet_s_640_640.onnx", "s"), ("yunet_n_dynamic.onnx", "n")])
def test_yunets_own_file_finds_what_its_checkpoint_finds(data: Path, file: str, variant: Any) -> None:
    """The first file is made for pictures of 640 x 640, one at a time; neither is kept."""
    wrapping = find_model("yunet_2023_mar").wrapping(data / file, allow_unknown_hash=True)
    ((stage, model),) = wrap(wrapping)
    entry = checkpoints.resolve(f"yunet_{variant}")
    network = YuNet(variant)
    state = checkpoints.load_state_dict(entry, data / entry.file)
    checkpoints.load_into(network, state, unexpected=entry.unexpected)
    own = DetectGraph(network, threshold=0.3, nms_threshold=0.4).eval()
    face = torch.as_tensor(np.asarray(read_image(data / "astronaut.png"))).permute(2, 0, 1)[None].float() / 255
    pictures = torch.cat([face, face.flip(3)])
    with torch.no_grad():
        wanted = own(pictures)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    found = session.run(None, {"images": pictures.numpy()})
    assert (wanted[2][:, 0] > 0.9).all()
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_allclose(one, other.numpy(), atol=1e-3)
    assert (stage.size, stage.threshold) == (640, FACE)


def test_a_detector_that_is_not_what_was_said(tmp_path: Path) -> None:
    path = planted([1, 4, 10], 2, tmp_path / "d.onnx")
    with pytest.raises(ExportError, match="decoder yunet reads 12 outputs with 1, 1, 1, 1, 1, 1, 4, 4, 4, 10, 10, 10"):
        wrap(Wrapping("detect", path, 640, decoder="yunet", threshold=0.6))
    with pytest.raises(InputError, match="stage detect: no decoder"):
        Wrapping("detect", path, 640, threshold=0.6)
    with pytest.raises(InputError, match="decoder says nothing of a swap model; only of detect"):
        Wrapping("swap", path, 640, ("ffhq_512",), decoder="scrfd")

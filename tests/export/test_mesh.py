"""The landmarks graph that ships: against MediaPipe's own runtime on the same file, and what reads such files."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from trtswap.backends import open_engine
from trtswap.errors import CheckpointError
from trtswap.export.mesh import export_mesh
from trtswap.export.networks.tflite import FlatGraph, FlatNetwork, Operator, read_tflite
from trtswap.faces.pose import LEFT_EYE, RIGHT_EYE
from trtswap.model.pack import shared_stages

from .mesh_golden import pictures

GOLDEN = Path(__file__).with_name("mesh_golden.npz")
# Points that MediaPipe's graph takes from its second look at lips and eyes, in the order of its outputs: read in the
# file's own parameters and in tensors_to_face_landmarks_with_attention.
LIPS = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 185, 40, 39, 37, 0, 267, 269, 270, 409)
PIXELS = 1e-3


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.float32]]:
    with np.load(GOLDEN) as data:
        return {name: data[name] for name in data.files}


@pytest.fixture(scope="module")
def found() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    faces = torch.from_numpy(pictures()).movedim(-1, 1).contiguous() / 255
    with open_engine(shared_stages()["landmarks"], backend="onnxruntime", device="cpu") as engine:
        outputs = engine(faces=faces)
    return outputs["points"].numpy(), outputs["scores"].numpy()


def test_it_is_mediapipes_own_result(
    found: tuple[NDArray[np.float32], ...], golden: dict[str, NDArray[np.float32]]
) -> None:
    points, scores = found
    mesh = golden["mesh"].reshape(3, 468, 3)
    refined = set(range(468)) - set(np.flatnonzero(np.abs(points[0, :468, :2] + 0.5 - mesh[0, :, :2]).max(1) < PIXELS))
    assert 200 < len(refined) <= 80 + 71 + 71
    np.testing.assert_allclose(points[:, :468, 2], mesh[..., 2], atol=PIXELS)
    lips = golden["lips"].reshape(3, -1, 2)
    np.testing.assert_allclose(points[:, list(LIPS), :2] + 0.5, lips[:, : len(LIPS)], atol=PIXELS)
    for name, start, eye in (("right", 468, RIGHT_EYE), ("left", 473, LEFT_EYE)):
        iris = golden[f"{name}_iris"].reshape(3, 5, 2)
        np.testing.assert_allclose(points[:, start : start + 5, :2] + 0.5, iris, atol=PIXELS)
        depth = mesh[:, list(eye), 2].mean(1, keepdims=True)
        np.testing.assert_allclose(points[:, start : start + 5, 2], np.repeat(depth, 5, 1), atol=PIXELS)
        contour = golden[f"{name}_eye"].reshape(3, 71, 2)
        assert np.abs(points[:, eye[0], :2] + 0.5 - contour[:, 0]).max() < PIXELS
    np.testing.assert_allclose(scores, 1 / (1 + np.exp(-golden["score"][:, 0].astype(np.float64))), atol=1e-6)


def test_no_face_has_no_score() -> None:
    with open_engine(shared_stages()["landmarks"], backend="onnxruntime", device="cpu") as engine:
        nothing = torch.cat([torch.zeros(1, 3, 192, 192), torch.rand(1, 3, 192, 192)])
        assert engine(faces=nothing)["scores"].max() < 0.01


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_every_backend_gives_the_same(backend: str, found: tuple[NDArray[np.float32], ...]) -> None:
    faces = torch.from_numpy(pictures()).movedim(-1, 1).contiguous() / 255
    with open_engine(shared_stages()["landmarks"], backend=backend, device="cpu") as engine:
        np.testing.assert_allclose(engine(faces=faces)["points"].numpy(), found[0], atol=2e-3)


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.tflite").write_bytes(b"\0\0\0\0TFL9 and more")
    with pytest.raises(CheckpointError, match=r"mediapipe_face_mesh: .*x\.tflite is not the published file: it has 17"):
        export_mesh(tmp_path / "x.tflite", tmp_path)
    with pytest.raises(CheckpointError, match=r"x\.tflite is no TensorFlow Lite file: its bytes 4 to 8 are b'TFL9'"):
        read_tflite(tmp_path / "x.tflite")


def graph_of(operator: Operator, *shapes: tuple[int, ...], **constants: NDArray[np.generic]) -> FlatGraph:
    """One operator on tensor 0; constants are tensors 1, 2, ...; the last shape is the output's."""
    values = {int(name[1:]): value for name, value in constants.items()}
    return FlatGraph((operator,), shapes, values, (0,), operator.outputs)


@pytest.mark.parametrize(("size", "kernel", "stride"), [(8, 3, 2), (7, 3, 2), (8, 2, 2), (9, 5, 1), (7, 3, 3)])
@pytest.mark.parametrize("deep", [False, True])
def test_convolutions_pad_as_tensorflow_does(size: int, kernel: int, stride: int, deep: bool) -> None:
    """Against sums over a window that TensorFlow's documents place: what is odd in the padding goes behind."""
    generator = np.random.default_rng(0)
    weights = generator.normal(size=(1, kernel, kernel, 4) if deep else (4, kernel, kernel, 4)).astype(np.float32)
    bias, image = (generator.normal(size=s).astype(np.float32) for s in ((4,), (2, 4, size, size)))
    out = -(-size // stride)
    kind = "DEPTHWISE_CONV_2D" if deep else "CONV_2D"
    options = {"Padding": 0, "StrideH": stride, "FusedActivationFunction": 0}
    graph = graph_of(
        Operator(kind, (0, 1, 2), (3,), options),
        (1, size, size, 4), weights.shape, (4,), (1, out, out, 4), t1=weights, t2=bias,
    )  # fmt: skip
    (found,) = FlatNetwork(graph, {})(torch.from_numpy(image))
    total = max((out - 1) * stride + kernel - size, 0)
    padded = np.pad(image, ((0, 0), (0, 0), *[(total // 2, total - total // 2)] * 2))
    for y, x in ((0, 0), (out - 1, out - 1), (out // 2, 0)):
        window = padded[:, :, y * stride : y * stride + kernel, x * stride : x * stride + kernel]
        wanted = np.einsum("nchw,hwc->nc", window, weights[0]) if deep else np.einsum("nchw,ohwc->no", window, weights)
        np.testing.assert_allclose(found[:, :, y, x].detach(), wanted + bias, rtol=1e-4, atol=1e-4)


def test_operators_that_are_not_known_are_named() -> None:
    graph = graph_of(Operator("SOFTMAX", (0,), (1,), {}), (1, 4), (1, 4))
    with pytest.raises(CheckpointError, match="operator SOFTMAX of TensorFlow Lite is not known here"):
        FlatNetwork(graph, {})
    pads = graph_of(
        Operator("PAD", (0, 1), (2,), {}),
        (1, 2, 2, 1),
        (4, 2),
        (1, 3, 2, 1),
        t1=np.int32([[0, 0], [1, 0], [0, 0], [0, 0]]),
    )
    with pytest.raises(CheckpointError, match=r"PAD of .* is not known here: expected channels at the end"):
        FlatNetwork(pads, {})


def test_reshapes_flatten_pixels_before_channels() -> None:
    graph = graph_of(Operator("RESHAPE", (0,), (1,), {}), (1, 2, 2, 3), (1, 4, 3))
    image = torch.arange(24.0).view(2, 3, 2, 2)
    (found,) = FlatNetwork(graph, {})(image)
    assert torch.equal(found, image.permute(0, 2, 3, 1).reshape(2, 4, 3))


def test_sampling_is_grid_sample_at_the_matrixs_places() -> None:
    from trtswap.export.networks.mesh import CUSTOM

    features = torch.rand(1, 2, 6, 6)
    matrix = torch.tensor([[[1.0, 0, 0, 1], [0, 1, 0, 2], [0, 0, 0, 0], [0, 0, 0, 0]]])
    found = CUSTOM["TransformTensorBilinear"]({"output_height": 3, "output_width": 4}, (features, matrix))
    assert torch.allclose(found, features[:, :, 2:5, 1:5], atol=1e-6)
    half = CUSTOM["TransformTensorBilinear"](
        {"output_height": 2, "output_width": 2}, (features, matrix + torch.tensor([0, 0, 0, 0.5]))
    )
    assert torch.allclose(half, F.avg_pool2d(features[:, :, 2:5, 1:4], 2, 1), atol=1e-6)

"""MediaPipe's face mesh with attention (Grishchenko et al., 2020, arXiv:2006.10962): 478 points of an upright face.

The network is the file's own, ``face_landmark_with_attention.tflite`` of 2020, run by
:class:`~trtswap.export.networks.tflite.FlatNetwork`. Three operators in it are MediaPipe's, and become dense arithmetic
here. It finds 468 points, looks again at lips and eyes where they lie in its own features, and finds the irises there.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import CheckpointError
from trtswap.export.networks.tflite import FlatNetwork, read_tflite
from trtswap.faces.pose import LEFT_EYE, RIGHT_EYE

SIZE = 192
IRISES = 468  # points from here on: five of the right eye's iris, then five of the left one's
MATRIX = "Landmarks2TransformMatrix"


class FaceMesh(nn.Module):
    """Points of a face.

    Input: float [N, 3, 192, 192], RGB in 0..1, an upright face that fills two thirds of it.
    Outputs: points float [N, 478, 3], x and y in pixels of the input (the centre of the first one at 0, 0), z in the
    same unit, smaller towards the camera; scores float [N], 0..1, whether this is a face that the points fit.

    Args:
        file: ``face_landmark_with_attention.tflite``.

    Raises:
        CheckpointError: it is another network.
    """

    def __init__(self, file: Path) -> None:
        super().__init__()
        graph = read_tflite(file)
        subsets = [list(o.options["subset_idxs"]) for o in graph.operators if o.kind == MATRIX]
        if [len(subset) for subset in subsets] != [80, 71, 71]:
            raise CheckpointError(f"{file} is not MediaPipe's face mesh with attention: it refines {subsets}.")
        self.net = FlatNetwork(graph, CUSTOM)
        self.order: Tensor
        self.register_buffer("order", _order(subsets), persistent=False)

    def forward(self, faces: Tensor) -> tuple[Tensor, Tensor]:
        """Points [N, 478, 3] and scores [N]."""
        mesh, lips, right, left, right_iris, left_iris, flag = self.net(faces)
        points = mesh.reshape(-1, IRISES, 3)
        flat = torch.cat([points[..., :2], *(_pairs(part) for part in (lips, right, left))], 1)
        irises = torch.cat([_pairs(right_iris), _pairs(left_iris)], 1)
        where = torch.cat([flat[:, self.order], irises], 1)
        depth = points[..., 2]
        # An iris has the mean depth of its eye's corners and lids.
        behind = [depth[:, list(eye)].mean(1, keepdim=True).expand(-1, 5) for eye in (RIGHT_EYE, LEFT_EYE)]
        # The file counts from the corner of the first pixel, this project from its centre.
        return torch.cat([where - 0.5, torch.cat([depth, *behind], 1)[..., None]], 2), flag.reshape(-1).sigmoid()


def _pairs(values: Tensor) -> Tensor:
    """[N, ..., 2 P] as [N, P, 2]."""
    flat = values.flatten(1)
    return torch.stack([flat[:, ::2], flat[:, 1::2]], -1)


def _order(subsets: Sequence[Sequence[int]]) -> Tensor:
    """For each of the 468 points, its row in mesh, lips, right and left eye put together: the last one that has it."""
    rows = torch.arange(IRISES)
    start = IRISES
    for subset in subsets:
        rows[torch.tensor(subset)] = torch.arange(start, start + len(subset))
        start += len(subset)
    return rows


def _matrix(options: Mapping[str, Any], given: Sequence[Tensor]) -> Tensor:
    """Where a part of the face lies: [N, 4, 4], from pixels of its own small picture to those of the features.

    A box around some points, turned so that two of them lie level, 1.5 times as large as it has to be.
    """
    points = given[0][..., :2]
    across = points[:, options["right_rotation_idx"]] - points[:, options["left_rotation_idx"]]
    cos, sin = (across / across.square().sum(1, keepdim=True).sqrt()).unbind(1)
    part = points[:, list(options["subset_idxs"])]
    middle = (part.amax(1) + part.amin(1)) / 2
    x, y = (part - middle[:, None]).unbind(-1)
    level = torch.stack([x * cos[:, None] + y * sin[:, None], y * cos[:, None] - x * sin[:, None]], -1)
    least, most = level.amin(1), level.amax(1)
    centre = (least + most) / 2
    a, b = ((most - least) * torch.tensor([options["scale_x"], options["scale_y"]])).unbind(1)
    a, b = a / options["output_width"], b / options["output_height"]
    left = torch.stack([cos * a, -sin * b], 1), torch.stack([sin * a, cos * b], 1)
    at = middle + torch.stack([centre[:, 0] * cos - centre[:, 1] * sin, centre[:, 0] * sin + centre[:, 1] * cos], 1)
    half = torch.tensor([options["output_width"] / 2, options["output_height"] / 2])
    rows = [torch.stack([r[:, 0], r[:, 1], r[:, 0] * 0, at[:, i] - (r * half).sum(1)], 1) for i, r in enumerate(left)]
    return torch.stack([*rows, rows[0] * 0, rows[0] * 0], 1)


def _sampled(options: Mapping[str, Any], given: Sequence[Tensor]) -> Tensor:
    """The small picture of a part, bilinear: [N, C, height, width]."""
    features, matrix = given
    ys = torch.arange(options["output_height"], dtype=torch.float32)[:, None] + 0.5
    xs = torch.arange(options["output_width"], dtype=torch.float32)[None] + 0.5
    sides = []
    for row, length in ((matrix[:, 0], features.shape[3]), (matrix[:, 1], features.shape[2])):
        at = row[:, 0, None, None] * xs + row[:, 1, None, None] * ys + row[:, 3, None, None]
        sides.append(at * (2 / length) - 1)
    return F.grid_sample(features, torch.stack(sides, -1), align_corners=False)


def _moved(options: Mapping[str, Any], given: Sequence[Tensor]) -> Tensor:
    """Points [N, P, 2] of a part's small picture, where they lie in the whole one."""
    points, matrix = given
    x, y = points.unbind(-1)  # no matrix product: TensorRT for RTX has none in float32 for Turing
    return torch.stack(
        [x * row[:, 0, None] + y * row[:, 1, None] + row[:, 3, None] for row in matrix[:, :2].unbind(1)], -1
    )


CUSTOM = {MATRIX: _matrix, "TransformTensorBilinear": _sampled, "TransformLandmarks": _moved}

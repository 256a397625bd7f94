"""From coded pixels to displayed ones: display matrix (rotation, flip) and sample aspect ratio."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

STRANGEST = 20
DisplayMatrix = tuple[int, int, int, int, int, int, int, int, int]


@dataclass(frozen=True)
class Display:
    """How a coded frame is shown.

    Convention: pixel centres at integers, x right, y down, points as columns.

    Attributes:
        size: (width, height) of the displayed frame, pixels.
        matrix: the container's nine numbers (16.16 fixed point, the third column 2.30), None where it has none.
        coded_to_display: 2 x 3 numbers, row by row.
    """

    size: tuple[int, int]
    matrix: DisplayMatrix | None
    coded_to_display: tuple[tuple[float, float, float], tuple[float, float, float]]

    def to_tensor(self) -> Tensor:
        """``coded_to_display`` as float32 [2, 3]."""
        return torch.tensor(self.coded_to_display, dtype=torch.float32)

    @property
    def rotation(self) -> int:
        """Clockwise degrees from the coded frame's right to where it points when seen: 0, 90, 180 or 270."""
        (a, _, _), (d, _, _) = self.coded_to_display
        return round(math.degrees(math.atan2(d, a))) % 360


def display_of(width: int, height: int, sample_aspect: Fraction, matrix: DisplayMatrix | None) -> Display:
    """How a frame of ``width`` x ``height`` coded pixels is shown: widened by its sample aspect, then turned.

    An aspect that no camera and no standard has (``STRANGEST``) is damage, and counts as square.
    """
    if not 1 / STRANGEST <= sample_aspect <= STRANGEST:
        sample_aspect = Fraction(1)
    turn = _right_angle_turn(matrix)
    wide = width * float(sample_aspect)
    corners = np.array([[-0.5, wide - 0.5, -0.5, wide - 0.5], [-0.5, -0.5, height - 0.5, height - 0.5]])
    seen = turn @ corners
    shift = -0.5 - seen.min(axis=1)
    stretch = np.array([[float(sample_aspect), 0, (float(sample_aspect) - 1) / 2], [0, 1, 0]])
    affine = turn @ stretch + np.column_stack([np.zeros((2, 2)), shift])
    extent = seen.max(axis=1) - seen.min(axis=1)
    (a, b, c), (d, e, f) = (affine + 0.0).tolist()  # + 0.0 turns -0.0 into 0.0
    return Display((max(1, round(float(extent[0]))), max(1, round(float(extent[1])))), matrix, ((a, b, c), (d, e, f)))


def parse_display_matrix(data: bytes) -> DisplayMatrix:
    """The nine native int32 of FFmpeg's DISPLAYMATRIX side data."""
    a, b, u, c, d, v, x, y, w = struct.unpack("=9i", data)
    return (a, b, u, c, d, v, x, y, w)


def _right_angle_turn(matrix: DisplayMatrix | None) -> NDArray[np.float64]:
    """The matrix's linear part as one of the eight turns and flips; players show no other angle."""
    if matrix is None:
        return np.eye(2)
    a, b, _, c, d, *_ = matrix
    # Points are row vectors in the container: x' = a x + c y, y' = b x + d y.
    linear = np.array([[a, c], [b, d]], dtype=float)
    if abs(np.linalg.det(linear)) < 1:
        return np.eye(2)
    upright = abs(linear[0, 0]) + abs(linear[1, 1]) >= abs(linear[0, 1]) + abs(linear[1, 0])
    turn: NDArray[np.float64] = np.sign(linear) * (np.eye(2) if upright else np.eye(2)[::-1])
    return turn if np.linalg.det(turn) else np.eye(2)  # a shear has neither

"""What the face does, and how the head is held."""

from collections.abc import Sequence

import torch
from torch import Tensor

from .parameters import Parameter, Values, sample

TABLE = (
    Parameter("talking", 0, 1),
    Parameter("jaw_open", 0, 1),
    Parameter("smile", -0.4, 1.0, 0.25, 0.35),
    Parameter("smile_side", -0.2, 0.2, 0.0, 0.07),
    Parameter("lips_part", 0, 1),
    Parameter("pucker", -0.6, 0.8, 0.0, 0.25),
    Parameter("blinking", 0, 1),
    Parameter("lid_left", 0, 1),
    Parameter("lid_right", 0, 1),
    Parameter("squint", 0, 1, 0.2, 0.25),
    Parameter("brow_raise", -0.6, 1.0, 0.1, 0.3),
    Parameter("brow_side", -0.3, 0.3, 0.0, 0.12),
    Parameter("frown", 0, 1, 0.1, 0.3),
    Parameter("gaze_yaw", -0.45, 0.45, 0.0, 0.2),
    Parameter("gaze_pitch", -0.25, 0.25, 0.0, 0.1),
    Parameter("tongue", 0, 1),
)

POSE = (
    Parameter("yaw_degrees", -45, 45),
    Parameter("pitch_degrees", -25, 25, 0, 7),
    Parameter("roll_degrees", -25, 25, 0, 6),
)


def sample_expression(seeds: Sequence[int]) -> Values:
    """Half of the mouths are closed, a tenth of the eyes shut, as in talk."""
    v = sample(TABLE, seeds, "expression")
    open_mouth = v["talking"] > 0.45
    v["jaw_open"] = v["jaw_open"] ** 1.5 * open_mouth
    v["lips_part"] = torch.where(open_mouth, v["lips_part"], v["lips_part"] * (v["smile"] > 0.35))
    shut = v["blinking"] > 0.9
    for side in ("lid_left", "lid_right"):
        # A wink now and then: the lids share most of what they do.
        v[side] = torch.where(shut, 1 - 0.3 * v[side], 0.25 * v["squint"] + 0.05 * v[side])
    return v


def sample_pose(seeds: Sequence[int], *, max_yaw_degrees: float = 45.0) -> Values:
    """Poses; positive yaw turns the face to its left (right of the picture), positive pitch up, positive roll
    clockwise in the picture."""
    v = sample(POSE, seeds, "pose")
    v["yaw_degrees"] = v["yaw_degrees"] * (max_yaw_degrees / 45.0)
    return v


def rotation(pose: Values, share: tuple[float, float, float] = (1, 1, 1)) -> Tensor:
    """Head to world, float32 [B, 3, 3]: first yaw, then pitch, then roll, about x right, y up, z to the camera.

    Args:
        share: how much of yaw, pitch and roll is taken; the trunk follows the head by less than 1.
    """
    names = ("yaw_degrees", "pitch_degrees", "roll_degrees")
    yaw, pitch, roll = (torch.deg2rad(pose[n][:, 0] * s) for n, s in zip(names, share, strict=True))
    turn = _matrix([[yaw.cos(), 0, yaw.sin()], [0, 1, 0], [-yaw.sin(), 0, yaw.cos()]])
    nod = _matrix([[1, 0, 0], [0, pitch.cos(), pitch.sin()], [0, -pitch.sin(), pitch.cos()]])
    tilt = _matrix([[roll.cos(), roll.sin(), 0], [-roll.sin(), roll.cos(), 0], [0, 0, 1]])
    return tilt @ nod @ turn


def _matrix(rows: list[list[Tensor | int]]) -> Tensor:
    like = next(v for row in rows for v in row if isinstance(v, Tensor))
    cells = [v if isinstance(v, Tensor) else torch.full_like(like, v) for row in rows for v in row]
    return torch.stack(cells, -1).view(-1, 3, 3)

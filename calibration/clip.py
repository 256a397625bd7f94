"""Frames of a clip that are far apart and differ from each other."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.errors import CalibrationError, ReadError
from trtswap.faces import Faces
from trtswap.limits import Limits
from trtswap.model.pack import sha256_of
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.frames import Frames
from trtswap.pixels.geometry import align
from trtswap.video.reader import VideoReader

CANDIDATES = 3
"""Frames that are looked at for each one that is taken."""

_LOOK = 8  # side of the picture by which faces are told apart, pixels


@dataclass(frozen=True)
class Still:
    """One frame of a clip and the faces in it.

    Attributes:
        frames: a batch of one.
        faces: at least one.
        time: seconds from the clip's beginning, or the frame's number where frames have no times.
    """

    frames: Frames
    faces: Faces
    time: float

    def fresh(self) -> Frames:
        """A copy of the frame, to be changed."""
        y, u, v = (p.clone() for p in self.frames.planes)
        return replace(self.frames, planes=(y, u, v))


def choose_stills(
    source: Path | str | Any,
    find: Callable[[Frames], Faces],
    count: int,
    *,
    without: Sequence[float] = (),
    limits: Limits | None = None,
    looked: Callable[[int, int], None] = lambda done, total: None,
) -> list[Still]:
    """Frames with faces, spread over a clip, that differ from each other as much as possible.

    Candidates lie at equal distances in time. Of those with a face the first is taken, then always the one whose face
    is least like any that was taken before: other poses, expressions, light, people.

    Args:
        source: a video, or uint8 RGB frames [B, H, W, 3].
        find: finds the faces of frames.
        count: frames to take.
        without: times that are not to be taken.
        limits: of a video.
        looked: called with the number of candidates seen so far, and of all.

    Raises:
        CalibrationError: no candidate shows a face.
        LimitError: the video is beyond the limits.
        ReadError: it cannot be read.
    """
    total = max(CANDIDATES * (count + len(without)), 1)
    stills, looks = list[Still](), list[Tensor]()
    for number, (frames, time) in enumerate(_candidates(source, total, limits)):
        faces = find(frames)
        if len(faces) and time not in without:
            stills.append(Still(frames, faces, time))
            looks.append(_look(frames, faces))
        looked(number + 1, total)
    if not stills:
        raise CalibrationError(
            f"no face was found in {total} frames of {_name(source)}. Give a clip that shows people's faces."
        )
    return [stills[i] for i in farthest_first(torch.stack(looks), count)]


def farthest_first(points: Tensor, count: int) -> list[int]:
    """Positions of up to ``count`` of the points [M, D]: the first, then always the one farthest from all before it."""
    chosen = [0]
    nearest = torch.full((len(points),), torch.inf)
    while len(chosen) < min(count, len(points)):
        nearest = torch.minimum(nearest, (points - points[chosen[-1]]).norm(dim=1))
        nearest[chosen] = -1.0
        chosen.append(int(nearest.argmax()))
    return chosen


def clip_hash(source: Path | str | Any) -> str:
    """SHA-256 of a video's file, or of frames' shape and bytes."""
    if isinstance(source, str | Path):
        return sha256_of(Path(source))
    planes = torch.stack(frames_from_rgb(source).to("cpu").planes, -1).contiguous()
    return hashlib.sha256(str(tuple(planes.shape)).encode() + planes.numpy().tobytes()).hexdigest()


def _name(source: Path | str | Any) -> str:
    return str(source) if isinstance(source, str | Path) else "the frames given"


def _candidates(source: Path | str | Any, count: int, limits: Limits | None) -> Iterator[tuple[Frames, float]]:
    """Up to ``count`` single frames at equal distances, and their times."""
    if not isinstance(source, str | Path):
        taken = min(count, len(source))
        for i in (round(k * (len(source) - 1) / max(1, taken - 1)) for k in range(taken)):
            yield frames_from_rgb(source[i : i + 1], copy=True), float(i)
        return
    with VideoReader(source, batch_size=1, limits=limits) as reader:
        duration = reader.info.duration or 0.0
    seen = set[float]()
    for start in (duration * k / (count + 1) for k in range(count)):
        frames = _frame_at(source, start, limits)
        if frames is None:
            return
        time = round(float(frames.pts[0] * frames.time_base), 6)
        if time not in seen:
            seen.add(time)
            yield frames, time


def _frame_at(source: Path | str, start: float, limits: Limits | None) -> Frames | None:
    """The first frame from a time in seconds on; None where the last frame of the video began before."""
    try:
        with VideoReader(source, batch_size=1, start=start, limits=limits) as reader:
            return next(iter(reader), None)
    except ReadError:
        if start == 0:
            raise
        return None


def _look(frames: Frames, faces: Faces) -> Tensor:
    """What the best face looks like, coarsely, and where it is in the frame: float32 [D]."""
    best = faces[faces.score.argmax()[None]]
    crop = frames.sample(best.frame_index, align(best.landmarks, ("ffhq_512",), 64), 64)
    small = F.interpolate(crop, (_LOOK, _LOOK), mode="area").flatten()
    place = best.landmarks.mean((0, 1)) / torch.tensor(frames.display_size)
    return torch.cat([small.cpu() / _LOOK, place])

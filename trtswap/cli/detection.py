"""Detect, and tell frame by frame: as JSON that is written while the video is read, or as a table at the end."""

import json
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any, TextIO

import torch
from rich.console import Console
from rich.table import Column, Table
from torch import Tensor

from trtswap.cli.console import count, say
from trtswap.cli.interrupt import StopSwitch
from trtswap.cli.progress import Display
from trtswap.faces import Faces
from trtswap.faces.pose import pose_of
from trtswap.pictures.arrays import read_image
from trtswap.swapper import Swapper, expected_frames
from trtswap.video.info import Loss
from trtswap.video.opening import open_reader

MAX_ROWS = 40


class Sink(ABC):
    """Takes what was found, in this order: ``begin``, each ``frame``, ``end``."""

    @abstractmethod
    def begin(self, header: dict[str, Any]) -> None:
        """What is known before the first frame."""

    @abstractmethod
    def frame(self, index: int, pts_seconds: float, faces: Faces) -> None:
        """The faces of one frame."""

    @abstractmethod
    def end(self, warnings: Sequence[str], loss: Loss | None) -> None:
        """There are no more frames."""


class JsonSink(Sink):
    """One document, a line per frame, of which nothing is kept.

    Args:
        out: takes it.
        dense: also what the faces' points say, and the points themselves.
    """

    def __init__(self, out: TextIO, *, dense: bool = False):
        self._out = out
        self._dense = dense
        self._separator = "\n"

    def begin(self, header: dict[str, Any]) -> None:
        self._out.write(json.dumps(header)[:-1] + ', "frames": [')

    def frame(self, index: int, pts_seconds: float, faces: Faces) -> None:
        rows = _rows(faces)
        if self._dense:
            rows = [row | {"dense": dense} for row, dense in zip(rows, _dense_rows(faces), strict=True)]
        row = {"index": index, "pts_seconds": round(pts_seconds, 6), "faces": rows}
        self._out.write(self._separator + json.dumps(row, allow_nan=False))
        self._separator = ",\n"

    def end(self, warnings: Sequence[str], loss: Loss | None) -> None:
        tail = {"warnings": list(warnings), "loss": None if loss is None else asdict(loss)}
        self._out.write("\n], " + json.dumps(tail)[1:] + "\n")


@dataclass
class _Seen:
    """One track, from its first to its last frame."""

    first_seconds: float
    last_seconds: float = 0.0
    frames: int = 0
    score: float = 0.0
    side: float = 0.0

    def add(self, seconds: float, score: float, side: float) -> None:
        self.last_seconds = seconds
        self.frames += 1
        self.score += score
        self.side += side


class TableSink(Sink):
    """Faces per frame, and a row for each track."""

    def __init__(self, console: Console):
        self._console = console
        self._tracks: dict[int, _Seen] = {}
        self._faces_per_frame: Counter[int] = Counter()

    def begin(self, header: dict[str, Any]) -> None:
        self._title = f"{header['input']}, {header['width']}x{header['height']}"

    def frame(self, index: int, pts_seconds: float, faces: Faces) -> None:
        self._faces_per_frame[len(faces)] += 1
        for track, score, side in zip(faces.track.tolist(), faces.score.tolist(), faces.side.tolist(), strict=True):
            self._tracks.setdefault(track, _Seen(pts_seconds)).add(pts_seconds, score, side)

    def end(self, warnings: Sequence[str], loss: Loss | None) -> None:
        total = self._faces_per_frame.total()
        found = ", ".join(
            f"{count(faces, 'face')} in {count(frames, 'frame')}"
            for faces, frames in sorted(self._faces_per_frame.items())
        )
        say(self._console, f"{self._title}: {count(total, 'frame')}; {found}")
        if not self._tracks:
            return
        table = Table(
            *(Column(name, justify="right") for name in ("track", "first", "last", "frames", "mean score", "mean size"))
        )
        longest = sorted(self._tracks.items(), key=lambda item: -item[1].frames)[:MAX_ROWS]
        for track, seen in sorted(longest):
            table.add_row(
                str(track), f"{seen.first_seconds:.2f} s", f"{seen.last_seconds:.2f} s", str(seen.frames),
                f"{seen.score / seen.frames:.3f}", f"{seen.side / seen.frames:.0f} px",
            )  # fmt: skip
        self._console.print(table)
        if (more := len(self._tracks) - MAX_ROWS) > 0:
            say(self._console, f"and {count(more, 'shorter track')}; --json has them all")


def detect_video(
    source: Path,
    swapper: Swapper,
    sink: Sink,
    *,
    start: float | None,
    end: float | None,
    display: Display,
    stop: StopSwitch,
) -> tuple[list[str], Loss | None]:
    """Track the faces of a video; gives back warnings and what was lost."""
    settled = swapper.runtime.options
    with open_reader(source, batch=settled.batch, start=start, end=end, limits=settled.limits) as reader:
        sink.begin(_header(source, reader.info.display_size, swapper))
        display.begin(reader.info, expected_frames(reader.info, start, end))
        display.stage("detect")
        index = 0
        for frames, faces in swapper.detect_video(reader):
            stop.check()
            for b, pts in enumerate(frames.pts):
                sink.frame(index + b, float(pts * frames.time_base - reader.info.origin), faces.of_frame(b))
            display.after(index, frames, faces)
            index += len(frames)
        return reader.warnings, reader.loss


def detect_picture(source: Path, swapper: Swapper, sink: Sink) -> tuple[list[str], Loss | None]:
    """Detect in a picture, as if it were a video of one frame; each face is a track of its own."""
    picture = read_image(source, limits=swapper.runtime.options.limits)
    faces = swapper.detect(picture[None])
    sink.begin(_header(source, (picture.shape[1], picture.shape[0]), swapper))
    sink.frame(0, 0.0, replace(faces, track=torch.arange(len(faces))))
    return [], None


def _header(source: Path, size: tuple[int, int], swapper: Swapper) -> dict[str, Any]:
    return {
        "input": str(source),
        "width": size[0],
        "height": size[1],
        "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
        "backend": swapper.choice.backend,
        "device": str(swapper.choice.device),
    }


def _rows(faces: Faces) -> list[dict[str, Any]]:
    columns = zip(faces.box, faces.landmarks, faces.score, faces.track, strict=True)
    return [
        {
            "box": [round(v, 3) for v in box.tolist()],
            "landmarks": [[round(v, 3) for v in point] for point in landmarks.tolist()],
            "score": round(float(score), 6),
            "track": int(track),
        }
        for box, landmarks, score, track in columns
    ]


def _dense_rows(faces: Faces) -> list[dict[str, Any] | None]:
    """What was measured of each face; None where its points do not fit."""
    pose = pose_of(faces.points)
    rows = []
    for i, fit in enumerate(faces.fit.tolist()):
        said = {entry.name: _short(getattr(pose, entry.name)[i]) for entry in fields(pose)}
        rows.append({"score": round(fit, 6), **said, "points": _short(faces.points[i])} if fit > 0 else None)
    return rows


def _short(values: Tensor) -> Any:
    """Numbers in as many brackets as the tensor has dimensions, with three digits behind the point."""
    return [_short(part) for part in values] if values.dim() else round(float(values), 3)

"""Swap a still picture."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from trtswap.cli.job import Job, Outcome
from trtswap.cli.progress import count
from trtswap.cli.runtime import precisions
from trtswap.errors import InputError, WriteError
from trtswap.faces import Faces
from trtswap.faces.cast import Who
from trtswap.files import Target
from trtswap.pixels.frames import Frames
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper, unchanged, unsound
from trtswap.video.images import open_picture, read_image

# Pillow's options by file type: what is lossy is written at a quality that shows no loss.
_SAVING: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95, "method": 4},
}


class _Counted(Observer):
    """How many faces of a picture were found and swapped."""

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.found = len(faces)

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        self.swapped = len(faces)

    def end(self, faces_unsound: int) -> None:
        self.unsound = faces_unsound


@dataclass(frozen=True, kw_only=True)
class PictureJob(Job):
    """A picture to swap."""

    def check_source(self) -> int:
        if self.target.suffix.lower() not in _SAVING:
            raise InputError(
                f"{self.target}: cannot write a picture as {self.target.suffix or 'a file without suffix'}; expected "
                f"one of {', '.join(_SAVING)}."
            )
        read_image(self.source, limits=self.running.options.limits)
        return 1

    def run(self, swapper: Swapper, who: Who, observers: Sequence[Observer], places: Mapping[Path, Target]) -> Outcome:
        counted = _Counted()
        picture = read_image(self.source, limits=self.running.options.limits)[None]
        swapped = swapper.swap(picture, who, observers=[*observers, counted])[0].cpu().numpy()
        self._write(Image.fromarray(swapped), places[self.target])
        warnings = [] if counted.swapped else [unchanged(self.source, counted.found, swapper.options)]
        warnings += unsound(counted.unsound, swapper.pack)
        facts = {
            "input": str(self.source),
            "output": str(self.target),
            "faces": counted.swapped,
            "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
            "backend": swapper.choice.backend,
            "device": str(swapper.choice.device),
            "precision": precisions(swapper),
            "warnings": warnings,
        }
        return Outcome(facts, f"{self.target}: {count(counted.swapped, 'face')} swapped", warnings)

    def _write(self, picture: Image.Image, target: Target) -> None:
        with open_picture(self.source, self.running.options.limits) as original:
            profile = original.info.get("icc_profile")
        try:
            picture.save(target.temporary, icc_profile=profile, **_SAVING[self.target.suffix.lower()])
        except (OSError, ValueError) as error:  # WebP has no pictures beyond 16,383 pixels, for example
            raise WriteError(f"{self.target}: writing failed: {getattr(error, 'strerror', None) or error}") from error
        target.commit()

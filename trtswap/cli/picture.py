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
from trtswap.faces.cast import Who
from trtswap.files import Target
from trtswap.session.observers import Observer, Summary
from trtswap.swapper import Swapper, left_alone
from trtswap.video.images import open_picture, read_image

# Pillow's options by file type: what is lossy is written at a quality that shows no loss.
_SAVING: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95, "method": 4},
}


class _Kept(Observer):
    """Keeps what became of a picture."""

    summary: Summary

    def end(self, summary: Summary) -> None:
        self.summary = summary


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
        kept = _Kept()
        picture = read_image(self.source, limits=self.running.options.limits)[None]
        swapped = swapper.swap(picture, who, observers=[*observers, kept])[0].cpu().numpy()
        self._write(Image.fromarray(swapped), places[self.target])
        faces = kept.summary.faces_swapped
        warnings = list(left_alone(self.source, kept.summary, swapper.options, swapper.pack))
        facts = {
            "input": str(self.source),
            "output": str(self.target),
            "faces": faces,
            "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
            "backend": swapper.choice.backend,
            "device": str(swapper.choice.device),
            "precision": precisions(swapper),
            "warnings": warnings,
        }
        return Outcome(facts, f"{self.target}: {count(faces, 'face')} swapped", warnings)

    def _write(self, picture: Image.Image, target: Target) -> None:
        with open_picture(self.source, self.running.options.limits) as original:
            profile = original.info.get("icc_profile")
        try:
            picture.save(target.temporary, icc_profile=profile, **_SAVING[self.target.suffix.lower()])
        except (OSError, ValueError) as error:  # WebP has no pictures beyond 16,383 pixels, for example
            raise WriteError(f"{self.target}: writing failed: {getattr(error, 'strerror', None) or error}") from error
        target.commit()

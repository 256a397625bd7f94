"""Swap a still picture."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from trtswap.cli.job import Job, Outcome
from trtswap.cli.progress import count
from trtswap.cli.runtime import precisions
from trtswap.errors import InputError, WriteError
from trtswap.faces.cast import Who
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper
from trtswap.video.images import read_image
from trtswap.video.target import Target

# Pillow's options by file type: what is lossy is written at a quality that shows no loss.
_SAVING: dict[str, dict[str, Any]] = {
    ".png": {"format": "PNG"},
    ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
    ".webp": {"format": "WEBP", "quality": 95, "method": 4},
}


@dataclass(frozen=True, kw_only=True)
class PictureJob(Job):
    """A picture to swap."""

    def count_frames(self) -> int:
        return 1

    def check_source(self) -> None:
        if self.target.suffix.lower() not in _SAVING:
            raise InputError(
                f"{self.target}: cannot write a picture as {self.target.suffix or 'a file without suffix'}; expected "
                f"one of {', '.join(_SAVING)}."
            )
        read_image(self.source)

    def run(self, swapper: Swapper, who: Who, observers: Sequence[Observer]) -> Outcome:
        for observer in observers:
            observer.stage("swap")
        picture = read_image(self.source)[None]
        found = len(swapper.detect(picture))
        warnings = [] if found else [f"no face was found in {self.source}; the target is a copy"]
        swapped = swapper.swap(picture, who)[0].cpu().numpy()
        self._write(Image.fromarray(swapped))
        facts = {
            "input": str(self.source),
            "output": str(self.target),
            "faces": found,
            "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
            "backend": swapper.choice.backend,
            "device": str(swapper.choice.device),
            "precision": precisions(swapper),
            "warnings": warnings,
        }
        return Outcome(facts, f"{self.target}: {count(found, 'face')} found", warnings)

    def _write(self, picture: Image.Image) -> None:
        target = Target(self.target, source=self.source, overwrite=self.overwrite)
        with Image.open(self.source) as original:
            profile = original.info.get("icc_profile")
        try:
            picture.save(target.temporary, icc_profile=profile, **_SAVING[self.target.suffix.lower()])
        except OSError as error:
            target.discard()
            raise WriteError(f"{self.target}: writing failed: {error.strerror or error}") from error
        target.commit()

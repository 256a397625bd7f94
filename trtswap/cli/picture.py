"""Swap a picture, or an animation that is a picture's file."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from trtswap.cli.console import count
from trtswap.cli.job import Job, Outcome
from trtswap.cli.runtime import precisions
from trtswap.faces.cast import Who
from trtswap.files import Target
from trtswap.pictures.picture import read_picture
from trtswap.pictures.saving import check_suffix, fitted
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper


@dataclass(frozen=True, kw_only=True)
class PictureJob(Job):
    """A picture to swap."""

    def check_source(self) -> int:
        check_suffix(self.target)
        return len(fitted(read_picture(self.source, self.running.options.limits), self.target).samples)

    def run(self, swapper: Swapper, who: Who, observers: Sequence[Observer], places: Mapping[Path, Target]) -> Outcome:
        result = swapper.swap_picture(self.source, places[self.target], who, observers=observers)
        faces = sum(result.faces_per_frame)
        facts = {
            "input": str(self.source),
            "output": str(self.target),
            "pictures": result.frames,
            "faces": faces,
            "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
            "backend": swapper.choice.backend,
            "device": str(swapper.choice.device),
            "precision": precisions(swapper),
            "warnings": list(result.warnings),
        }
        where = f" in {count(result.frames, 'picture')}" if result.frames > 1 else ""
        return Outcome(facts, f"{self.target}: {count(faces, 'face')} swapped{where}", result.warnings)

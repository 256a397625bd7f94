"""What watches a running session: progress bars, reports, calibration, the switch of Ctrl-C."""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.video.info import VideoInfo


@dataclass(frozen=True)
class Summary:
    """What became of a stream.

    Attributes:
        frames: given out.
        faces_found: faces that were followed, swapped or not, counted in every frame.
        faces_swapped: those that got an identity.
        faces_unsound: of these, the ones that stay as they were because a network gave NaN or infinity.
        best_cosine: the highest of any face to any reference, and
        similarity: the lowest that counts as the same person; None where nobody was chosen by a reference.
    """

    frames: int
    faces_found: int
    faces_swapped: int
    faces_unsound: int
    best_cosine: float | None = None
    similarity: float | None = None


class Observer:
    """Is told about a running session. Raising an exception in a method stops it.

    The methods do nothing; who inherits overrides those of interest. ``begin`` and ``end`` are called in the thread of
    the caller, ``before`` and ``after`` in turn in another one, ``stage`` and ``ran`` in all threads that work, several
    at once.
    """

    def begin(self, info: VideoInfo, expected_frames: int | None) -> None:
        """A video is open, and so is its target; about so many frames will be swapped, None where nobody knows."""

    def stage(self, name: str) -> None:
        """A stage begins, by its name in :attr:`SwapResult.seconds`."""

    def ran(self, stage: str, inputs: Mapping[str, Tensor], outputs: Mapping[str, Tensor]) -> None:
        """A graph has run: what it was given and what it gave, by name. Who wants to keep outputs clones them."""

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        """A batch is about to be changed; its first frame has this number."""

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        """The batch has been changed and is about to be given out."""

    def end(self, summary: Summary) -> None:
        """All is done."""

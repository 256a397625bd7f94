"""What watches a running session: progress bars, reports, calibration, the switch of Ctrl-C."""

from collections.abc import Mapping

from torch import Tensor

from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.video.info import VideoInfo


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

    def end(self, faces_unsound: int) -> None:
        """All is done; so many faces were left as they were because a network gave NaN or infinity."""

"""What watches a running swap: progress bars, reports, the switch of Ctrl-C."""

from trtswap.faces import Faces
from trtswap.pixels.frames import Frames
from trtswap.video.info import VideoInfo


class Observer:
    """Is told about a running swap. Raising an exception in a method stops the swap.

    The methods do nothing; who inherits overrides those of interest. ``begin`` is called in the thread of the caller,
    ``before`` and ``after`` in turn in another one, and ``stage`` in the threads of all stages, several at once.
    """

    def begin(self, info: VideoInfo, expected_frames: int | None) -> None:
        """The source and the target are open; about so many frames will be swapped, None where nobody knows."""

    def stage(self, name: str) -> None:
        """A stage begins, by its name in :attr:`SwapResult.seconds`."""

    def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        """A batch is about to be changed; its first frame has this number."""

    def after(self, first_frame: int, frames: Frames, faces: Faces) -> None:
        """The batch has been changed and is about to be written."""

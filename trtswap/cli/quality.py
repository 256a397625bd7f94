"""``trtswap bench --quality``: a clip is swapped and judged."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from trtswap.cli.console import say, stderr
from trtswap.errors import BackendError
from trtswap.files import Target, write_whole

if TYPE_CHECKING:
    from trtswap.cli.interrupt import StopSwitch
    from trtswap.cli.runtime import Running
    from trtswap.options import SwapOptions
    from trtswap.quality.clip import Clip

NEEDED = ("cv2", "dlib", "face_recognition_models")


@dataclass(frozen=True, kw_only=True)
class Judging:
    """What is judged.

    Attributes:
        running: what runs the networks.
        options: of the swap.
        video: the clip; swapped whole.
        sources: pictures of whom to show; the first is what the result is compared with.
        writing: options of ``swap_video``.
        sheet: a picture of source, original and result side by side is written here.
        quiet: say nothing.
    """

    running: "Running"
    options: "SwapOptions"
    video: Path
    sources: Sequence[Path]
    writing: Mapping[str, Any]
    sheet: Target | None
    quiet: bool

    def run(self, stop: "StopSwitch") -> list[dict[str, Any]]:
        """Swap and judge; rows of a result."""
        from trtswap.cli.job import StopObserver  # noqa: PLC0415 - heavy, imported on use
        from trtswap.cli.runtime import in_one_line  # noqa: PLC0415 - heavy, imported on use
        from trtswap.quality.cases import sheet  # noqa: PLC0415 - heavy, imported on use

        with tempfile.TemporaryDirectory() as folder:
            swapped = Path(folder) / f"out{self.video.suffix}"
            with self.running.open(self.options) as swapper:
                if not self.quiet:
                    say(stderr(), in_one_line(swapper), style="dim")
                who = swapper.identity(*self.sources)
                swapper.swap_video(self.video, swapped, who, observers=[StopObserver(stop)], **self.writing)
            found, before, after = judge(self.running, self.video, swapped, self.sources[0])
        stop.check()
        if self.sheet is not None:
            page = BytesIO()
            sheet(before, after, self.sources[0]).save(page, "JPEG", quality=92)
            write_whole(self.sheet, page.getvalue())
        return found


def judge(running: "Running", original: Path, swapped: Path, source: Path) -> "tuple[list[dict[str, Any]], Clip, Clip]":
    """Judge a swapped clip; see :func:`trtswap.quality.cases.judged`.

    Whatever pack swapped it, one and the same measures the faces, so that figures compare.
    """
    from trtswap.backends.runtime import Runtime  # noqa: PLC0415 - heavy, imported on use
    from trtswap.options import RuntimeOptions  # noqa: PLC0415 - heavy, imported on use
    from trtswap.quality.cases import judged  # noqa: PLC0415 - needs dlib

    options = RuntimeOptions(restore=False, occlude=False)
    with Runtime(backend=running.backend, device=running.device, options=options) as runtime:
        return judged(original, swapped, source, runtime)


def check(video: Path | None, sources: Sequence[Path]) -> Path:
    """Refuse at once what cannot be judged.

    Raises:
        typer.BadParameter: there is no clip, or nobody to show.
        BackendError: the judge is not installed.
    """
    if video is None or not sources:
        raise typer.BadParameter("--quality swaps a clip and judges it: trtswap bench --quality in.mp4 -s face.png.")
    check_judge()
    return video


def check_judge() -> None:
    """Refuse at once where the judge is not installed.

    Raises:
        BackendError: names what is missing.
    """
    missing = [module for module in NEEDED if find_spec(module) is None]
    if missing:
        raise BackendError(f'Judging needs {", ".join(missing)}, not installed here: pip install "trtswap[quality]".')

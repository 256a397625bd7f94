"""``trtswap detect``: where the faces of a video are, and which are the same person's."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import as_usage_error, check_input, check_range, is_picture
from trtswap.cli.console import report_loss, say, stderr, stdout, warn
from trtswap.limits import Limits
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.packs import DEFAULT_PACK

if TYPE_CHECKING:
    from trtswap.cli.interrupt import StopSwitch
    from trtswap.video.info import Loss


def detect(
    input_: Annotated[Path, typer.Argument(metavar="INPUT", help="A video or picture.", show_default=False)],
    *,
    detect_threshold: opt.Threshold = None,
    search_size: opt.SearchSize = None,
    max_faces: opt.MaxFaces = None,
    smooth: opt.Smooth = opt.DEFAULTS.smooth,
    fill: opt.Fill = opt.DEFAULTS.fill,
    detect_every: opt.DetectEvery = opt.DEFAULTS.detect_every,
    landmarks: opt.Landmarks = "dense",
    start: opt.Start = None,
    end: opt.End = None,
    keep_going: opt.KeepGoing = False,
    as_json: opt.AsJson = False,
    dense: Annotated[
        bool,
        typer.Option("--dense", help="With --json: each face's 478 points, and what they say of pose, mouth and eyes."),
    ] = False,
    quiet: opt.Quiet = False,
    pack: opt.PackName = DEFAULT_PACK,
    backend: opt.Backend = "auto",
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    host_code: opt.HostCode = False,
    limit: opt.LimitSettings = None,
    batch: opt.Batch = None,
) -> None:
    """Find and follow the faces of a video.

    With --json one document: "input", "width" and "height" (of the frame as displayed), "pack", "backend", "device";
    "frames", a list with for each frame its "index", "pts_seconds" (0 is what a player shows as 0) and "faces", each
    with "box" [x1, y1, x2, y2], "landmarks" (right eye, left eye, nose, right and left mouth corner, [x, y] each),
    "score" and "track" (the same number for the same face over time); "warnings"; and "loss", null unless the video
    is cut off. With --dense each face has a "dense", too: null where its points do not fit, as in a full profile, else
    "score", "yaw", "pitch" and "roll" in degrees (right, up, clockwise), "mouth" (between the lips, of the eyes' outer
    distance), "eyes" (between the lids, of the eye's width; right and left), "gaze" (the iris from the middle of its
    eye, of the eye's width; [x, y] of right and left) and "points" ([x, y, depth] of 478, as MediaPipe numbers them).
    Coordinates are pixels of the displayed frame, the centre of the first one at 0, 0.
    """
    with as_usage_error():
        choices = SwapOptions(
            detect_threshold=detect_threshold,
            search_size=search_size,
            max_faces=max_faces,
            smooth=smooth,
            fill=fill,
            detect_every=detect_every,
        )
        settled = RuntimeOptions(
            restore=False,
            occlude=False,
            dense=dense or landmarks == "dense",
            batch=batch,
            threads=threads,
            host_code=host_code,
            limits=Limits.parse(limit or ()),
        )
    if dense and not as_json:
        raise typer.BadParameter("--dense adds to what --json prints; expected both.")
    check_input(input_)
    check_range(start, end)
    if is_picture(input_) and (start is not None or end is not None):
        raise typer.BadParameter("--start and --end have no meaning for a picture; INPUT is one by its name.")

    from trtswap.cli.detection import JsonSink, Sink, TableSink, detect_picture, detect_video  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.interrupt import interruptible  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.progress import display_for  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.runtime import Running, in_one_line  # noqa: PLC0415 - heavy, imported on use

    console = stderr()
    sink: Sink = JsonSink(sys.stdout, dense=dense) if as_json else TableSink(stdout())
    # A bar that redraws itself and a document on the same terminal would spoil each other.
    display = display_for(console, quiet=quiet or (as_json and sys.stdout.isatty()))

    def work(stop: "StopSwitch") -> tuple[list[str], "Loss | None"]:
        with Running(pack, backend, device, settled, workers=1).open(choices) as swapper:
            if not quiet:
                say(console, in_one_line(swapper), style="dim")
            if is_picture(input_):
                return detect_picture(input_, swapper, sink)
            return detect_video(input_, swapper, sink, start=start, end=end, display=display, stop=stop)

    with display:
        warnings, loss = interruptible(work)
    sink.end(warnings, loss)
    for warning in warnings:
        warn(console, warning)
    if loss is not None:
        report_loss(console, f"{input_}: {loss}", keep_going=keep_going)

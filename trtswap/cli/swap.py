"""``trtswap swap``: its options. The work is in :mod:`~trtswap.cli.video` and :mod:`~trtswap.cli.picture`."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from trtswap.cli import options as opt
from trtswap.cli.arguments import (
    as_usage_error,
    becomes_picture,
    check_input,
    check_range,
    parse_face,
    parse_pair,
    parse_settings,
    target_of,
)
from trtswap.cli.quality import check_judge
from trtswap.limits import Limits
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.packs import DEFAULT_PACK

# Options that have no meaning for a picture.
_OF_VIDEOS = frozenset({
    "smooth", "fill", "detect_every", "codec", "crf", "preset", "encoder_option", "start", "end", "copy_streams",
    "pix_fmt", "audio", "keep_going", "report", "judge", "trace", "batch", "reader", "workers",
})  # fmt: skip


def swap(
    context: typer.Context,
    input_: Annotated[
        Path, typer.Argument(metavar="INPUT", help="The video or picture to change.", show_default=False)
    ],
    *,
    source: opt.Sources = None,
    source_face: opt.SourceFace = "only",
    reference: opt.References = None,
    reference_face: opt.ReferenceFace = "only",
    map_: opt.Maps = None,
    similarity: opt.Similarity = None,
    faces: opt.WhichFaces = opt.DEFAULTS.faces,
    detect_threshold: opt.Threshold = None,
    search_size: opt.SearchSize = None,
    max_faces: opt.MaxFaces = None,
    min_face: opt.MinFace = opt.DEFAULTS.min_face,
    smooth: opt.Smooth = opt.DEFAULTS.smooth,
    fill: opt.Fill = opt.DEFAULTS.fill,
    detect_every: opt.DetectEvery = opt.DEFAULTS.detect_every,
    landmarks: opt.Landmarks = "dense",
    mouth: opt.Mouth = True,
    restore: opt.Restore = True,
    restore_weight: opt.RestoreWeight = None,
    fidelity: opt.Fidelity = None,
    likeness: opt.Likeness = None,
    boost: opt.Boost = opt.DEFAULTS.boost,
    occlude: opt.Occlude = True,
    feather: opt.Feather = opt.DEFAULTS.feather,
    output: opt.Output = None,
    codec: opt.CodecName = "auto",
    crf: opt.Crf = 18,
    preset: opt.Preset = "medium",
    encoder_option: opt.EncoderOptions = None,
    start: opt.Start = None,
    end: opt.End = None,
    pix_fmt: opt.PixelFormat = "auto",
    audio: opt.Audio = "copy",
    copy_streams: opt.CopyStreams = True,
    overwrite: opt.Overwrite = False,
    keep_going: opt.KeepGoing = False,
    report: opt.ReportFile = None,
    judge: opt.Judged = False,
    trace: opt.TraceFile = None,
    as_json: opt.AsJson = False,
    quiet: opt.Quiet = False,
    pack: opt.PackName = DEFAULT_PACK,
    backend: opt.Backend = "auto",
    device: opt.Device = "auto",
    threads: opt.Threads = None,
    host_code: opt.HostCode = False,
    limit: opt.LimitSettings = None,
    reader: opt.ReaderName = "pyav",
    batch: opt.Batch = None,
    face_batch: opt.FaceBatch = None,
    workers: opt.Workers = None,
) -> None:
    """Swap the faces of a video or picture; sound, subtitles, timing and everything but the faces stay as they are."""
    pairs = tuple(parse_pair(text) for text in map_ or ())
    settings = parse_settings(encoder_option or ())
    picks = parse_face(source_face, "--source-face"), parse_face(reference_face, "--reference-face")
    with as_usage_error():
        choices = SwapOptions(
            faces=faces, detect_threshold=detect_threshold, search_size=search_size, max_faces=max_faces,
            min_face=min_face, similarity=similarity, smooth=smooth, fill=fill,
            detect_every=detect_every, mouth=mouth, restore_weight=restore_weight, feather=feather,
            fidelity=fidelity, likeness=likeness, boost=boost,
        )  # fmt: skip
        settled = RuntimeOptions(
            restore=restore,
            dense=landmarks == "dense",
            occlude=occlude,
            batch=batch,
            face_batch=face_batch,
            threads=threads,
            host_code=host_code,
            limits=Limits.parse(limit or ()),
        )
    check_input(input_)
    check_range(start, end)
    as_picture = becomes_picture(input_, output)
    if as_picture:
        _refuse(context, _OF_VIDEOS)
    if judge:
        _check_judge(report, map_, start, end)

    from trtswap.cli.job import Job, perform  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.people import People  # noqa: PLC0415 - heavy, imported on use
    from trtswap.cli.runtime import Running  # noqa: PLC0415 - heavy, imported on use

    job: Job
    common: dict[str, Any] = {
        "source": input_,
        "target": target_of(input_, output),
        "overwrite": overwrite,
        "people": People(tuple(source or ()), tuple(reference or ()), pairs, *picks).or_sample(pack),
        "running": Running(pack, backend, device, settled, 1 if as_picture else workers),
        "options": choices,
    }
    if as_picture:
        from trtswap.cli.picture import PictureJob  # noqa: PLC0415 - heavy, imported on use

        job = PictureJob(**common)
    else:
        from trtswap.cli.video import VideoJob  # noqa: PLC0415 - heavy, imported on use

        writing = {"codec": codec, "crf": crf, "preset": preset, "encoder_options": settings,
                   "pixel_format": pix_fmt, "copy_streams": copy_streams, "audio": audio, "reader": reader}  # fmt: skip
        command = shlex.join(["trtswap", *(context.obj or ())])
        job = VideoJob(**common, start=start, end=end, writing=writing, report=report, judge=judge,
                       trace=trace, command=command)  # fmt: skip
    perform(job, as_json=as_json, quiet=quiet, keep_going=keep_going)


def _check_judge(report: Path | None, pairs: Sequence[str] | None, start: float | None, end: float | None) -> None:
    """The judge compares whole clips, shows one person, and speaks in the report."""
    if report is None:
        raise typer.BadParameter("--judge writes into the report: give --report FILE.html, too.")
    if pairs or start is not None or end is not None:
        raise typer.BadParameter("--judge compares a whole clip with one person: no --map, --start or --end.")
    check_judge()


def _refuse(context: typer.Context, names: frozenset[str]) -> None:
    """Options that were given and mean nothing for a picture are wrong usage, not ignored."""
    given = [
        parameter.secondary_opts[0] if parameter.secondary_opts else parameter.opts[0]
        for parameter in context.command.params
        if parameter.name in names and (source := context.get_parameter_source(parameter.name)) is not None
        and source.name == "COMMANDLINE"
    ]  # fmt: skip
    if given:
        raise typer.BadParameter(f"{', '.join(given)}: has no meaning for a picture; INPUT is one by its name.")

"""Options of the commands: name, type and help in one place; several commands share many of them."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from trtswap.cli.arguments import parse_time
from trtswap.options import SwapOptions

DEFAULTS = SwapOptions()
WHO, FINDING, LOOK, OUTPUT, RUNNING = "Who", "Finding faces", "Look", "Output", "Running"

# Who
Sources = Annotated[
    list[Path] | None,
    typer.Option(
        "--source",
        "-s",
        help="Picture or short video of the face to show; several are of one person.",
        rich_help_panel=WHO,
    ),
]
SourceFace = Annotated[
    str,
    typer.Option(
        metavar="only|largest|N", help="Which face of a source's picture is meant; N counts from the left, from 0.",
        rich_help_panel=WHO,
    ),
]  # fmt: skip
ReferenceFace = Annotated[
    str,
    typer.Option(
        metavar="only|largest|N", help="Which face of a reference's picture is meant, as --source-face.",
        rich_help_panel=WHO,
    ),
]  # fmt: skip
References = Annotated[
    list[Path] | None,
    typer.Option("--reference", help="Change only faces like this one; may be given repeatedly.", rich_help_panel=WHO),
]
Maps = Annotated[
    list[str] | None,
    typer.Option(
        "--map", metavar="REFERENCE=SOURCE", help="Who looks like REFERENCE gets the face of SOURCE; repeatable.",
        rich_help_panel=WHO,
    ),
]  # fmt: skip
Similarity = Annotated[
    float | None,
    typer.Option(
        help="Lowest cosine that counts as the same person, -1..1; the pack's if not given.", rich_help_panel=WHO
    ),
]
WhichFaces = Annotated[
    Literal["all", "largest"], typer.Option("--faces", help="Which faces of a frame are changed.", rich_help_panel=WHO)
]

# Finding faces
Threshold = Annotated[
    float | None,
    typer.Option(
        "--detect-threshold", help="Lowest score that counts as a face, 0..1; the pack's if not given.",
        rich_help_panel=FINDING,
    ),
]  # fmt: skip
SearchSize = Annotated[
    int | None,
    typer.Option(
        min=64, max=8192, metavar="PIXELS", help="Longer side of the copy of a frame that is searched; the pack's if "
        "not given. Twice of it finds faces half as large, at four times the cost of finding.", rich_help_panel=FINDING,
    ),
]  # fmt: skip
MaxFaces = Annotated[
    int | None,
    typer.Option(help="Most faces in a frame, the best ones; the pack's if not given.", rich_help_panel=FINDING),
]
MinFace = Annotated[
    float,
    typer.Option(
        metavar="PIXELS", help="Faces smaller than this are left alone; 0 takes all.", rich_help_panel=FINDING
    ),
]
Smooth = Annotated[
    int,
    typer.Option(help="Smooth landmarks over so many frames before and after; 0: off.", rich_help_panel=FINDING),
]
Fill = Annotated[
    int,
    typer.Option(help="Put a face back that is missed in at most so many frames; 0: off.", rich_help_panel=FINDING),
]
DetectEvery = Annotated[
    int,
    typer.Option(
        metavar="K", help="Search every K-th frame, and others only where faces come, go or move far; track between.",
        rich_help_panel=FINDING,
    ),
]  # fmt: skip

Landmarks = Annotated[
    Literal["dense", "five"],
    typer.Option(
        help="dense: measure faces at 478 points and align them by these, which is steadier; five: by the detector's "
        "own five.", rich_help_panel=FINDING,
    ),
]  # fmt: skip

# Look
Mouth = Annotated[
    bool,
    typer.Option(
        " /--no-mouth",
        help="Swap teeth and tongue, too; else they are the original's.",
        show_default=False,
        rich_help_panel=LOOK,
    ),
]
Restore = Annotated[
    bool,
    typer.Option(" /--no-restore", help="Leave out the pack's restorer.", show_default=False, rich_help_panel=LOOK),
]
RestoreWeight = Annotated[
    float | None,
    typer.Option(help="Share of the restored picture, 0..1; the pack's if not given.", rich_help_panel=LOOK),
]
Occlude = Annotated[
    bool,
    typer.Option(
        " /--no-occlude", help="Paint over what lies in front of faces, too: hands, cups, hair.",
        show_default=False, rich_help_panel=LOOK,
    ),
]  # fmt: skip
Likeness = Annotated[
    float | None,
    typer.Option(
        help="For packs that warp the source's picture (mesh): 0 looks most real, 1 most like the source; the pack's "
        "if not given.",
        rich_help_panel=LOOK,
    ),
]  # fmt: skip
Fidelity = Annotated[
    float | None,
    typer.Option(
        help="How near a restorer that lets choose (CodeFormer) keeps to what it is given, 0..1; the pack's if not "
        "given.",
        rich_help_panel=LOOK,
    ),
]
Boost = Annotated[
    int,
    typer.Option(
        min=1, max=4, help="Swap at so many times the size of the pack's swap network: sharper, at the cost of boost "
        "times boost runs of it.", rich_help_panel=LOOK,
    ),
]  # fmt: skip
Feather = Annotated[
    float, typer.Option(help="Softness of the edges, as a share of the face's crop.", rich_help_panel=LOOK)
]

# Output
Output = Annotated[
    Path | None,
    typer.Option(
        "--output", "-o", help="The file to write; INPUT-swapped beside it if not given.", rich_help_panel=OUTPUT
    ),
]
CodecName = Annotated[
    str,
    typer.Option("--codec", help="FFmpeg's name of an encoder; auto: one that suits the file.", rich_help_panel=OUTPUT),
]
Crf = Annotated[
    float,
    typer.Option(
        min=0, max=63, help="Quality on x264's scale: 0 is best, 51 worst (63 for VP9 and AV1).", rich_help_panel=OUTPUT
    ),
]
Preset = Annotated[str, typer.Option(help="Effort of the encoder, by x264's names.", rich_help_panel=OUTPUT)]
EncoderOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--encoder-option", "-e", metavar="KEY=VALUE", help="Further option of the encoder; repeatable.",
        rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Start = Annotated[
    float | None,
    typer.Option(parser=parse_time, metavar="TIME", help="Begin here: seconds or hh:mm:ss.", rich_help_panel=OUTPUT),
]
End = Annotated[
    float | None,
    typer.Option(parser=parse_time, metavar="TIME", help="End here: seconds or hh:mm:ss.", rich_help_panel=OUTPUT),
]
CopyStreams = Annotated[
    bool,
    typer.Option(
        " /--no-copy-streams",
        help="Leave out sound, subtitles and attachments.",
        show_default=False,
        rich_help_panel=OUTPUT,
    ),
]
PixelFormat = Annotated[
    str,
    typer.Option(
        "--pix-fmt", help="What is encoded, by FFmpeg's names, such as yuv420p; auto: the source's, where players "
        "show it.", rich_help_panel=OUTPUT,
    ),
]  # fmt: skip
Audio = Annotated[
    Literal["copy", "encode", "drop"],
    typer.Option(
        help="Sound: copy it (and encode what the file's format does not hold), encode all of it, or drop it.",
        rich_help_panel=OUTPUT,
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.", rich_help_panel=OUTPUT)]
KeepGoing = Annotated[
    bool,
    typer.Option("--keep-going", help="Exit 0 even if the video is cut off in the middle.", rich_help_panel=OUTPUT),
]
ReportFile = Annotated[
    Path | None,
    typer.Option(
        "--report", metavar="FILE.html", help="Write a page with pictures and timings.", rich_help_panel=OUTPUT
    ),
]
Judged = Annotated[
    bool,
    typer.Option(
        "--judge",
        help="Say in the report how good it is: whom it shows, what it keeps, whether it flickers.",
        rich_help_panel=OUTPUT,
    ),
]
TraceFile = Annotated[
    Path | None,
    typer.Option(
        "--trace", metavar="FILE.json", help="Write who worked when, for chrome://tracing.", rich_help_panel=OUTPUT
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.", rich_help_panel=OUTPUT),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only warnings and errors.", rich_help_panel=OUTPUT)]

# Running
PackName = Annotated[
    str,
    typer.Option(
        "--pack", envvar="TRTSWAP_PACK", help="Name of an installed pack, or a pack's folder.", rich_help_panel=RUNNING
    ),
]
PackArgument = Annotated[
    str, typer.Argument(metavar="PACK", envvar="TRTSWAP_PACK", help="Name of an installed pack, or a folder.")
]
Backend = Annotated[
    Literal["auto", "onnxruntime", "openvino", "torch", "tensorrt"],
    typer.Option(help="What runs the networks.", rich_help_panel=RUNNING),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.", rich_help_panel=RUNNING)]
Threads = Annotated[
    int | None, typer.Option(min=1, help="CPU threads; all cores if not given.", rich_help_panel=RUNNING)
]
HostCode = Annotated[
    bool,
    typer.Option("--host-code", help="Load engines with code for the CPU: version-compatible ones that you built.",
                 rich_help_panel=RUNNING),
]  # fmt: skip
LimitSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--limit", metavar="NAME=NUMBER", help="Refuse files that hold more: pixels, seconds, streams and others; "
        "inf: no limit; repeatable.", rich_help_panel=RUNNING,
    ),
]  # fmt: skip
ReaderName = Annotated[
    Literal["pyav", "nvdec", "decord", "dali"],
    typer.Option("--reader", help="What decodes the video.", rich_help_panel=RUNNING),
]
Batch = Annotated[
    int | None,
    typer.Option(help="Frames that are read and searched at once; from the free memory.", rich_help_panel=RUNNING),
]
FaceBatch = Annotated[
    int | None,
    typer.Option(
        "--face-batch", help="Faces that go through a network at once; from the free memory.", rich_help_panel=RUNNING
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Batches whose faces are made at the same time, sharing the CPU's threads; 2 on a CPU, 1 on a GPU.",
        show_default=False,
        rich_help_panel=RUNNING,
    ),
]

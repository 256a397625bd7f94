"""What the report's tables say, gathered from the objects that know it."""

from dataclasses import asdict, dataclass
from pathlib import Path

from trtswap.report.recorder import Recorder
from trtswap.report.timeline import busy_seconds
from trtswap.swapper import Swapper, SwapResult
from trtswap.video.info import VideoInfo

MATRICES = {
    "bt601": "BT.601",
    "bt709": "BT.709",
    "bt2020": "BT.2020",
    "rgb": "RGB",
    "fcc": "FCC",
    "smpte240m": "SMPTE 240M",
}
# TransferCharacteristics of H.273 that mean HDR.
UNSPECIFIED = 2
TRANSFERS = {16: "PQ", 18: "HLG"}


@dataclass(frozen=True)
class StageRow:
    """Time of one stage.

    Attributes:
        kind: ``network``, ``video``, ``pixels`` or ``rest``; decides the colour.
        runs_on: library, device and precision, for people.
    """

    name: str
    kind: str
    seconds: float
    runs_on: str


def stage_rows(
    swapper: Swapper, result: SwapResult, recorder: Recorder, *, seconds: float, codec: str
) -> tuple[StageRow, ...]:
    """Rows in the order of the work; the last has the time in which no stage was at work.

    Stages overlap, so that their sum may exceed ``seconds``.
    """
    rows = [_stage_row(name, taken, swapper, recorder, codec) for name, taken in result.seconds.items()]
    rows.append(StageRow("report", "rest", recorder.own_seconds, "pictures of this page"))
    rest = max(0.0, seconds - busy_seconds(result.spans))
    return (*rows, StageRow("rest", "rest", rest, "opening and closing files, and all else"))


def _stage_row(name: str, seconds: float, swapper: Swapper, recorder: Recorder, codec: str) -> StageRow:
    device = swapper.choice.device
    if name in swapper.engines:
        engine = swapper.engines[name]
        return StageRow(name, "network", seconds, f"{engine.backend} on {engine.device}, {engine.precision}")
    if name in ("decode", "encode"):
        source = recorder.info.codec if name == "decode" else codec
        return StageRow(name, "video", seconds, f"PyAV on cpu, {source}")
    return StageRow(name, "pixels", seconds, "PyTorch on cpu" if name == "track" else f"PyTorch on {device}, fp32")


def file_facts(path: Path, info: VideoInfo) -> dict[str, str]:
    """Facts of one video by name, the same names for every video."""
    streams = ", ".join(f"{stream.kind} ({stream.codec})" for stream in info.streams)
    return {
        "File": str(path),
        "Size": f"{path.stat().st_size / 1e6:.2f} MB",
        "Picture": _picture(info),
        "Frame rate": f"{float(info.average_rate):.3f}".rstrip("0").rstrip(".") + " fps"
        if info.average_rate
        else "unknown",
        "Length": f"{info.duration:.2f} s" if info.duration is not None else "unknown",
        "Video": f"{info.codec}, {info.pixel_format.name}",
        "Colours": _colours(info),
        "Container": info.container,
        "Other streams": streams or "none",
    }


def _picture(info: VideoInfo) -> str:
    width, height = info.display_size
    shown = "" if (width, height) == (info.width, info.height) else f", shown as {width}x{height}"
    return f"{info.width}x{info.height}{shown}{', interlaced' if info.interlaced else ''}"


def _colours(info: VideoInfo) -> str:
    fmt = info.pixel_format
    parts = [MATRICES[fmt.matrix], "full range" if fmt.full_range else "limited range", f"{fmt.bits} bit"]
    if info.color.matrix == UNSPECIFIED:
        parts[0] += " (assumed)"
    if info.color.transfer in TRANSFERS:
        parts.append(TRANSFERS[info.color.transfer])
    return ", ".join(parts)


def option_rows(swapper: Swapper) -> list[tuple[str, str]]:
    """Name and value of each option."""
    options = asdict(swapper.options) | asdict(swapper.runtime.options)
    options |= {f"limit of {name}": value for name, value in options.pop("limits").items()}
    rows = {name.replace("_", " "): _in_words(value) for name, value in options.items()}
    pack = swapper.pack
    if "restore" not in pack.stages:
        rows["restore"] = rows["restore weight"] = "the pack has no restorer"
    if swapper.runtime.options.occlude and "occlude" not in swapper.engines:
        rows["occlude"] = "no, since faces are not measured at points"
    if pack.stages.get("restore") is None or pack.stages["restore"].fidelity is None:
        rows["fidelity"] = "the pack's restorer takes none"
    if pack.stages["swap"].likeness is None:
        rows["likeness"] = "the pack's swap network takes none"
    return list(rows.items())


def _in_words(value: object) -> str:
    if value is None:
        return "the pack's"
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)

"""HDR10 metadata (SMPTE ST 2086 mastering display, CTA-861.3 content light level): from frames, to encoders."""

import math
import struct
from dataclasses import dataclass
from fractions import Fraction
from typing import cast

import av
from av.sidedata.sidedata import SideDataContainer, Type

from trtswap.pixels.color import PixelFormat
from trtswap.pixels.light import REFERENCE_WHITE

# FFmpeg's AVMasteringDisplayMetadata: 10 rationals, then two flags.
_MASTERING = struct.Struct("=20i2i")
_CONTENT_LIGHT = struct.Struct("=2I")
# x264 and x265 count chromaticities in 1/50000 and luminances in 1/10000 cd/m2, as the SEI messages do.
_CHROMATICITY_UNIT = 50_000
_LUMINANCE_UNIT = 10_000

Point = tuple[Fraction, Fraction]


@dataclass(frozen=True)
class MasteringDisplay:
    """CIE 1931 xy of the display's primaries and white, and its luminance range in cd/m2."""

    red: Point
    green: Point
    blue: Point
    white: Point
    min_luminance: Fraction
    max_luminance: Fraction


@dataclass(frozen=True)
class ContentLight:
    """Brightest pixel and brightest frame average, cd/m2."""

    max_cll: int
    max_fall: int


@dataclass(frozen=True)
class HdrMetadata:
    """Static HDR metadata of a stream; both None for SDR."""

    mastering: MasteringDisplay | None = None
    content_light: ContentLight | None = None

    def __bool__(self) -> bool:
        return self.mastering is not None or self.content_light is not None


def hdr_warnings(fmt: PixelFormat) -> list[str]:
    """What a user should know of a swap in HDR; empty for SDR."""
    if fmt.transfer == "sdr":
        return []
    return [
        f"the video is HDR ({fmt.transfer.upper()}): faces are swapped as SDR and put back, so that a swapped face is "
        f"no brighter than SDR's white, {REFERENCE_WHITE:g} cd/m2"
    ]


def side_data_of(frame: av.VideoFrame) -> dict[Type, bytes]:
    """The frame's side data by kind."""
    try:
        container = cast(SideDataContainer, frame.side_data)  # which PyAV's own hints call a dict
    except ValueError:  # a kind that PyAV 18 does not know, such as EXIF, of which then only the rotation can be had
        return {Type.DISPLAYMATRIX: _turned(frame.rotation)} if frame.rotation else {}
    return {data.type: bytes(data) for data in container}


def _turned(degrees: int) -> bytes:
    """A display matrix that turns, as FFmpeg's ``av_display_rotation_set`` makes it."""
    turn = -math.radians(degrees)
    cosine, sine = (round(f(turn) * 2**16) for f in (math.cos, math.sin))
    return struct.pack("=9i", cosine, -sine, 0, sine, cosine, 0, 0, 0, 2**30)


def hdr_of(frame: av.VideoFrame) -> HdrMetadata:
    """The static HDR metadata among a frame's side data."""
    found = side_data_of(frame)
    mastering = found.get(Type.MASTERING_DISPLAY_METADATA)
    light = found.get(Type.CONTENT_LIGHT_LEVEL)
    return HdrMetadata(
        _parse_mastering(mastering) if mastering else None,
        ContentLight(*_CONTENT_LIGHT.unpack_from(light)) if light else None,
    )


def _parse_mastering(data: bytes) -> MasteringDisplay | None:
    *numbers, has_primaries, has_luminance = _MASTERING.unpack_from(data)
    if not (has_primaries and has_luminance):
        return None
    values = [Fraction(n, d) if d else Fraction(0) for n, d in zip(numbers[::2], numbers[1::2], strict=True)]
    red, green, blue, white = ((values[i], values[i + 1]) for i in (0, 2, 4, 6))
    return MasteringDisplay(red, green, blue, white, min_luminance=values[8], max_luminance=values[9])


def encoder_params(codec: str, hdr: HdrMetadata) -> list[str]:
    """``key=value`` pairs for the encoder's own parameter option; empty where the encoder has none for HDR10."""
    match codec:
        case "libx265":
            names = ("master-display", "max-cll")
        case "libx264":
            names = ("mastering-display", "cll")
        case "libsvtav1":
            names = ("mastering-display", "content-light")
        case _:
            return []
    params = []
    if hdr.mastering is not None:
        params.append(f"{names[0]}={_mastering_text(hdr.mastering, decimal=codec == 'libsvtav1')}")
    if hdr.content_light is not None:
        params.append(f"{names[1]}={hdr.content_light.max_cll},{hdr.content_light.max_fall}")
    return params


def _mastering_text(display: MasteringDisplay, *, decimal: bool) -> str:
    def number(value: Fraction, unit: int) -> str:
        return f"{float(value):.6f}" if decimal else str(round(value * unit))

    points = zip("GBR", (display.green, display.blue, display.red), strict=True)
    colours = [(name, point) for name, point in points] + [("WP", display.white)]
    text = "".join(f"{n}({number(x, _CHROMATICITY_UNIT)},{number(y, _CHROMATICITY_UNIT)})" for n, (x, y) in colours)
    high, low = (number(v, _LUMINANCE_UNIT) for v in (display.max_luminance, display.min_luminance))
    return f"{text}L({high},{low})"

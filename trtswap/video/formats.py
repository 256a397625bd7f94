"""Pixel formats: which ones are read as they are, what the others become, and how their planes are laid out."""

from dataclasses import dataclass

import av

from trtswap.pixels.color import FULL, LIMITED, ColorTags, Matrix, PixelFormat

# Luma plane and one plane of interleaved chroma: (the planar format, U before V, bits to shift down).
_SEMI_PLANAR: dict[str, tuple[str, bool, int]] = {
    "nv12": ("yuv420p", True, 0),
    "nv21": ("yuv420p", False, 0),
    "nv16": ("yuv422p", True, 0),
    "nv24": ("yuv444p", True, 0),
    "nv42": ("yuv444p", False, 0),
    "nv20le": ("yuv422p10le", True, 0),
    "p010le": ("yuv420p10le", True, 6),
    "p012le": ("yuv420p12le", True, 4),
    "p210le": ("yuv422p10le", True, 6),
    "p212le": ("yuv422p12le", True, 4),
    "p410le": ("yuv444p10le", True, 6),
    "p412le": ("yuv444p12le", True, 4),
}
_CHROMA_NAMES = {(0, 0): "444", (1, 0): "422", (1, 1): "420", (0, 1): "440", (2, 0): "411", (2, 2): "410"}
_NATIVE_BITS = (8, 9, 10, 12, 14)


@dataclass(frozen=True)
class Layout:
    """Where the samples of a decoder's format lie.

    Attributes:
        planar: FFmpeg's planar format with the same samples, which the encoder gets.
        planes: for Y, U, V or R, G, B: (index of the decoder's plane, first sample, step between samples).
        bits: significant bits.
        right_shift: bits to drop at the low end, for formats that keep their samples in the high bits.
        chroma_shift: log2 of the subsampling, (x, y).
        rgb: the planes are R, G, B.
    """

    planar: str
    planes: tuple[tuple[int, int, int], ...]
    bits: int
    right_shift: int
    chroma_shift: tuple[int, int]
    rgb: bool

    @property
    def gray(self) -> bool:
        return len(self.planes) == 1


def layout_of(name: str) -> Layout | None:
    """How to read a format without conversion; None where its samples are not plain little-endian planes."""
    if name in _SEMI_PLANAR:
        planar, u_first, shift = _SEMI_PLANAR[name]
        base = _planar_layout(planar)
        planes = ((0, 0, 1), (1, 0 if u_first else 1, 2), (1, 1 if u_first else 0, 2))
        return Layout(planar, planes, base.bits, shift, base.chroma_shift, rgb=False)
    if name.startswith("yuvj"):
        name = name.replace("yuvj", "yuv")
    return _planar_layout(name) if _is_plain_planar(name) else None


def _is_plain_planar(name: str) -> bool:
    fmt = av.VideoFormat(name, 16, 16)
    components = fmt.components
    if name.startswith("gray"):
        shape_fits = len(components) == 1
    else:
        shape_fits = len(components) == 3 and fmt.is_planar and {c.plane for c in components} == {0, 1, 2}
    odd_one = fmt.is_big_endian or fmt.has_palette or fmt.is_bit_stream or "msb" in name or name[-4:-2] in ("16", "32")
    return shape_fits and not odd_one and name.startswith(("yuv", "gbrp", "gray")) and _bits(fmt) in _NATIVE_BITS


def _planar_layout(name: str) -> Layout:
    fmt = av.VideoFormat(name, 16, 16)
    if name.startswith("gray"):
        # Half-size chroma planes are added, so that gray frames are worked on as all others are.
        return Layout(name, ((0, 0, 1),), _bits(fmt), 0, (1, 1), rgb=False)
    if fmt.is_rgb:
        return Layout(name, ((2, 0, 1), (0, 0, 1), (1, 0, 1)), _bits(fmt), 0, (0, 0), rgb=True)
    return Layout(name, ((0, 0, 1), (1, 0, 1), (2, 0, 1)), _bits(fmt), 0, chroma_shift(fmt), rgb=False)


def chroma_shift(fmt: av.VideoFormat) -> tuple[int, int]:
    """log2 of the subsampling, (x, y)."""
    return (16 // fmt.chroma_width(16)).bit_length() - 1, (16 // fmt.chroma_height(16)).bit_length() - 1


def _bits(fmt: av.VideoFormat) -> int:
    return max((component.bits for component in fmt.components), default=8)


def nearest_planar(name: str) -> str:
    """The planar format with a layout of its own that holds the most of what ``name`` holds.

    Stays within the family (RGB, Y'CbCr, gray) and the subsampling, so no colour matrix is applied; alpha is
    dropped; more than 12 bits become 12.
    """
    fmt = av.VideoFormat(name, 16, 16)
    bits = _bits(fmt)
    suffix = "" if bits <= 8 else "10le" if bits <= 10 else "12le"
    colours = [c for c in fmt.components if not c.is_alpha]
    if fmt.is_rgb or fmt.has_palette or fmt.is_bayer or name.startswith("xyz"):
        return f"gbrp{suffix}"
    if len(colours) == 1:
        return f"gray{suffix}"
    return f"yuv{_CHROMA_NAMES[chroma_shift(fmt)]}p{suffix}"


def pixel_format_of(source: str, layout: Layout, tags: ColorTags, height: int) -> PixelFormat | None:
    """The contract of the planes; None where the matrix is none that K_R and K_B define (YCgCo, ICtCp)."""
    matrix: Matrix | None = "rgb" if layout.rgb else tags.matrix_name(height)
    if matrix is None:
        return None
    # FFmpeg takes untagged RGB and gray for full range, untagged Y'CbCr for limited.
    full = tags.range != LIMITED if layout.rgb or layout.gray else tags.range == FULL or source.startswith("yuvj")
    return PixelFormat(
        name=layout.planar,
        bits=layout.bits,
        chroma_shift=layout.chroma_shift,
        matrix=matrix,
        full_range=full,
        chroma_offset=(0.0, 0.0) if layout.rgb else tags.chroma_offset(layout.chroma_shift),
        transfer=tags.transfer_name,
        primaries=tags.primaries_name,
    )

"""Y'CbCr matrices, ranges and plane layouts: what is needed to turn a region of planes into RGB and back.

Sources: ITU-T H.273 tables 2-4 (code points), table 4 (matrix coefficients) and its equations 20-31
(quantisation), which BT.601, BT.709 and BT.2020 share.
"""

from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch
from torch import Tensor

Matrix = Literal["rgb", "bt601", "bt709", "bt2020", "fcc", "smpte240m"]
Transfer = Literal["sdr", "pq", "hlg"]
Primaries = Literal["bt709", "bt2020", "p3"]
# K_R and K_B of H.273.
LUMA_WEIGHTS: dict[str, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
    "fcc": (0.30, 0.11),
    "smpte240m": (0.212, 0.087),
}
# MatrixCoefficients of H.273. 2 is "unspecified", 3 reserved, and 0 (GBR) no matrix for Y'CbCr planes.
_MATRICES: dict[int, Matrix] = {
    1: "bt709",
    4: "fcc",
    5: "bt601",
    6: "bt601",
    7: "smpte240m",
    9: "bt2020",
    10: "bt2020",
}
_UNTAGGED = (0, 2, 3)
# TransferCharacteristics and ColourPrimaries of H.273 that mean other light than BT.709's; all of SDR's curves are one.
_TRANSFERS: dict[int, Transfer] = {16: "pq", 18: "hlg"}
_PRIMARIES: dict[int, Primaries] = {9: "bt2020", 12: "p3"}
LIMITED, FULL = 1, 2
# FFmpeg's names; where the first chroma sample lies within its group of luma samples, 0 = first, 1 = last.
_CHROMA_SITES: dict[str, tuple[float, float]] = {
    "left": (0.0, 0.5),
    "center": (0.5, 0.5),
    "topleft": (0.0, 0.0),
    "top": (0.5, 0.0),
    "bottomleft": (0.0, 1.0),
    "bottom": (0.5, 1.0),
}


@dataclass(frozen=True)
class ColorTags:
    """What a stream says about its colours, as code points of H.273; 2 (0 for the range) is "unspecified".

    Attributes:
        primaries: ColourPrimaries.
        transfer: TransferCharacteristics.
        matrix: MatrixCoefficients.
        range: 1 limited, 2 full, 0 unspecified (FFmpeg's AVCOL_RANGE).
        chroma_location: FFmpeg's name, such as ``left`` or ``topleft``; None where unspecified.
    """

    primaries: int = 2
    transfer: int = 2
    matrix: int = 2
    range: int = 0
    chroma_location: str | None = None

    @property
    def transfer_name(self) -> Transfer:
        return _TRANSFERS.get(self.transfer, "sdr")

    @property
    def primaries_name(self) -> Primaries:
        return _PRIMARIES.get(self.primaries, "bt709")

    def matrix_name(self, height: int) -> Matrix | None:
        """The matrix of Y'CbCr planes ``height`` lines high: the tag's, else BT.709 from 720 lines up and BT.601 below.

        Returns None for a matrix that is not made of K_R and K_B (YCgCo, ICtCp).
        """
        if self.matrix in _UNTAGGED:
            return "bt709" if height >= 720 else "bt601"
        return _MATRICES.get(self.matrix)

    def chroma_offset(self, chroma_shift: tuple[int, int]) -> tuple[float, float]:
        """Where the first chroma sample lies, in luma pixels; untagged is "left", as in MPEG-2 and H.264."""
        x, y = _CHROMA_SITES[self.chroma_location or "left"]
        return x * ((1 << chroma_shift[0]) - 1), y * ((1 << chroma_shift[1]) - 1)


@dataclass(frozen=True)
class PixelFormat:
    """How the planes of a frame are to be read.

    Attributes:
        name: FFmpeg's name of the format the encoder gets, such as ``yuv420p10le``; ``rgb24`` for arrays.
        bits: significant bits of a sample: 8 (uint8 planes), or 9..15 (int16 planes).
        chroma_shift: log2 of the subsampling, (x, y): (1, 1) is 4:2:0, (0, 0) is 4:4:4 and RGB.
        matrix: ``rgb`` means that the planes are R, G, B.
        full_range: samples use 0..2^bits-1, not 16..235 (luma) and 16..240 (chroma) scaled to the bit depth.
        chroma_offset: where the first chroma sample lies in luma pixels, (x, y): (0, 0.5) is MPEG-2's and
            H.264's default "left", (0.5, 0.5) is JPEG's "center", (0, 0) is "topleft".
        transfer: what R'G'B' says of light: ``sdr``, or HDR's ``pq`` or ``hlg``.
        primaries: which red, green and blue.
    """

    name: str
    bits: int = 8
    chroma_shift: tuple[int, int] = (0, 0)
    matrix: Matrix = "rgb"
    full_range: bool = True
    chroma_offset: tuple[float, float] = (0.0, 0.0)
    transfer: Transfer = "sdr"
    primaries: Primaries = "bt709"

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8 if self.bits == 8 else torch.int16

    @property
    def peak(self) -> int:
        """Largest code value."""
        return (1 << self.bits) - 1


RGB24 = PixelFormat("rgb24")


@cache
def rgb_from_planes(fmt: PixelFormat, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Matrix and offset that turn code values of three planes into R'G'B' 0..1.

    Returns:
        ``(m, o)``, float32 [3, 3] and [3]: ``rgb = m @ planes + o``. The same tensors each time: not to be changed.
    """
    m, o = _planes_from_rgb(fmt)
    inverse = torch.linalg.inv(m)
    return inverse.float().to(device), (-inverse @ o).float().to(device)


@cache
def planes_from_rgb(fmt: PixelFormat, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Matrix and offset that turn R'G'B' 0..1 into code values, not rounded: ``planes = m @ rgb + o``.

    The same tensors each time: not to be changed.
    """
    m, o = _planes_from_rgb(fmt)
    return m.float().to(device), o.float().to(device)


def _planes_from_rgb(fmt: PixelFormat) -> tuple[Tensor, Tensor]:
    peak = float(fmt.peak)
    unit = float(1 << (fmt.bits - 8))
    if fmt.matrix == "rgb":
        gain, black = (peak, 0.0) if fmt.full_range else (219 * unit, 16 * unit)
        return torch.eye(3, dtype=torch.float64) * gain, torch.full((3,), black, dtype=torch.float64)
    kr, kb = LUMA_WEIGHTS[fmt.matrix]
    kg = 1 - kr - kb
    y = torch.tensor([kr, kg, kb], dtype=torch.float64)
    cb = (torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) - y) / (2 * (1 - kb))
    cr = (torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64) - y) / (2 * (1 - kr))
    middle = float(1 << (fmt.bits - 1))
    if fmt.full_range:
        scale, offset = torch.tensor([peak, peak, peak]), torch.tensor([0.0, middle, middle])
    else:
        scale = torch.tensor([219.0, 224.0, 224.0]) * unit
        offset = torch.tensor([16 * unit, middle, middle])
    return torch.stack([y, cb, cr]) * scale[:, None].double(), offset.double()

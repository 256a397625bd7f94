"""What networks see of HDR and wide-gamut video: the same light as SDR's R'G'B', and the way back.

Networks were trained on SDR pictures. Given the code values of PQ or HLG as they are, they answer with values that
mean several times the light. So crops are converted to the signal that an SDR display would show the same light with:
BT.709's primaries, BT.1886's gamma, and HDR's reference white as 1. What is brighter or more saturated lies beyond 0..1
and is not cut off: each step can be undone, pixel by pixel. Colours of faces come back within 0.01 code values of 10
bits; a channel without light beside one that has much may be some code values off, which is as little light.

Sources: ITU-R BT.2100-2 tables 4 (PQ) and 5 (HLG), BT.1886 (gamma 2.4), BT.2408 (reference white 203 cd/m2, HLG's
nominal display of 1000 cd/m2), ITU-T H.273 table 2 (primaries).
"""

import math
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from trtswap.pixels.color import PixelFormat, Primaries

Curve = Callable[[Tensor], Tensor]
Matrix3 = tuple[tuple[float, ...], ...]

REFERENCE_WHITE = 203.0
"""Light of an SDR picture's white in HDR, cd/m2."""
_SDR_GAMMA = 2.4
# PQ: m1, m2, c1, c2, c3, and its peak in cd/m2. Beyond a signal of 1, where the formula ends, a power goes on.
_M1, _M2 = 2610 / 16384, 2523 / 4096 * 128
_C1, _C2, _C3 = 3424 / 4096, 2413 / 4096 * 32, 2392 / 4096 * 32
_PQ_PEAK, _BEYOND_PQ = 10_000.0 / REFERENCE_WHITE, 6.0
# HLG: a, b, c, and the gamma and peak of the nominal display. All light below is in units of reference white.
_A = 0.17883277
_B, _C = 1 - 4 * _A, 0.5 - _A * math.log(4 * _A)
_HLG_GAMMA, _HLG_PEAK = 1.2, 1000.0 / REFERENCE_WHITE
# CIE 1931 xy of red, green and blue; white is D65 for all.
_CHROMATICITIES: dict[Primaries, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


def sdr_from_signal(rgb: Tensor, fmt: PixelFormat, *, together: bool | None = None) -> Tensor:
    """R'G'B' of an SDR display that shows the light of a video's R'G'B'.

    Args:
        rgb: float32 [..., 3, H, W], the video's own signal, 0..1 and what lies beyond.
        fmt: says which signal that is.
        together: convert all pictures with one launch of each kernel, rather than one after the other in the CPU's
            cache; by default where they are not on a CPU.

    Returns:
        float32 [..., 3, H, W]; 1 is reference white, HDR goes up to 5 (PQ) and 2 (HLG). For SDR in BT.709 ``rgb``
        itself.
    """
    if _is_sdr(fmt):
        return rgb
    return _converted(rgb, _TO_LIGHT[fmt.transfer], _matrix(fmt.primaries, "bt709"), _sdr_signal, together)


def signal_from_sdr(rgb: Tensor, fmt: PixelFormat, *, together: bool | None = None) -> Tensor:
    """The inverse of :func:`sdr_from_signal`."""
    if _is_sdr(fmt):
        return rgb
    return _converted(rgb, _sdr_light, _matrix("bt709", fmt.primaries), _TO_SIGNAL[fmt.transfer], together)


def _is_sdr(fmt: PixelFormat) -> bool:
    return fmt.transfer == "sdr" and fmt.primaries == "bt709"


def _converted(rgb: Tensor, to_light: Curve, matrix: Matrix3, to_signal: Curve, together: bool | None) -> Tensor:
    """On a CPU picture by picture: there torch rounds the last pixels of its memory otherwise than the rest."""
    out = torch.empty(rgb.shape, dtype=rgb.dtype, device=rgb.device)
    pictures, targets = (t.reshape(-1, *rgb.shape[-3:]) for t in (rgb, out))
    at_once = len(pictures) if (rgb.device.type != "cpu" if together is None else together) else 1
    parts = (torch.split(t, max(1, at_once)) for t in (pictures, targets))
    for part, target in zip(*parts, strict=True):
        light = _mirrored(part.contiguous(), to_light).unbind(1)
        red, green, blue = (r * light[0] + g * light[1] + b * light[2] for r, g, b in matrix)
        target.copy_(_mirrored(torch.stack([red, green, blue], 1), to_signal))
    return out


def _mirrored(values: Tensor, curve: Curve) -> Tensor:
    return torch.copysign(curve(values.abs()), values)


def _sdr_light(signal: Tensor) -> Tensor:
    return signal.pow(_SDR_GAMMA)


def _sdr_signal(light: Tensor) -> Tensor:
    return light.pow(1 / _SDR_GAMMA)


def _pq_light(signal: Tensor) -> Tensor:
    p = signal.clamp(max=1).pow(1 / _M2)
    inside = ((p - _C1).clamp_(min=0) / (_C2 - _C3 * p)).pow(1 / _M1)
    return torch.where(signal <= 1, inside, signal.pow(_BEYOND_PQ)).mul_(_PQ_PEAK)


def _pq_signal(light: Tensor) -> Tensor:
    light = light / _PQ_PEAK
    y = light.clamp(max=1).pow(_M1)
    inside = ((_C1 + _C2 * y) / (1 + _C3 * y)).pow(_M2)
    return torch.where(light <= 1, inside, light.pow(1 / _BEYOND_PQ))


def _hlg_light(signal: Tensor) -> Tensor:
    # The display's gamma, which BT.2100 takes from the luminance, is taken by each channel for itself: the same for
    # greys, a few per cent off for skin, and it can be undone for colours of no luminance.
    scene = torch.where(signal <= 0.5, signal.square() / 3, (((signal - _C) / _A).exp() + _B) / 12)
    return scene.pow(_HLG_GAMMA).mul_(_HLG_PEAK)


def _hlg_signal(light: Tensor) -> Tensor:
    scene = (light / _HLG_PEAK).pow(1 / _HLG_GAMMA)
    bright = _A * (12 * scene - _B).clamp(min=1e-6).log() + _C
    return torch.where(scene <= 1 / 12, (3 * scene).sqrt(), bright)


_TO_LIGHT = {"sdr": _sdr_light, "pq": _pq_light, "hlg": _hlg_light}
_TO_SIGNAL = {"sdr": _sdr_signal, "pq": _pq_signal, "hlg": _hlg_signal}


@cache
def _matrix(source: Primaries, target: Primaries) -> Matrix3:
    """From linear RGB of one set of primaries to another's, by way of CIE XYZ."""
    both = torch.linalg.solve(_to_xyz(target), _to_xyz(source))
    return tuple(tuple(row) for row in both.tolist())


def _to_xyz(primaries: Primaries) -> Tensor:
    points = torch.tensor([[x / y, 1, (1 - x - y) / y] for x, y in (*_CHROMATICITIES[primaries], _D65)]).double()
    colours, white = points[:3].T, points[3]
    gains: Tensor = torch.linalg.solve(colours, white)
    return colours * gains

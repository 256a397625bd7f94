"""Light on a face: what is left of its brightness and colour when one looks through frosted glass."""

import torch
from torch import Tensor
from torch.nn import functional as F

DARKEST = 2 / 255  # darker has no logarithm worth having
FINE, COARSE = 0.04, 0.15  # deviation of the Gaussian that light is seen through, shares of the side
WIDER = 3.0  # where a Gaussian finds nothing, one that is so many times as wide is asked,
FAINT = 0.02  # with this weight
FINEST = 4  # pixels: squares of this side have no finest details left
SHARPER = (0.6, 1.5)  # by how much these are made weaker or stronger
BRIGHTEST = (0.06, 0.35)  # by how much a detail may be brighter than its surroundings: of logarithms
COLOURLESS, COLOURED = 0.02, 0.12  # saturation of the target's skin


def lit(faces: Tensor, made: Tensor, skin: Tensor, likeness: Tensor) -> Tensor:
    """The details of one picture in the light of another.

    Args:
        faces: float32 [N, 3, S, S], RGB 0..1, whose light it is.
        made: the same of whom is to be seen.
        skin: float32 [N, 1, n, n], 0..1, which cells show bare skin in both: only there light is told.
        likeness: float32 [1], 0..1: 0 takes all of the light, 1 leaves ``made`` all but its coarsest shading.
    """
    size, cells = faces.shape[-1], skin.shape[-1]
    skin = skin + 1e-6
    target, source = (x.clamp(min=DARKEST).log() for x in (faces, made))
    coarse = F.avg_pool2d(torch.cat([target, source], 1), size // cells)
    light = torch.lerp(spread(coarse, skin, FINE * cells), spread(coarse, skin, COARSE * cells), likeness)
    light = fine(light, size)
    theirs, ours = light[:, :3], light[:, 3:]
    details = _as_sharp(source - ours, target - theirs, skin)
    # Softly limited, so that what is bright already does not become white.
    half = (-theirs).clamp(*BRIGHTEST) / 2
    over = (details - half).clamp(min=0)
    details = torch.minimum(details, half) + half * (1 - (-over / half).exp())
    return _coloured((theirs + details).exp().clamp(0, 1), mean_of(F.avg_pool2d(faces, size // cells), skin))


def smooth(x: Tensor) -> Tensor:
    """0 up to 0, 1 from 1 on, and a soft way between."""
    x = x.clamp(0, 1)
    return x * x * (3 - 2 * x)


def between(x: Tensor, low: float, high: float) -> Tensor:
    """0 up to ``low``, 1 from ``high`` on, and a soft way between."""
    return smooth((x - low) / (high - low))


def blurred(x: Tensor, sigma: float) -> Tensor:
    """A Gaussian of that standard deviation, pixels, over [N, C, h, w]; beyond the border there is nothing."""
    radius = int(3 * sigma + 0.5)
    places = torch.arange(-radius, radius + 1, dtype=x.dtype)
    taps = torch.exp(-places.square() / (2 * sigma**2))
    taps = taps / taps.sum()
    _, channels, height, width = x.shape
    flat = x.reshape(-1, 1, height, width)
    flat = F.conv2d(flat, taps.view(1, 1, 1, -1), padding=(0, radius))
    flat = F.conv2d(flat, taps.view(1, 1, -1, 1), padding=(radius, 0))
    return flat.reshape(-1, channels, height, width)


def spread(x: Tensor, weight: Tensor, sigma: float) -> Tensor:
    """Weighted mean around each place, and beyond what has any weight: [N, C, h, w] by [N, 1, h, w]."""
    both = torch.cat([x * weight, weight], 1)
    sums = blurred(both, sigma) + FAINT * blurred(both, WIDER * sigma)
    return sums[:, :-1] / sums[:, -1:].clamp(min=1e-9)


def mean_of(x: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of a picture: [N, C, 1, 1]."""
    return (x * weight).sum((2, 3), keepdim=True) / weight.sum((2, 3), keepdim=True).clamp(min=1e-6)


def fine(x: Tensor, size: int) -> Tensor:
    """The same on a square of ``size`` pixels."""
    return F.interpolate(x, (size, size), mode="bilinear", align_corners=False)


def _as_sharp(details: Tensor, target: Tensor, skin: Tensor) -> Tensor:
    """Details whose finest part, grain and pores, is as strong on the skin as the target's."""
    size = details.shape[-1]
    grey = torch.cat([details.mean(1, keepdim=True), target.mean(1, keepdim=True)], 1)  # colours are noise there
    finest = grey - fine(F.avg_pool2d(grey, FINEST), size)
    power = mean_of(F.avg_pool2d(finest.square(), size // skin.shape[-1]), skin) + 1e-8
    return details + finest[:, :1] * ((power[:, 1:] / power[:, :1]).sqrt().clamp(*SHARPER) - 1)


def _coloured(made: Tensor, skin: Tensor) -> Tensor:
    """Without colours where the target's skin, on average [N, 3, 1, 1], has none."""
    most, least = skin.amax(1, keepdim=True), skin.amin(1, keepdim=True)
    share = between((most - least) / most.clamp(min=DARKEST), COLOURLESS, COLOURED)
    grey = made.mean(1, keepdim=True)
    return grey + (made - grey) * share

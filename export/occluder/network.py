"""The network that says what of a crop lies in front of the face."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.faces import outlines
from trtswap.faces.outlines import cells, depth_in

SIZE, CELLS = 128, 32  # sides of crops, and of the maps that its points are drawn into
WIDTHS = (16, 32, 64, 96)  # channels at a half, a quarter, an eighth and a sixteenth of the side
FINE = 8  # channels at the full side
DEEP = 8.0  # maps are cut off an eighth of the side inside and outside an outline
INSIDE, AROUND = 100.0, 1e-3  # slope of the face's soft edge, per side; how much what is around it counts
WARY, STEEP = 0.85, 2.0
"""What has a chance of 30 % to be hidden is half hidden: bare faces have all but none of it, and of photographed hands
four in a hundred pixels more are found than at 50 %. Twice as steep, so that less is mixed."""
EVEN = 0.03  # contrast, of 1, that is added, so that grain on an even face stays grain


class Convolution(nn.Sequential):
    """3 x 3, normalised over the batch, rectified."""

    def __init__(self, taken: int, given: int, stride: int = 1) -> None:
        super().__init__(
            nn.Conv2d(taken, given, 3, stride, 1, bias=False), nn.BatchNorm2d(given), nn.ReLU(inplace=True)
        )


class Residual(nn.Module):
    """Two convolutions beside a straight way."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = Convolution(width, width)
        self.second = nn.Sequential(nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(self.first(x)))


class OccluderNetwork(nn.Module):
    """A U-Net over the crop, whose colours are told by the face's own, and over where the face's points are.

    `faces` [N, 3, 128, 128], `points` [N, 478, 3] in their pixels -> [N, 1, 128, 128]: above 0 where something lies in
    front, or where there is no face.
    """

    def __init__(self) -> None:
        super().__init__()
        half, quarter, eighth, least = WIDTHS
        self.to_half, self.to_quarter = Convolution(3, half, 2), Convolution(half, quarter, 2)
        self.with_points, self.at_quarter = Convolution(quarter + 3, quarter), Residual(quarter)
        self.to_eighth, self.at_eighth = Convolution(quarter, eighth, 2), Residual(eighth)
        self.to_least = Convolution(eighth, least, 2)
        self.at_least = nn.Sequential(Residual(least), Residual(least))
        self.from_least = Convolution(least + eighth, eighth)
        self.from_eighth = Convolution(eighth + quarter, quarter)
        self.from_quarter = Convolution(quarter + half, half)
        self.thin, self.whole = nn.Conv2d(half, FINE, 1), Convolution(FINE + 3, FINE)
        self.score = nn.Conv2d(FINE, 1, 1)
        self.register_buffer("places", cells(CELLS, float(SIZE)), persistent=False)

    places: Tensor

    def forward(self, faces: Tensor, points: Tensor) -> Tensor:
        maps = self._maps(points)
        crops = self._told_by_face(faces, maps[:, :1])
        half = self.to_half(crops)
        known = (maps * DEEP).clamp(-1, 1)
        quarter = self.at_quarter(self.with_points(torch.cat([self.to_quarter(half), known], 1)))
        eighth = self.at_eighth(self.to_eighth(quarter))
        x = self.at_least(self.to_least(eighth))
        for up, beside in ((self.from_least, eighth), (self.from_eighth, quarter), (self.from_quarter, half)):
            x = up(torch.cat([_doubled(x), beside], 1))
        scores: Tensor = self.score(self.whole(torch.cat([_doubled(self.thin(x)), crops], 1)))
        return scores

    def _maps(self, points: Tensor) -> Tensor:
        """How deep each cell lies in the face, in eyes and brows, and in the lips: [N, 3, n, n], shares of the side."""

        def depth(outline: tuple[int, ...]) -> Tensor:
            return depth_in(points, outline, self.places).reshape(-1, 1, CELLS, CELLS) / SIZE

        eyes = (outlines.RIGHT_BROW, outlines.LEFT_BROW, outlines.RIGHT_LIDS, outlines.LEFT_LIDS)
        features = torch.cat([depth(outline) for outline in eyes], 1).amax(1, keepdim=True)
        return torch.cat([depth(outlines.OVAL), features, depth(outlines.LIPS)], 1)

    def _told_by_face(self, faces: Tensor, depth: Tensor) -> Tensor:
        """Colours less the face's mean, in units of its contrast."""
        weight = torch.sigmoid(depth * INSIDE) + AROUND
        small, total = F.avg_pool2d(faces, SIZE // CELLS), weight.sum((2, 3), keepdim=True)
        mean = (small * weight).sum((2, 3), keepdim=True) / total
        spread = (small - mean).square().mean(1, keepdim=True)
        contrast = ((spread * weight).sum((2, 3), keepdim=True) / total).sqrt()
        return (faces - mean) / (contrast + EVEN)


class Visible(nn.Module):
    """The graph: `faces`, `points` -> `visible` [N, 1, 128, 128], 1 where nothing lies in front."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, faces: Tensor, points: Tensor) -> Tensor:
        return torch.sigmoid(-STEEP * (self.network(faces, points) + WARY))


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

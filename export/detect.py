"""The detect graph: YuNet, decoding, top-K and exact greedy non-maximum suppression in one static graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import InputError
from trtswap.export.networks.yunet import STRIDES, Level, YuNet

# No coordinate of a face lies further out than this, in pixels. NaN, infinities and boxes whose area would
# overflow fail the comparison.
_FARTHEST = 65536.0


class GreedyNms(nn.Module):
    """Exact greedy non-maximum suppression as a fixed sequence of dense operations.

    Sequential greedy NMS walks through the boxes, best first, and keeps a box unless one that it has kept
    already overlaps it. As an equation, with o[i, j] = 1 when i < j and boxes i and j overlap:

        keep[j] = valid[j] and not any(keep[i] and o[i, j] for i < j)  =  relu(valid[j] - sum_i keep[i] o[i, j])

    **Why this is exact.** Take this as an iteration, all j at once. keep[0] does not depend on the others;
    and once keep[0..t] are right, the next iteration makes keep[t + 1] right and leaves the earlier ones
    unchanged, because o is zero on and below the diagonal. So n - 1 iterations from any start give the only
    solution for n boxes, whatever the overlaps, also for a chain in which each box overlaps only the next.
    Doing this on all K boxes would cost K iterations of K * K products. Here the boxes are taken in blocks:
    first those that kept boxes of earlier blocks suppress fall away (one product), then the block is solved
    by itself in ``block - 1`` iterations of ``block * block`` products.

    All numbers in the products are 0 or 1 and all sums at most K, so that float32, TF32 and, up to K = 2048,
    float16 products give the same result.

    **Overlap** is that of OpenCV's ``FaceDetectorYN``: corner, width and height are each truncated to whole
    pixels, and two boxes overlap when intersection / union > ``threshold``, without rounding errors for
    boxes of up to two million pixels. One difference: OpenCV lets two boxes narrower than one pixel
    suppress each other wherever they are; here they overlap nothing.

    Args:
        count: K, the number of boxes.
        threshold: intersection over union above which the better box suppresses the other; 0..1.
        block: boxes solved together; affects the speed only.
    """

    earlier: Tensor

    def __init__(self, count: int, *, threshold: float = 0.3, block: int = 32) -> None:
        super().__init__()
        self.count = count
        self.threshold = threshold
        self.block = block
        self.register_buffer("earlier", torch.ones(block, block).triu(1), persistent=False)

    def forward(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Which boxes stay.

        Args:
            boxes: float32 [B, K, 4], x, y of the top left corner, width, height; best first. Finite.
            valid: float32 [B, K], 1 for boxes that take part, else 0.

        Returns:
            float32 [B, K], 1 for kept boxes, else 0.
        """
        suppressors = _overlap(boxes, self.threshold).split(self.block, 2)  # [B, K, block] each
        candidates = valid[:, None].split(self.block, 2)
        kept: list[Tensor] = []
        for start, column, free in zip(range(0, self.count, self.block), suppressors, candidates, strict=True):
            if kept:
                free = F.relu(free - torch.bmm(torch.cat(kept, 2), column[:, :start]))  # noqa: PLW2901
            size = min(self.block, self.count - start)
            kept.append(_settle(free, column[:, start : start + size] * self.earlier[:size, :size], size))
        return torch.cat(kept, 2)[:, 0]


def _settle(free: Tensor, suppressors: Tensor, count: int) -> Tensor:
    """Greedy NMS of ``count`` boxes among themselves: [B, 1, count], [B, count, count] -> [B, 1, count]."""
    keep = free
    for _ in range(count - 1):
        keep = F.relu(free - torch.bmm(keep, suppressors))
    return keep


def _overlap(boxes: Tensor, threshold: float) -> Tensor:
    """1 where the intersection over union of two boxes truncated to whole pixels is above the threshold: [B, K, K]."""
    left, top, width, height = boxes.int().float().unsqueeze(-1).unbind(2)  # [B, K, 1] each
    right, bottom, area = left + width, top + height, width * height
    across = (torch.minimum(right, right.transpose(1, 2)) - torch.maximum(left, left.transpose(1, 2))).clamp(min=0)
    down = (torch.minimum(bottom, bottom.transpose(1, 2)) - torch.maximum(top, top.transpose(1, 2))).clamp(min=0)
    intersection = across * down
    # Multiplied out, not divided: products of whole numbers are exact, and a quotient of exactly the
    # threshold stays on the side of "does not overlap".
    return (intersection > threshold * (area + area.transpose(1, 2) - intersection)).float()


class DetectGraph(nn.Module):
    """The whole detector of a pack: images in, faces out; every shape depends on the input's shape only.

    **Exactness.** The result is that of sequential greedy NMS on the ``candidates`` best cells above
    ``threshold`` (see ``GreedyNms``); cells with equal scores count in the order of the stride, then row, then
    column, which is TopK's rule in ONNX and that of a stable sort. A caller may filter the result by a
    higher score: a worse box never suppresses a better one, so that is the same as detecting with the higher
    threshold. A cell with any number that is not finite is no face and suppresses none.

    **Convention.** Coordinates are the numbers of OpenCV's ``FaceDetectorYN``: a cell's own position is
    (column, row) * stride, without a half-pixel term. The project takes them as pixel centres at integers.
    The network learned from boxes labelled to whole pixels, which does not tell centres from corners: the
    half pixel *of the detection input* between the two readings is below what the network resolves.

    **Precision.** Only ``network`` may run in float16; scores, decoding and NMS are float32 throughout.

    Args:
        network: YuNet with its weights.
        threshold: lowest score, sqrt(cls * obj), of a candidate; 0..1.
        nms_threshold: intersection over union above which the better of two boxes suppresses the other.
        candidates: boxes that take part in NMS, the best ones; below 3840, the limit of TensorRT's TopK.
        max_faces: rows of the outputs, at most ``candidates``.

    Raises:
        InputError: when an option is out of its range.
    """

    def __init__(
        self,
        network: YuNet,
        *,
        threshold: float = 0.3,
        nms_threshold: float = 0.3,
        candidates: int = 256,
        max_faces: int = 64,
    ) -> None:
        super().__init__()
        if not 0 < max_faces <= candidates < 3840:
            raise InputError(f"max_faces {max_faces} and candidates {candidates}: expected 0 < max_faces <= candidates < 3840")
        self.network = network
        self.threshold = threshold
        self.candidates = candidates
        self.max_faces = max_faces
        self.nms = GreedyNms(candidates, threshold=nms_threshold)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find faces.

        Args:
            images: float [B, 3, H, W], RGB, 0..1; H and W multiples of 32.

        Returns:
            boxes float32 [B, max_faces, 4] (x1 y1 x2 y2), landmarks float32 [B, max_faces, 5, 2] (right eye,
            left eye, nose, right and left mouth corner) and scores float32 [B, max_faces]; pixels of the
            input, best first, unused rows zero.
        """
        levels = [Level(*(x.float() for x in level)) for level in self.network.levels(images.flip(1) * 255)]
        scores, index = _best(self._scores(levels), self.candidates)
        boxes, landmarks = self._decode(levels, index)
        rows = torch.cat([boxes, landmarks, scores[..., None]], 2)
        usable = (rows.abs() < _FARTHEST).float().amin(2) * (scores > 0).float()
        rows = torch.where(usable[..., None] > 0, rows, 0.0)
        rows = self._first(rows, self.nms(rows[..., :4], usable))
        corner, size, points, score = rows.split([2, 2, 10, 1], 2)
        return torch.cat([corner, corner + size], 2), points.reshape(-1, self.max_faces, 5, 2), score[..., 0]

    def _scores(self, levels: list[Level]) -> Tensor:
        """Scores of all cells, 0 where below the threshold: [B, cells + candidates]."""
        cls, obj = (torch.cat([x.flatten(1) for x in maps], 1).sigmoid() for maps in list(zip(*levels, strict=True))[:2])
        scores = (cls * obj).sqrt()
        scores = torch.where(scores > self.threshold, scores, 0.0)
        return F.pad(scores, (0, self.candidates))

    def _decode(self, levels: list[Level], index: Tensor) -> tuple[Tensor, Tensor]:
        """Boxes [B, K, 4] (corner and size) and landmarks [B, K, 10] of the cells at ``index`` [B, K]."""
        raw = torch.cat([torch.cat([level.bbox, level.kps], 1).flatten(2) for level in levels], 2)
        raw = F.pad(raw, (0, self.candidates)).gather(2, index[:, None].expand(-1, 14, -1)).transpose(1, 2)
        cells = torch.cat([_cells(level.cls, stride) for level, stride in zip(levels, STRIDES, strict=True)])
        cells = F.pad(cells, (0, 0, 0, self.candidates))[index]
        position, stride = cells[..., :2], cells[..., 2:]
        size = raw[..., 2:4].exp() * stride
        corner = (raw[..., :2] + position) * stride - 0.5 * size
        landmarks = (raw[..., 4:] + torch.cat([position] * 5, 2)) * stride
        return torch.cat([corner, size], 2), landmarks

    def _first(self, rows: Tensor, keep: Tensor) -> Tensor:
        """The first ``max_faces`` kept rows in their order, then zeros."""
        # Distinct numbers: no tie that a backend could break in its own way.
        rank = keep * torch.arange(self.candidates, 0, -1, dtype=torch.float32)
        rank, index = rank.topk(self.max_faces, 1)
        found = rows.gather(1, index[..., None].expand(-1, -1, 15))
        return torch.where(rank[..., None] > 0, found, 0.0)


def _best(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best scores and their positions; of equal scores the one at the lower position first."""
    if torch.onnx.is_in_onnx_export():
        return scores.topk(count, 1)  # ONNX orders ties like this; torch promises nothing
    scores, index = scores.sort(dim=1, descending=True, stable=True)
    return scores[:, :count], index[:, :count]


def _cells(level: Tensor, stride: int) -> Tensor:
    """Column, row and stride of all cells of a level [B, C, h, w]: float32 [h * w, 3]."""
    rows, columns = (torch.arange(n, dtype=torch.float32, device=level.device) for n in level.shape[2:])
    rows, columns = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([columns, rows, torch.full_like(rows, stride)], 2).flatten(0, 1)

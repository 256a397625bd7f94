"""The detect graph: YuNet, decoding, top-K and exact greedy non-maximum suppression in one static graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from trtswap.errors import InputError
from trtswap.export.networks.yunet import STRIDES, YuNet

# No coordinate of a face, in pixels, and no output of the network is as large as this. NaN and infinity fail the
# comparison too, and areas cannot overflow.
_OUT_OF_RANGE = 65536.0
_SEES_NOTHING = -100.0  # a logit whose sigmoid is 0 for all purposes


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
    pixels, and two boxes overlap when intersection / union > ``threshold``. At the default threshold this is
    decided without rounding errors while the union is below three million pixels. One difference: OpenCV lets
    two boxes narrower than one pixel suppress each other wherever they are; here they overlap nothing.

    Args:
        count: K, the number of boxes.
        threshold: intersection over union above which the better box suppresses the other; 0..1.
        block: boxes solved together; affects the speed only.
    """

    def __init__(self, count: int, *, threshold: float = 0.3, block: int = 32) -> None:
        super().__init__()
        self.count = count
        self.threshold = threshold
        self.block = block

    def forward(self, boxes: Tensor, valid: Tensor) -> Tensor:
        """Which boxes stay.

        Args:
            boxes: float32 [B, K, 4], x, y of the top left corner, width, height; best first. Finite.
            valid: float32 [B, K], 1 for boxes that take part, else 0.

        Returns:
            float32 [B, K], 1 for kept boxes, else 0.
        """
        overlap = _overlap(boxes, self.threshold)
        kept: list[Tensor] = []
        for start in range(0, self.count, self.block):
            stop = min(start + self.block, self.count)
            free = valid[:, None, start:stop]
            if kept:
                free = F.relu(free - torch.bmm(torch.cat(kept, 2), overlap[:, :start, start:stop]))
            earlier = torch.ones(stop - start, stop - start, device=overlap.device).triu(1)
            kept.append(_settle(free, overlap[:, start:stop, start:stop] * earlier, stop - start))
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
    # Multiplied out, not divided: the whole numbers are exact in float32, and 0.3 rounded to float32 is a little
    # above 0.3, so that a quotient of exactly that much stays on the side of "does not overlap".
    return (intersection > threshold * (area + area.transpose(1, 2) - intersection)).float()


class BestFaces(nn.Module):
    """The faces that greedy non-maximum suppression leaves of candidates.

    Args:
        candidates: boxes that take part, below 3840, the limit of TensorRT's TopK.
        max_faces: rows of the outputs, at most ``candidates``.
        nms_threshold: intersection over union above which the better of two boxes suppresses the other.

    Raises:
        InputError: when an option is out of its range.
    """

    def __init__(self, *, candidates: int, max_faces: int, nms_threshold: float) -> None:
        super().__init__()
        if not 0 < max_faces <= candidates < 3840:
            raise InputError(
                f"max_faces {max_faces}, candidates {candidates}: expected 0 < max_faces <= candidates < 3840"
            )
        if not 0 <= nms_threshold <= 1:
            raise InputError(f"nms_threshold {nms_threshold}: expected 0 to 1")
        self.candidates, self.max_faces = candidates, max_faces
        self.nms = GreedyNms(candidates, threshold=nms_threshold)

    def forward(self, faces: Tensor, valid: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The outputs of a detect graph.

        Args:
            faces: float32 [B, candidates, 15]: x, y, width, height, five points, score; best first.
            valid: float32 [B, candidates], 1 for those that are faces, else 0.
        """
        best = self._kept(torch.where(valid[..., None] > 0, faces, 0.0), valid)
        boxes = torch.cat([best[..., :2], best[..., :2] + best[..., 2:4]], 2)
        return boxes, best[..., 4:14].reshape(-1, self.max_faces, 5, 2), best[..., 14]

    def _kept(self, faces: Tensor, valid: Tensor) -> Tensor:
        """The ``max_faces`` best faces that NMS keeps, then zeros: [B, candidates, 15] -> [B, max_faces, 15]."""
        keep = self.nms(faces[..., :4], valid)
        # Distinct numbers: no tie that a backend could break in its own way.
        rank = keep * torch.arange(self.candidates, 0, -1, dtype=torch.float32, device=keep.device)
        rank, index = rank.topk(self.max_faces, 1)
        best = faces.gather(1, index[..., None].expand(-1, -1, faces.shape[2]))
        return torch.where(rank[..., None] > 0, best, 0.0)


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

    **Precision.** Only ``network`` may run in float16 (in the exported graph: the nodes named ``network/...``);
    scores, decoding and NMS are float32 throughout.

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
        if not 0 <= threshold < 1:
            raise InputError(f"threshold {threshold}: expected 0 to 1, below 1")
        self.network = network
        self.threshold = threshold
        self.candidates, self.max_faces = candidates, max_faces
        self.choice = BestFaces(candidates=candidates, max_faces=max_faces, nms_threshold=nms_threshold)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Find faces.

        Args:
            images: float32 [B, 3, H, W], RGB, 0..1; H and W multiples of 32.

        Returns:
            boxes float32 [B, max_faces, 4] (x1 y1 x2 y2), landmarks float32 [B, max_faces, 5, 2] (right eye,
            left eye, nose, right and left mouth corner) and scores float32 [B, max_faces]; pixels of the
            input, best first, unused rows zero.
        """
        levels = self.network.levels(images.flip(1) * 255)
        raw = torch.cat([torch.cat(level, 1).flatten(2).float() for level in levels], 2)  # [B, 16, cells]
        # A small image may have fewer cells than there are candidates.
        raw = F.pad(raw, (0, self.candidates), value=_SEES_NOTHING)
        cells = torch.cat([_cells(level.cls, stride) for level, stride in zip(levels, STRIDES, strict=True)])
        cells = F.pad(cells, (0, 0, 0, self.candidates))

        scores, index = best_cells(self._scores(raw), self.candidates)
        raw = raw.gather(2, index[:, None].expand(-1, raw.shape[1], -1)).transpose(1, 2)
        faces = torch.cat([_decode(raw, cells[index]), scores[..., None]], 2)  # [B, candidates, 15]
        valid = (scores > 0).float() * all_in_range(raw) * all_in_range(faces)
        found: tuple[Tensor, Tensor, Tensor] = self.choice(faces, valid)
        return found

    def _scores(self, raw: Tensor) -> Tensor:
        """Score of each cell, 0 unless above the threshold: [B, 16, cells] -> [B, cells]."""
        scores = (raw[:, 0].sigmoid() * raw[:, 1].sigmoid()).sqrt()
        return torch.where(scores > self.threshold, scores, 0.0)


def _cells(level: Tensor, stride: int) -> Tensor:
    """Column, row and stride of the cells of a level [B, C, h, w]: float32 [h * w, 3]."""
    rows, columns = (torch.arange(n, dtype=torch.float32, device=level.device) for n in level.shape[2:])
    rows, columns = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([columns, rows, torch.full_like(rows, stride)], 2).flatten(0, 1)


def best_cells(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best scores of [B, cells] and their positions, [B, count]; of equal scores the one further in front first."""
    if torch.onnx.is_in_onnx_export():
        return scores.topk(count, 1)  # ONNX's TopK breaks ties like this; torch's promises nothing
    scores, index = scores.sort(dim=1, descending=True, stable=True)
    return scores[:, :count], index[:, :count]


def _decode(raw: Tensor, cells: Tensor) -> Tensor:
    """x, y, width, height and five landmarks in pixels from [B, K, 16] and [B, K, 3]: [B, K, 14]."""
    position, stride = cells[..., :2], cells[..., 2:]
    size = raw[..., 4:6].exp() * stride
    corner = (raw[..., 2:4] + position) * stride - 0.5 * size
    landmarks = (raw[..., 6:] + torch.cat([position] * 5, 2)) * stride
    return torch.cat([corner, size, landmarks], 2)


def all_in_range(values: Tensor) -> Tensor:
    """1.0 where the last dimension of [B, K, C] holds only numbers that a face can have, else 0.0: [B, K]."""
    return (values.abs() < _OUT_OF_RANGE).float().amin(2)

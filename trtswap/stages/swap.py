"""Stages 5 and 7: another identity on aligned crops, carried over into the canvas."""

import torch
from torch import Tensor

from trtswap.backends.engine import Engine
from trtswap.geometry import invert, transform_points
from trtswap.pack import StageSpec
from trtswap.stages.batching import run_in_pieces
from trtswap.warp import started, warp

# Width of the ramp at the border of the swap crop, as a share of its side: it hides the edge of the square
# and leaves the face alone, which fills about the middle 70 % of every template.
BORDER = 0.06


class FaceSwapper:
    """Puts an identity on aligned crops.

    Args:
        engine: the swap graph, opened.
        spec: its entry in the pack: crop size and templates.
        piece: faces that run through the network at once.
    """

    def __init__(self, engine: Engine, spec: StageSpec, *, piece: int):
        self.engine = engine
        self.spec = spec
        self.piece = piece
        self._ramp = _border_ramp(spec.size, engine.device)

    def __call__(self, crops: Tensor, latents: Tensor) -> Tensor:
        """Swapped crops: float32 [N, 3, S, S] from crops of the same shape and latents [N, D]."""
        return run_in_pieces(self.engine, "swapped", self.piece, faces=crops.clamp(0, 1), latents=latents)

    def to_canvas(self, swapped: Tensor, to_swap: Tensor, boxes: Tensor, size: int) -> tuple[Tensor, Tensor]:
        """Carry swapped crops over into the canvas with one composed transform.

        Args:
            swapped: float32 [N, 3, S, S].
            to_swap: float32 [N, 2, 3] on the host, canvas to swap crop.
            boxes: what :func:`support_boxes` gives; only they are computed.
            size: side C of the canvas.

        Returns:
            ``(picture, coverage)``: float32 [N, 3, C, C] and [N, 1, C, C]; coverage is 1 inside the swap
            crop, 0 outside, with a soft border.
        """
        layers = torch.cat([swapped, self._ramp.expand(len(swapped), -1, -1, -1)], 1)
        out = torch.zeros(len(swapped), 4, size, size, device=swapped.device)
        for canvas, crop, transform, box in zip(out, layers, to_swap, boxes, strict=True):
            x0, y0, x1, y1 = (int(v) for v in box.tolist())
            canvas[:, y0:y1, x0:x1] = warp(crop, started(transform, x0, y0), y1 - y0, x1 - x0, padding="zeros")
        return out[:, :3], out[:, 3:]


def support_boxes(to_swap: Tensor, swap_size: int, canvas_size: int) -> Tensor:
    """Where swap crops lie in their canvases; outside of these boxes coverage is 0.

    Args:
        to_swap: float32 [N, 2, 3] on the host, canvas to swap crop.
        swap_size, canvas_size: sides of the two squares.

    Returns:
        float32 [N, 4] on the host, whole numbers, x1 y1 x2 y2 in canvas pixels, half open.
    """
    s = float(swap_size)
    corners = torch.tensor([[0.0, 0.0], [s, 0.0], [0.0, s], [s, s]]) - 0.5
    points = transform_points(invert(to_swap), corners)
    low, high = points.amin(1).floor() - 1, points.amax(1).ceil() + 2
    return torch.cat([low, high], 1).clamp(0, canvas_size)


def _border_ramp(size: int, device: torch.device) -> Tensor:
    """1 in the middle, falling to 0 at the border of a square, smoothly: float32 [1, 1, size, size]."""
    x = torch.arange(size, dtype=torch.float32, device=device)
    distance = torch.minimum(x, size - 1 - x) / max(1.0, BORDER * size)
    t = distance.clamp(0, 1)
    edge = t * t * (3 - 2 * t)
    return (edge[:, None] * edge[None, :])[None, None]

"""Frames: a batch of planes on one device, as the decoder gave them. Only the pixels of faces are touched.

Convention: geometry's (x right, y down, pixel centres at integers). *Coded* pixels are those of the planes;
*displayed* pixels are what a viewer sees after rotation and sample aspect ratio.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.pixels.color import RGB24, PixelFormat, planes_from_rgb, rgb_from_planes
from trtswap.pixels.geometry import compose, identity_transform, invert
from trtswap.pixels.light import sdr_from_signal, signal_from_sdr
from trtswap.pixels.regions import blend, cut, layer_order
from trtswap.pixels.transfer import on_device
from trtswap.pixels.warp import bounds, grouped, kinds, shifted, started, warp

Planes = tuple[Tensor, Tensor, Tensor]
Box = tuple[int, int, int, int]
# Rows of a whole frame that are made into RGB at once, so that their memory does not go with the frame.
_ROWS = 128


@dataclass(frozen=True)
class Layer:
    """A picture to be pasted through a soft mask: a part of one canvas.

    Attributes:
        box: x0, y0, x1, y1 in canvas pixels, half open; outside of it nothing of the canvas is seen.
        picture: float32 [3, h, w], RGB 0..1, or beyond as :meth:`Frames.sample` gives it.
        alpha: float32 [1, h, w], 0..1, how much of the picture is seen.
    """

    box: Box
    picture: Tensor
    alpha: Tensor


def searched_size(display_size: tuple[int, int], size: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """How large :meth:`Frames.resized` makes a frame.

    Args:
        display_size: (width, height) of the frame, pixels.
        size: longest that its longer side may be.

    Returns:
        (height, width) of the picture, and the same with its padding to multiples of 32.
    """
    scale = min(1.0, size / max(display_size))
    w, h = (max(1, round(length * scale)) for length in display_size)
    return (h, w), (-(-h // 32) * 32, -(-w // 32) * 32)


@dataclass
class Frames:
    """B frames of one video or one array.

    Attributes:
        planes: three tensors, Y [B,H,W] and U, V [B,h,w], or R, G, B [B,H,W]; uint8, or int16 above 8 bits.
            They may be views of interleaved memory (NV12, HWC). ``paste`` writes into them.
        format: how to read the planes.
        to_display: float32 [2, 3], coded pixel -> displayed pixel (rotation, flip, sample aspect ratio).
        display_size: (width, height) of the displayed frame, pixels.
        pts: B presentation times, in units of ``time_base``.
        durations: B durations in the same unit, 0 where unknown.
        time_base: seconds per unit.
    """

    planes: Planes
    format: PixelFormat
    to_display: Tensor
    display_size: tuple[int, int]
    pts: tuple[int, ...] = ()
    durations: tuple[int, ...] = ()
    time_base: Fraction = field(default=Fraction(1))

    def __len__(self) -> int:
        return int(self.planes[0].shape[0])

    def __getitem__(self, rows: slice) -> "Frames":
        """Some of the frames; they share their planes' memory with these."""
        y, u, v = (plane[rows] for plane in self.planes)
        return replace(self, planes=(y, u, v), pts=self.pts[rows], durations=self.durations[rows])

    @property
    def device(self) -> torch.device:
        return self.planes[0].device

    @property
    def frame_bytes(self) -> int:
        """Bytes of one frame's planes."""
        return sum(plane.nbytes for plane in self.planes) // max(1, len(self))

    def sample(self, frame_index: Tensor, transforms: Tensor, size: int, *, together: bool | None = None) -> Tensor:
        """Cut square crops out of the planes.

        Outside the frame its edge is repeated. Cost goes with the crop and the face, not with the frame.

        Args:
            frame_index: int64 [N] on the host.
            transforms: float32 [N, 2, 3] on the host, displayed pixel -> crop pixel.
            size: side of the crop.
            together: sample faces of about the same size with one launch of each kernel, rather than one after the
                other in the CPU's cache; by default where the planes are not on a CPU.

        Returns:
            float32 [N, 3, size, size], RGB as SDR shows it (:mod:`~trtswap.pixels.light`); 0..1, and beyond where
            the planes hold colours or light that it cannot: what is pasted back must be what was taken. Clamp it for
            a network.
        """
        crops = torch.empty(len(frame_index), 3, size, size, device=self.device)
        matrix, _ = rgb_from_planes(self.format, self.device)
        _, black = planes_from_rgb(self.format, self.device)
        to_coded, frames = invert(compose(transforms, self.to_display)), frame_index.tolist()
        grids = [(channels, planes, compose(to_plane, to_coded)) for channels, planes, to_plane in self._grids()]
        order = [[i] for i in range(len(frames))] if self._singly(together) else grouped(kinds(*(g[2] for g in grids)))
        for rows in order:
            parts = [
                (channels, cut(planes, [frames[i] for i in rows], to_plane[rows], size, black[channels]))
                for channels, planes, to_plane in grids
            ]
            _put(crops, rows, matrix, parts)
        return sdr_from_signal(crops, self.format, together=together)

    def paste(
        self, frame_index: Tensor, transforms: Tensor, layers: Sequence[Layer], *, together: bool | None = None
    ) -> None:
        """Blend parts of canvases into the planes, in the order given.

        Values are rounded to nearest. Where alpha is 0 and outside the boxes nothing changes, bit for bit.

        Args:
            frame_index: int64 [N] on the host.
            transforms: float32 [N, 2, 3] on the host, displayed pixel -> canvas pixel.
            layers: N parts of canvases.
            together: as :meth:`sample`; of faces that overlap each still waits for those before it.
        """
        matrix, offset = planes_from_rgb(self.format, self.device)
        to_canvas, frames = compose(transforms, self.to_display), frame_index.tolist()
        grids = [
            (channels, planes, compose(to_canvas, invert(to_plane))) for channels, planes, to_plane in self._grids()
        ]
        boxes = [layer.box for layer in layers]
        order = (
            [[i] for i in range(len(layers))]
            if self._singly(together)
            else layer_order(frames, boxes, [(planes[0].shape[1:], to_layer) for _, planes, to_layer in grids])
        )
        for rows in order:
            a, picture = _stacked([layers[i].alpha for i in rows]), _stacked([layers[i].picture for i in rows])
            picture = signal_from_sdr(picture, self.format, together=together)
            # Premultiplied, so that a filtered edge never mixes in colour from where alpha is 0.
            code = torch.baddbmm(offset[:, None], matrix.expand(len(rows), -1, -1), picture.flatten(2))
            code = code.view_as(picture).mul_(a)
            corner = boxes[rows[0]][:2]
            for channels, planes, to_plane in grids:
                premultiplied, those = torch.cat([code[:, channels], a], 1), [frames[i] for i in rows]
                blend(planes, those, to_plane[rows], premultiplied, corner=corner, peak=self.format.peak)

    def resized(self, size: int) -> tuple[Tensor, Tensor]:
        """All frames upright, scaled down so that the longer side is at most ``size``, and letterboxed.

        The picture is padded with black at the right and the bottom to multiples of 32.

        Returns:
            ``(images, transform)``: float32 [B, 3, H, W] RGB 0..1 on the device, and float32 [2, 3] on the
            host, displayed pixel -> image pixel.
        """
        width, height = self.display_size
        (h, w), padded = searched_size(self.display_size, size)
        turned = self._is_transposed()
        coded = (w, h) if turned else (h, w)
        together = _interleaved(self.planes)
        planes = (
            [_shrunk(p, self.format.bits, coded) for p in self.planes]
            if together is None
            else F.interpolate(together, coded, mode="bilinear", antialias=True).unbind(1)
        )
        matrix, offset = rgb_from_planes(replace(self.format, bits=8), self.device)
        images = torch.empty(len(self), 3, *padded, device=self.device)
        images[:, :, h:] = images[:, :, :, w:] = 0
        for image, values in zip(images, zip(*planes, strict=True), strict=True):
            rgb = torch.addmm(offset[:, None], matrix, torch.stack(values).flatten(1).float()).view(3, *coded)
            rgb = sdr_from_signal(rgb, self.format)
            torch.clamp(self._upright(rgb, turned), 0, 1, out=image[:, :h, :w])
        sx, sy = w / width, h / height
        return images, torch.tensor([[sx, 0.0, 0.5 * sx - 0.5], [0.0, sy, 0.5 * sy - 0.5]])

    def rgb(self, frame: int) -> Tensor:
        """One whole displayed frame as uint8 RGB [H, W, 3] on the device: for previews and source pictures."""
        width, height = self.display_size
        to_coded = invert(self.to_display)
        grids = [(planes, compose(to_plane, to_coded)) for _, planes, to_plane in self._grids()]
        matrix, offset = rgb_from_planes(self.format, self.device)
        out = torch.empty(height, width, 3, dtype=torch.uint8, device=self.device)
        for top in range(0, height, _ROWS):
            rows = out[top : top + _ROWS]
            values = []
            for planes, to_plane in grids:
                part = started(to_plane, 0, top)
                x0, y0, x1, y1 = bounds(part, len(rows), width, *planes[0].shape[1:])
                region = torch.stack([p[frame, y0:y1, x0:x1] for p in planes]).float()
                values.append(warp(region, shifted(part, x0, y0), len(rows), width))
            rgb = torch.addmm(offset[:, None], matrix, torch.cat(values).flatten(1)).view(3, len(rows), width)
            rgb = sdr_from_signal(rgb, self.format)
            rows.copy_(rgb.mul(255).round_().clamp_(0, 255).permute(1, 2, 0))
        return out

    def pictures(self) -> Tensor:
        """All displayed frames as uint8 RGB [B, H, W, 3] on the device; of frames of an array its own memory."""
        if self.format == RGB24 and torch.equal(self.to_display, identity_transform()):
            together = _one_array(self.planes)
            return torch.stack(self.planes, -1) if together is None else together
        return torch.stack([self.rgb(frame) for frame in range(len(self))])

    def to(self, device: torch.device | str) -> "Frames":
        """The same frames with their planes on another device; itself where they are there already.

        On the way to a GPU nothing waits on the host, if the planes are in pinned memory; on the way back the
        current stream is waited for.
        """
        if self.device == torch.device(device):
            return self
        y, u, v = (p.to(device, non_blocking=True) for p in self.planes)
        if self.device.type == "cuda":
            torch.cuda.current_stream(self.device).synchronize()
        return Frames((y, u, v), self.format, self.to_display, self.display_size, self.pts, self.durations,
                      self.time_base)  # fmt: skip

    def _grids(self) -> list[tuple[slice, list[Tensor], Tensor]]:
        """What shares a sampling grid: channels, their planes, and the transform from coded luma to plane pixels."""
        (shift_x, shift_y), (dx, dy) = self.format.chroma_shift, self.format.chroma_offset
        luma, (y, u, v) = identity_transform(), self.planes
        if (shift_x, shift_y) == (0, 0):
            return [(slice(0, 3), [y, u, v], luma)]
        kx, ky = 0.5**shift_x, 0.5**shift_y
        chroma = torch.tensor([[kx, 0.0, -dx * kx], [0.0, ky, -dy * ky]])
        return [(slice(0, 1), [y], luma), (slice(1, 3), [u, v], chroma)]

    def _singly(self, together: bool | None) -> bool:
        """Whether one face is worked on after the other."""
        return not together if together is not None else self.device.type == "cpu"

    def _is_transposed(self) -> bool:
        return bool(self.to_display[0, 0].abs() < self.to_display[0, 1].abs())

    def _upright(self, images: Tensor, turned: bool) -> Tensor:
        """Turn and flip [..., h, w] from coded to displayed orientation."""
        out = images.transpose(-1, -2) if turned else images
        x_sign, y_sign = self.to_display[:, :2].sum(1).tolist()
        flips = [dim for dim, sign in ((-1, x_sign), (-2, y_sign)) if sign < 0]
        return out.flip(flips) if flips else out


def _put(crops: Tensor, rows: list[int], matrix: Tensor, parts: list[tuple[slice, Tensor]]) -> None:
    """Mix sampled channels [n, P, S, S] into these rows of crops [N, 3, S, S]."""
    adjoining = rows[-1] - rows[0] + 1 == len(rows)
    some = crops[rows[0] : rows[-1] + 1] if adjoining else crops.new_empty(len(rows), *crops.shape[1:])
    flat = some.view(len(rows), 3, -1)
    for channels, values in parts:
        weights = matrix[:, channels].expand(len(rows), -1, -1)
        if channels.start == 0:
            torch.bmm(weights, values.flatten(2), out=flat)
        else:
            flat.baddbmm_(weights, values.flatten(2))
    if not adjoining:
        crops.index_copy_(0, on_device(torch.tensor(rows), crops.device), some)


def _stacked(tensors: list[Tensor]) -> Tensor:
    return torch.stack(tensors) if len(tensors) > 1 else tensors[0][None]


def _one_array(planes: Planes) -> Tensor | None:
    """Three planes of 8 bits that are the channels of one array in memory, as a view [B, H, W, 3] of it."""
    first, second, _ = planes
    step = second.data_ptr() - first.data_ptr()
    beside = all(
        p.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and p.data_ptr() == first.data_ptr() + i * step
        and p.stride() == first.stride()
        and p.shape == first.shape
        for i, p in enumerate(planes)
    )
    if first.dtype != torch.uint8 or step <= 0 or not beside:
        return None
    return first.as_strided((*first.shape, len(planes)), (*first.stride(), step))


def _interleaved(planes: Planes) -> Tensor | None:
    """Three 8-bit planes of the CPU that are R, G, B, R, G, B in memory, as one view [B, 3, H, W].

    torch shrinks these as they lie, to the same values, in a twentieth of the time that it takes plane by plane.
    """
    together = _one_array(planes) if planes[0].device.type == "cpu" else None
    if together is None or together.stride()[2:] != (len(planes), 1):
        return None
    return together.permute(0, 3, 1, 2)


# torch shrinks 8-bit pictures of this many channels as fast as those of one.
_CHANNELS = 4


def _shrunk(plane: Tensor, bits: int, size: tuple[int, int]) -> Tensor:
    """Planes [B, H, W] made smaller, anti-aliased: [B, h, w], code values of 8 bits.

    On the CPU in integers, several frames as the channels of one picture, which costs a tenth of floating point; a
    frame comes out the same whichever others it is worked on with.
    """
    if plane.device.type != "cpu":
        small = F.interpolate(plane[:, None].float(), size, mode="bilinear", antialias=True)
        return small[:, 0].div_(1 << (bits - 8))
    if bits > 8:
        plane = ((plane + (1 << (bits - 9))) >> (bits - 8)).clamp_(max=255).to(torch.uint8)
    parts = [F.interpolate(p[None], size, mode="bilinear", antialias=True)[0] for p in torch.split(plane, _CHANNELS)]
    return torch.cat(parts)

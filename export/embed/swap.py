"""The graph swap: frames with other faces."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from trtswap.backends.engine import TensorSpec
from trtswap.canvas import outline, parse
from trtswap.canvas.masks import Masks
from trtswap.canvas.swap import border_ramp
from trtswap.faces.dense import in_crop
from trtswap.faces.detect import spread_out
from trtswap.model.pack import Pack
from trtswap.options import SwapOptions
from trtswap.pixels.geometry import align, compose, invert

from .find import safe
from .frames import Grid, Opener
from .identify import measures
from .layout import STEP, Layout
from .stages import Stages
from .warp import read, side, smoothed
from .window import Windows, around, put, taken

LARGEST = 832
"""Side of what crops show of the largest faces, pixels of the frame, where nobody says it; those of larger faces are a
little aliased."""

LEAST_CANVAS = 80
"""Side of what a canvas shows of small faces, twice that of their boxes, pixels of the frame: it is shrunk so far
without aliasing."""


@dataclass
class Slots:
    """N = B * F slots on their way through the networks.

    Attributes:
        landmarks: float32 [N, 5, 2], of an empty slot somewhere.
        latents: float32 [N, D].
        points: float32 [N, 478, 3], frame pixels; none where the graph takes none.
        there: float32 [N, 1, 1, 1], how much is to be seen of a slot.
        windows: where in the frames.
        samples: of each grid, float32 [N, c, k, k], code values.
    """

    landmarks: Tensor
    latents: Tensor
    points: Tensor
    there: Tensor
    count: int  # of a frame
    windows: Windows = field(init=False)
    samples: list[Tensor] = field(init=False)

    def points_in(self, to_crop: Tensor) -> dict[str, Tensor]:
        """For a graph that takes points: pixels of its crop."""
        return {"points": in_crop(self.points, to_crop)}

    def checked(self, made: Tensor, before: Tensor) -> Tensor:
        """What a network has made; where that is no picture what was before, and the slot is not seen."""
        sound = made.flatten(1).abs().amax(1) < torch.finfo(torch.float32).max
        sound = sound[:, None, None, None]
        self.there = self.there * sound.float()
        return torch.where(sound, made, before)


class Swap(nn.Module):
    """Frames, `landmarks` [B, F, 5, 2], `latents` [B, F, D], `strengths` [B, F] -> frames.

    Packs whose swap graph takes `codes` take them in place of latents; those of which a graph takes points take
    `points` [B, F, 478, 3]. Without a fixed window its side is that of `window` [K], a multiple of 8, whose values do
    not count.
    """

    def __init__(self, layout: Layout, pack: Pack, stages: Stages, options: SwapOptions) -> None:
        super().__init__()
        self.layout, self.pack, self.stages, self.options = layout, pack, stages, options
        self.opener, self.spec = Opener(layout), stages["swap"]
        self.points = (
            any(stages[name].points for name in ("swap", "occlude") if name in stages) or "parse" not in stages
        )
        self.register_buffer("ramp", border_ramp(self.spec.size), persistent=False)

    ramp: Tensor

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        faces, source = self.layout.slots, self.pack.coder.outputs[0].name
        return (
            *self.layout.tensors(),
            *measures(faces, points=self.points),
            TensorSpec(source, ("B", faces, self.spec.latent), torch.float32),
            TensorSpec("strengths", ("B", faces), torch.float32),
            *(() if self.layout.window else (TensorSpec("window", ("K",), torch.float32),)),
        )

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return self.layout.tensors("swapped_")

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        named = dict(zip([spec.name for spec in self.inputs], tensors, strict=True))
        grids = self.opener.opened(*(named[spec.name] for spec in self.layout.tensors()))
        slots = self._slots(named)
        to_canvas = align(slots.landmarks, (self.pack.canvas_template,), self.pack.canvas_size)
        self._open_windows(slots, grids, to_canvas, self.layout.window or named["window"].shape[0])
        layers = self._layers(slots, to_canvas)
        return self.opener.closed(*self._pasted(grids, slots, layers, to_canvas))

    def _slots(self, named: dict[str, Tensor]) -> Slots:
        known, strengths = named["landmarks"].flatten(0, 1), named["strengths"].flatten()
        there = (strengths > 0) & spread_out(known)
        return Slots(
            safe(known, there),
            named[self.pack.coder.outputs[0].name].flatten(0, 1),
            named["points"].flatten(0, 1) if self.points else known[:0],
            (strengths.clamp(0, 1) * there.float())[:, None, None, None],
            named["strengths"].shape[1],
        )

    def _open_windows(self, slots: Slots, grids: tuple[Tensor, ...], to_canvas: Tensor, window: int) -> None:
        height, width = grids[0].shape[1:3]
        frame = (height, width)
        slots.windows = around(to_canvas, self.pack.canvas_size, window, frame, faces=slots.count)
        slots.samples = []
        for of, grid in zip(self.opener.grids, grids, strict=True):
            index = slots.windows.index(of.shift, *grid.shape[1:3])
            slots.samples.append(taken(grid, index))

    def _layers(self, slots: Slots, to_canvas: Tensor) -> Tensor:
        """What is pasted: float32 [N, 4, C, C], code values times alpha, and alpha."""
        spec, size = self.spec, self.pack.canvas_size
        to_swap = align(slots.landmarks, spec.templates, spec.size)
        visible, seen = self._visible(slots, to_canvas, to_swap)
        originals = self._crops(slots, to_canvas, size)
        swapped, coverage = self._swapped(slots, self._crops(slots, to_swap, spec.size), to_swap, seen)
        masks = self._masks(slots, originals, to_canvas)
        canvas, coverage = self._blended(originals, masks, swapped, coverage, compose(to_swap, invert(to_canvas)))
        canvas = self._restored(slots, canvas)
        alpha = masks.face * coverage * slots.there
        if visible is not None:
            alpha = alpha * visible
        return torch.cat([self.opener.codes(canvas) * alpha, alpha], 1)

    def _crops(self, slots: Slots, to_crop: Tensor, size: int) -> Tensor:
        """Aligned crops of the windows: float32 [N, 3, size, size], RGB."""
        to_window, values = invert(to_crop), []
        origin = slots.windows.corners.flatten(0, 1)[:, :, None]
        to_window = torch.cat([to_window[..., :2], to_window[..., 2:] - origin], -1)
        for of, samples in zip(self.opener.grids, slots.samples, strict=True):
            to_plane = of.to_plane(to_window)
            soft = smoothed(samples, to_plane, most=self._most(size) / 2**of.shift)
            values.append(read(soft, to_plane, side(size), side(size)))
        return self.opener.rgb(*values)

    def _most(self, size: int) -> float:
        """How much smaller a crop may be than what it shows."""
        return max(1.0, (self.layout.window or LARGEST) / size)

    def _visible(self, slots: Slots, to_canvas: Tensor, to_swap: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """What nothing lies in front of, in canvases and in swap crops: float32 [N, 1, C, C] and [N, 1, S, S]."""
        if "occlude" not in self.stages:
            return None, None
        spec = self.stages["occlude"]
        to_crop = align(slots.landmarks, spec.templates, spec.size)
        crops = self._crops(slots, to_crop, spec.size).clamp(0, 1)
        points = slots.points_in(to_crop) if spec.points else {}
        visible = slots.checked(self.stages.run("occlude", faces=crops, **points)[0], crops[:, :1]).clamp(0, 1)
        if spec.points:  # without them the graph can say nothing
            measured = (slots.points.abs().amax((1, 2)) > 0)[:, None, None, None]
            visible = torch.where(measured, visible, torch.ones_like(visible))
        in_canvas, in_swap = (
            self._carried(visible, compose(to_crop, invert(to)), size, padding="border")
            for to, size in ((to_canvas, self.pack.canvas_size), (to_swap, self.spec.size))
        )
        return in_canvas, in_swap

    def _carried(self, images: Tensor, to_source: Tensor, size: int, *, padding: str) -> Tensor:
        """Crops in another crop's place."""
        most = max(1.0, 1.5 * images.shape[-1] / size)
        soft = smoothed(images, to_source, most=most, padding="replicate" if padding == "border" else "constant")
        return read(soft, to_source, side(size), side(size), padding=padding)

    def _swapped(self, slots: Slots, crops: Tensor, to_swap: Tensor, seen: Tensor | None) -> tuple[Tensor, Tensor]:
        """Swapped crops, and how much of each pixel is to be seen."""
        spec = self.spec
        further = {"latents": slots.latents}
        if spec.points:
            further |= slots.points_in(to_swap)
        if spec.visible:
            further["visible"] = torch.ones_like(crops[:, :1]) if seen is None else seen
        if spec.likeness is not None:
            further["likeness"] = _share(self.options.likeness, spec.likeness)
        swapped, *mask = self.stages.run("swap", faces=crops.clamp(0, 1), **further)
        coverage = self.ramp[None].expand(crops.shape[0], -1, -1, -1)
        for part in mask:
            coverage = coverage * torch.where(part.isnan(), torch.zeros_like(part), part).clamp(0, 1)
        return slots.checked(swapped, crops), coverage

    def _masks(self, slots: Slots, originals: Tensor, to_canvas: Tensor) -> Masks:
        size, feather = self.pack.canvas_size, self.options.feather
        if "parse" not in self.stages:
            return outline.masks_of(slots.points_in(to_canvas)["points"], size, feather)
        spec, faces = self.stages["parse"], originals
        if spec.size != size:
            scale = size / spec.size
            same = torch.tensor([[scale, 0.0, (scale - 1) / 2], [0.0, scale, (scale - 1) / 2]])
            faces = self._carried(originals, same.expand(originals.shape[0], -1, -1), spec.size, padding="border")
        (labels,) = self.stages.run("parse", faces=faces.clamp(0, 1))
        return parse.masks_of(labels, size, feather)

    def _blended(
        self, originals: Tensor, masks: Masks, swapped: Tensor, coverage: Tensor, to_swap: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Swapped faces in their surroundings, with the original's mouth; and where the swap reaches."""
        layers = torch.cat([swapped, coverage], 1)
        size = self.pack.canvas_size
        if (self.spec.templates, self.spec.size) != ((self.pack.canvas_template,), size):
            layers = self._carried(layers, to_swap, size, padding="zeros")
        picture, coverage = layers[:, :3], layers[:, 3:]
        shown = coverage * (1 - masks.mouth) if self.options.mouth else coverage
        return torch.lerp(originals, picture, shown), coverage

    def _restored(self, slots: Slots, canvas: Tensor) -> Tensor:
        if "restore" not in self.stages or self.options.restore_weight == 0:
            return canvas
        spec = self.stages["restore"]
        weight = spec.weight if self.options.restore_weight is None else self.options.restore_weight
        further = {} if spec.fidelity is None else {"fidelity": _share(self.options.fidelity, spec.fidelity)}
        (restored,) = self.stages.run("restore", faces=canvas.clamp(0, 1), **further)
        restored = restored if weight == 1 else torch.lerp(canvas, restored, weight)
        return slots.checked(restored, canvas)

    def _pasted(self, grids: tuple[Tensor, ...], slots: Slots, layers: Tensor, to_canvas: Tensor) -> tuple[Tensor, ...]:
        """The frames with one slot's layer after the other's: whole code values."""
        parts = [torch.unflatten(part, 0, (-1, slots.count)) for part in (layers, to_canvas)]
        done = list(grids)
        for slot in range(self.layout.faces):
            layer, to_layer, corners = (self._of(part, slot) for part in (*parts, slots.windows.corners))
            if self.layout.faces > 1:  # there may be fewer slots
                layer = layer * (slot < torch.scalar_tensor(slots.count)).float()
            windows = Windows(corners, self._side(slots, slot))
            for i, of in enumerate(self.opener.grids):
                channels = torch.cat([layer[:, 0, of.channels], layer[:, 0, 3:]], 1)
                done[i] = self._over(done[i], of, channels, to_layer[:, 0], windows)
        return tuple(done)

    def _of(self, part: Tensor, slot: int) -> Tensor:
        """One slot of [B, F, ...]: [B, 1, ...]; the last where there are fewer."""
        if self.layout.faces == 1:
            return part
        last = torch.scalar_tensor(part.shape[1]) - 1
        return torch.index_select(part, 1, last.clamp(max=slot).to(torch.int64)[None])

    def _side(self, slots: Slots, slot: int) -> int:
        """Of a slot's window: hardly any where there are fewer slots."""
        if slot == 0:
            return slots.windows.side
        there: int = torch.sym_min(1, torch.sym_max(0, slots.count - slot))  # type: ignore[no-untyped-call]
        return there * slots.windows.side + (1 - there) * STEP

    def _over(self, below: Tensor, of: Grid, layer: Tensor, to_layer: Tensor, windows: Windows) -> Tensor:
        """A grid with a layer blended into the windows, whole code values.

        Args:
            layer: float32 [B, c + 1, C, C], code values times alpha, and alpha.
            to_layer: float32 [B, 2, 3], frame pixel -> pixel of the layer.
        """
        index = windows.index(of.shift, *below.shape[1:3])
        here = taken(below, index)
        alike = of.of_plane(to_layer, windows.corners[:, 0, :, None])
        # A canvas is shrunk where the face is smaller than it.
        most = max(1.0, self.pack.canvas_size / LEAST_CANVAS) * 2**of.shift
        soft = smoothed(layer, alike, most=most, padding="constant")
        along = side(windows.side // 2**of.shift)
        pasted = read(soft, alike, along, along, padding="zeros")
        over = here * (1 - pasted[:, -1:]) + pasted[:, :-1]
        return put(below, index, torch.round(over).clamp(0, 255))


def _share(asked: float | None, default: float) -> Tensor:
    return torch.full((1,), default if asked is None else asked)

"""Pictures of scenes, and the truth about them."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from trtswap.errors import InputError

from .backdrop import backdrop
from .body import Body
from .camera import Camera
from .expression import rotation
from .eyes import Eyes
from .field import Field, Material
from .hair import Hair
from .labels import LABEL, boxes, downsample, landmark_points
from .labels import labels as labels_of
from .light import Light, from_picture, to_picture
from .march import Rays, march, normals, openness, packed, put, sunlight, take
from .mouth import Mouth
from .noise import Noise
from .nose import Nose
from .primitives import Points, points_of, ramp
from .props import KINDS, Props, kinds_in
from .scene import Scene
from .skull import Skull
from .surfaces import Painter

COARSE = 4  # samples of a cone in the first pass
SHADE = 2  # samples and axis that share one look at sky and lamp, which vary slowly over a picture
STEPS = (40, 40)  # of the first and second pass
BODY_SHARE = (0.35, 0.1, 0.15)  # of the head's yaw, pitch and roll that the trunk follows


@dataclass(frozen=True)
class Avatars:
    """Pictures of B scenes with their truths.

    Attributes:
        images: float32 RGB [B, 3, H, W], 0..1.
        boxes: xyxy, pixels, float32 [B, 4].
        landmarks: right eye, left eye, nose, right and left mouth corner, (x, y) pixels, float32 [B, 5, 2].
        labels: ``trtswap.canvas.parse.CLASSES``, uint8 [B, H, W]; left and right are the person's own.
    """

    images: Tensor
    boxes: Tensor
    landmarks: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Renderer:
    """Renders scenes.

    Attributes:
        height, width: of the pictures, pixels.
        samples: per pixel and axis.
        piece: scenes rendered at once. One is fastest on a CPU, whose caches hold one picture; a GPU wants more.
        noise: the random volume, on the device that renders.
        distance: ``Field.distance``, or the same compiled (:func:`compiled_distance`).
    """

    noise: Noise
    height: int = 224
    width: int = 224
    samples: int = 2
    piece: int = 1
    distance: Callable[[Field, Points], Tensor] = Field.distance

    def __post_init__(self) -> None:
        if self.height * self.samples % COARSE or self.width * self.samples % COARSE:
            raise InputError(
                f"a picture of {self.height}x{self.width} pixels with {self.samples} samples: "
                f"expected sides that are multiples of {COARSE} samples"
            )

    @torch.inference_mode()
    def render(self, scene: Scene, behind: Tensor | None = None) -> Avatars:
        """Pictures and truths of all scenes, on the device of the renderer's noise.

        Args:
            behind: float32 RGB [B, 3, H, W], 0..1: what is seen behind the heads instead of a backdrop.
        """
        device = self.noise.volume.device
        rows = [slice(i, i + self.piece) for i in range(0, len(scene), self.piece)]
        pieces = [self._piece(scene[r].to(device), None if behind is None else behind[r].to(device)) for r in rows]
        return Avatars(
            *(torch.cat([getattr(p, f) for p in pieces]) for f in ("images", "boxes", "landmarks", "labels"))
        )

    def _piece(self, scene: Scene, behind: Tensor | None) -> Avatars:
        turn = rotation(scene.pose)
        camera = Camera(scene.view, turn, self.height, self.width)
        # A compiled field computes all props: cheaper than to compile it anew for every combination of them.
        kinds = kinds_in(scene.props) if self.distance is Field.distance else frozenset(KINDS)
        field = build_field(scene, turn, kinds)
        picture = _Picture(self, scene, camera, field, Light(scene.light, turn.mT), behind)
        image, found = picture.draw()
        return Avatars(image, boxes(field, camera), camera.project(landmark_points(field)), found)


def compiled_distance() -> Callable[[Field, Points], Tensor]:
    """``Field.distance`` as one fused kernel: half a minute to compile, once per process; its
    figures differ from the plain one's by rounding."""
    return torch.compile(Field.distance, dynamic=True)


def build_field(scene: Scene, turn: Tensor, kinds: frozenset[str]) -> Field:
    """Geometry of scenes whose heads are turned by turn [B, 3, 3], with props of the given kinds."""
    who, does = scene.identity, scene.expression
    trunk = rotation(scene.pose, BODY_SHARE)
    body = Body(who, scene.clothes, trunk.mT @ turn)
    return Field(
        Skull(who, does),
        Nose(who, does),
        Eyes(who, does),
        Mouth(who, does),
        Hair(who),
        body,
        Props(who, scene.props, kinds),
    )


@dataclass(frozen=True)
class _Picture:
    """One piece on its way from rays to pixels."""

    renderer: Renderer
    scene: Scene
    camera: Camera
    field: Field
    light: Light
    behind: Tensor | None

    def draw(self) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] and labels uint8 [B, H, W]."""
        r = self.renderer
        high, wide = r.height * r.samples, r.width * r.samples
        x, y = _grid(high, wide, 1 / r.samples, self.camera.turn.device)
        rays = Rays(self.camera.origin(), self.camera.rays(x, y))
        t, met = self._trace(rays, high, wide)
        colour = self._backdrop(x, y)
        found = torch.full_like(met, 0, dtype=torch.int64)
        index = packed(met)
        if index.shape[1]:
            light, classes = self._surfaces(rays.take(index), take(t, index), index, wide)
            colour = put(colour, index, light, take(met, index))
            found = put(found, index, classes, take(met, index))
        colour, found = self._lenses(rays, t, met, colour, found)
        linear = colour.mT.view(-1, 3, high, wide)
        return self._develop(linear), downsample(found.view(-1, high, wide), r.samples)

    def _backdrop(self, x: Tensor, y: Tensor) -> Tensor:
        """Linear RGB [B, K, 3] behind the heads, at pixels x, y [K]."""
        r = self.renderer
        if self.behind is None:
            return backdrop(self.scene.backdrop, r.noise, x / r.height, y / r.height)
        large = F.interpolate(self.behind, scale_factor=float(r.samples), mode="nearest")
        return from_picture(large, self.scene.light["exposure"]).flatten(2).mT.contiguous()

    def _distance(self, p: Points) -> Tensor:
        return self.renderer.distance(self.field, p)

    def _trace(self, rays: Rays, high: int, wide: int) -> tuple[Tensor, Tensor]:
        """Distances and hits of all rays; a coarse pass of thick rays skips the empty space for the fine one."""
        device = rays.origin.device
        x, y = _grid(high // COARSE, wide // COARSE, COARSE / self.renderer.samples, device)
        thick = Rays(rays.origin, self.camera.rays(x, y))
        cone = 1.0 / (self.camera.focal * self.renderer.samples)  # of a sample
        near, far = self.scene.view["distance"] - 22.0, self.scene.view["distance"] + 22.0
        start = near.expand(-1, len(x))
        t, met = march(
            self._distance,
            thick,
            start,
            torch.ones_like(start, dtype=torch.bool),
            cone=cone * COARSE * 0.8,
            far=far,
            steps=STEPS[0],
        )
        t, met = (_enlarged(v, high // COARSE, wide // COARSE) for v in (t, met))
        return march(self._distance, rays, t, met, cone=cone * 0.3, far=far, steps=STEPS[1])

    def _surfaces(self, rays: Rays, t: Tensor, index: Tensor, wide: int) -> tuple[Tensor, Tensor]:
        """Light [B, K, 3] and labels [B, K] of the points that rays met."""
        p = rays.at(t)
        parts = self.field.parts(p)
        nearest = parts.min(0)
        normal = normals(self._distance, p, nearest.values)
        painted = Painter(self.field, self.renderer.noise).paint(p, normal, nearest.indices)
        open_, lit = self._arriving(p, normal, index, wide)
        # Eyeballs are wet and translucent, and light reaches them through the lids.
        eye = nearest.indices == Material.EYE
        open_, lit = torch.where(eye, 0.5 + 0.5 * open_, open_), torch.where(eye, 0.3 + 0.7 * lit, lit)
        light = self.light.shade(painted.surface, -rays.directions, open_, lit)
        return light, labels_of(self.field, p, nearest.indices, painted.masks)

    def _arriving(self, p: Points, normal: Tensor, index: Tensor, wide: int) -> tuple[Tensor, Tensor]:
        """Shares of sky and key light [B, K], computed for one of SHADE x SHADE samples."""
        first = (index % wide % SHADE == 0) & (index // wide % SHADE == 0)
        some = packed(first)
        q, n = points_of(take(p.stacked(), some)), take(normal, some)
        open_ = openness(self._distance, q, n)
        lit = sunlight(self._distance, q, n, self.light.key(), self.scene.light["key_softness"])
        return tuple(self._spread(v, take(index, some), index, take(first, some), wide) for v in (open_, lit))  # type: ignore[return-value]

    def _spread(self, values: Tensor, at: Tensor, to: Tensor, valid: Tensor, wide: int) -> Tensor:
        """Values at some samples [B, J], blurred a little over the picture and read at others [B, K]."""
        high, small = self.renderer.height * self.renderer.samples // SHADE, wide // SHADE
        cell = (at // wide // SHADE) * small + at % wide // SHADE
        plane = torch.zeros(len(values), high * small, device=values.device)
        weight = put(plane, cell, torch.ones_like(values), valid).view(-1, 1, high, small)
        value = put(plane, cell, values, valid).view(-1, 1, high, small)
        blurred = F.avg_pool2d(value, 3, 1, 1) / F.avg_pool2d(weight, 3, 1, 1).clamp(min=1e-3)
        large = F.interpolate(blurred, scale_factor=SHADE, mode="bilinear")
        return large.flatten(1).gather(1, to).clamp(0, 1)

    def _lenses(self, rays: Rays, t: Tensor, met: Tensor, colour: Tensor, found: Tensor) -> tuple[Tensor, Tensor]:
        """Glasses' lenses: tinted, with a faint reflection, where nothing is nearer than they are."""
        props = self.field.props
        if not props.any("glasses"):
            return colour, found
        plane = props.glasses_plane(torch.zeros_like(props.wears["glasses"]))
        to_plane = (plane - rays.origin[:, 2:]) / rays.directions[..., 2]
        p = rays.at(to_plane)
        to_plane = (props.glasses_plane(p.x) - rays.origin[:, 2:]) / rays.directions[..., 2]
        p = rays.at(to_plane)
        seen = (props.lens(p.x, p.y) < 0) & (props.wears["glasses"] > 0) & (rays.directions[..., 2] < 0)
        seen = seen & (~met | (to_plane < t))
        streak = 0.10 * ramp(torch.sin(0.9 * p.x + 0.7 * p.y + 6 * props.wears["glasses_hue"]), 0.2, 0.9)
        clear = 0.93 - 0.75 * props.wears["glasses_tint"].clamp(min=0) * (props.wears["glasses_tint"] > 0.55)
        through = colour * clear[..., None] + streak[..., None]
        return torch.where(seen[..., None], through, colour), torch.where(seen, LABEL["glasses"], found)

    def _develop(self, linear: Tensor) -> Tensor:
        """Linear samples [B, 3, high, wide] to the picture: exposure, anti-aliasing, defocus, vignette, grain."""
        r, view = self.renderer, self.scene.view
        picture = F.avg_pool2d(to_picture(linear, self.scene.light["exposure"]), r.samples)
        soft = view["defocus"][..., None, None] * 0.5
        blurred = F.avg_pool2d(F.pad(picture, (1, 1, 1, 1), mode="replicate"), 3, 1)
        picture = torch.lerp(picture, blurred, soft)
        x, y = _grid(r.height, r.width, 1.0, picture.device)
        off = ((x / r.width - 0.5) ** 2 + (y / r.height - 0.5) ** 2).view(1, 1, r.height, r.width)
        picture = picture * (1 - view["vignette"][..., None, None] * off)
        grain = r.noise(
            torch.stack([x * 13.7, y * 11.3, x * 3.1 + y * 7.9], -1)[None].expand(len(picture), -1, -1)
            + self.scene.backdrop["seed_x"][..., None]
        )
        grain = grain[:3].movedim(0, 1).reshape(picture.shape)
        return (picture + view["sensor_noise"][..., None, None] * grain).clamp(0, 1)


def _grid(high: int, wide: int, step: float, device: torch.device) -> tuple[Tensor, Tensor]:
    """Centres of high x wide cells that are ``step`` pixels large, in pixels, row by row: x, y [high * wide]."""
    x = (torch.arange(wide, device=device) + 0.5) * step - 0.5
    y = (torch.arange(high, device=device) + 0.5) * step - 0.5
    return x.repeat(high), y.repeat_interleave(wide)


def _enlarged(values: Tensor, high: int, wide: int) -> Tensor:
    """Each cell of values [B, high * wide] repeated over the samples that it stands for."""
    grid = values.view(-1, high, 1, wide, 1).expand(-1, -1, COARSE, -1, COARSE)
    return grid.reshape(len(values), -1)

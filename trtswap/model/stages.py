"""The kinds of stage that a pack can have, one declaration each.

Who adds a stage declares it here, writes its own file (in ``faces/`` or ``canvas/``), and gives it a place in the order
of :mod:`trtswap.canvas.pipeline`. Loading, contract, example inputs, comparison, precision, profiles of engines,
benchmarks and reports follow from the declaration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

import torch

from trtswap.backends.engine import TensorSpec

Content = Literal[
    "frames",
    "faces",
    "latents",
    "codes",
    "boxes",
    "landmarks",
    "scores",
    "labels",
    "pictures",
    "masks",
    "shares",
    "points",
]
"""What a tensor holds: ``frames`` are whole pictures, upright and letterboxed, ``faces`` aligned crops; both, and
``pictures``, are RGB, NCHW, 0..1. ``latents`` have unit length, ``codes`` are what a swap network takes in place of
them. ``masks`` are 0..1 at each pixel, ``shares`` one number, 0..1. ``points`` are those of a face's surface,
with their depth. Positions are in pixels of the input."""

SETTINGS = ("size", "latent", "max_faces")
"""Numbers of a stage's entry in pack.toml that shapes can name."""


@dataclass(frozen=True)
class Port:
    """An input or output of a kind of graph.

    Attributes:
        name: of the tensor in the graph.
        shape: a number; one of ``SETTINGS``, whose value the pack gives; or another name, which is dynamic.
        content: what it holds.
        when: name of the key in pack.toml that says that a graph has it; None: each graph of the kind has.
    """

    name: str
    shape: tuple[int | str, ...]
    content: Content
    when: str | None = None

    @property
    def dtype(self) -> torch.dtype:
        return torch.uint8 if self.content == "labels" else torch.float32

    def spec(self, settings: Mapping[str, int]) -> TensorSpec:
        """The same with a pack's numbers."""
        return TensorSpec(self.name, tuple(settings.get(str(dim), dim) for dim in self.shape), self.dtype)


@dataclass(frozen=True, kw_only=True)
class StageKind:
    """What is true of every graph of one kind, whichever network it holds.

    Attributes:
        name: in pack.toml, in timings and in reports.
        doing: the same as an activity, for progress bars.
        inputs, outputs: the contract (design: section 4).
        defaults: further keys of its entry in pack.toml: ``threshold``, ``weight`` and others.
        required: a pack cannot do without it.
        option: the switch of :class:`~trtswap.options.RuntimeOptions` that leaves it out; None: nothing does.
        canvas: works on whole canvases; the last such stage of a pack decides their size and template.
        aligned: works on crops that are aligned with a template.
        multiple: ``size`` is a multiple of this.
        same: settings that have to be equal to those of another stage: setting -> stages, of which the first that the
            pack has is meant.
        seeking: runs while faces are searched for, in the thread that searches; the others run where faces are made.
        float32_behind: what follows its last convolution computes positions, which float16 is too coarse for.
        eight_bits: its convolutions may work on 8 bits. Positions, latents and the borders between labels need more;
            detection is small, identities are made once for a source, and a narrow BiSeNet gained nothing (0.9 times).
        half: its network makes pictures or labels, and may run in 16 bits without being calibrated (bfloat16), unless
            it works with points.
    """

    name: str
    doing: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    defaults: frozenset[str] = frozenset()
    required: bool = True
    option: str | None = None
    canvas: bool = False
    aligned: bool = True
    multiple: int = 1
    same: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    seeking: bool = False
    float32_behind: bool = False
    eight_bits: bool = False
    half: bool = False

    @property
    def settings(self) -> frozenset[str]:
        """Which of ``SETTINGS`` its shapes name."""
        named = {dim for port in (*self.inputs, *self.outputs) for dim in port.shape}
        return frozenset(SETTINGS) & named

    @property
    def dimensions(self) -> tuple[str, ...]:
        """Names of the dynamic dimensions of its inputs: an engine is built for a range of each."""
        named = dict.fromkeys(dim for port in self.inputs for dim in port.shape if isinstance(dim, str))
        return tuple(dim for dim in named if dim not in SETTINGS)

    @property
    def searches(self) -> bool:
        """Takes whole frames, whose height and width vary, rather than crops."""
        return self.inputs[0].content == "frames"

    @property
    def takes_latents(self) -> bool:
        """Works on identities as well as on crops."""
        return any(port.content == "latents" for port in self.inputs)

    @property
    def gives(self) -> Content:
        """What its first output holds, which decides how two graphs of the kind are compared."""
        return self.outputs[0].content


CROPS = Port("faces", ("N", 3, "size", "size"), "faces")
MEASURED = Port("points", ("N", 478, 3), "points", when="points")

_KINDS = (
    StageKind(
        name="detect",
        doing="detecting",
        inputs=(Port("images", ("B", 3, "H", "W"), "frames"),),
        outputs=(
            Port("boxes", ("B", "max_faces", 4), "boxes"),
            Port("landmarks", ("B", "max_faces", 5, 2), "landmarks"),
            Port("scores", ("B", "max_faces"), "scores"),
        ),
        defaults=frozenset(("threshold", "offsets")),
        aligned=False,
        multiple=32,
        seeking=True,
        float32_behind=True,
    ),
    StageKind(
        name="landmarks",
        doing="measuring",
        inputs=(CROPS,),
        outputs=(Port("points", ("N", 478, 3), "points"), Port("scores", ("N",), "scores")),
        defaults=frozenset(("threshold",)),
        required=False,
        option="dense",
        seeking=True,
        float32_behind=True,
    ),
    StageKind(
        name="identify",
        doing="comparing",
        inputs=(CROPS,),
        outputs=(Port("latents", ("N", "latent"), "latents"),),
        defaults=frozenset(("threshold",)),
        seeking=True,
    ),
    StageKind(
        name="encode",
        doing="encoding",
        inputs=(CROPS, MEASURED),
        outputs=(Port("codes", ("N", "latent"), "codes"),),
        defaults=frozenset(("average", "points")),
        required=False,
        seeking=True,
    ),
    StageKind(
        name="swap",
        doing="swapping",
        inputs=(
            CROPS,
            Port("latents", ("N", "latent"), "latents"),
            MEASURED,
            Port("visible", ("N", 1, "size", "size"), "masks", when="visible"),
            Port("likeness", (1,), "shares", when="likeness"),
        ),
        outputs=(
            Port("swapped", ("N", 3, "size", "size"), "pictures"),
            Port("mask", ("N", 1, "size", "size"), "masks", when="mask"),
        ),
        defaults=frozenset(("mask", "points", "visible", "likeness")),
        same=MappingProxyType({"latent": ("encode", "identify")}),
        eight_bits=True,
        half=True,
    ),
    StageKind(
        name="parse",
        doing="parsing",
        inputs=(CROPS,),
        outputs=(Port("labels", ("N", "size", "size"), "labels"),),
        required=False,
        canvas=True,
        half=True,
    ),
    StageKind(
        name="occlude",
        doing="occluding",
        inputs=(CROPS, MEASURED),
        outputs=(Port("visible", ("N", 1, "size", "size"), "masks"),),
        defaults=frozenset(("points",)),
        required=False,
        option="occlude",
        half=True,
    ),
    StageKind(
        name="restore",
        doing="restoring",
        inputs=(CROPS, Port("fidelity", (1,), "shares", when="fidelity")),
        outputs=(Port("restored", ("N", 3, "size", "size"), "pictures"),),
        defaults=frozenset(("weight", "fidelity")),
        required=False,
        option="restore",
        canvas=True,
        same=MappingProxyType({"templates": ("parse",)}),
        eight_bits=True,
        half=True,
    ),
)

_BY_NAME = {kind.name: kind for kind in _KINDS}
STAGES: Mapping[str, StageKind] = MappingProxyType(_BY_NAME)
"""Every kind by its name, in the order of the work."""

"""Stages 4 to 10: faces of a batch of frames in, the same frames with those faces swapped."""

from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trtswap.backends import Choice, open_engine
from trtswap.backends.batching import pieces
from trtswap.backends.engine import Engine
from trtswap.backends.sizing import faces_at_once, threads_of_each
from trtswap.canvas.composite import blend, layers
from trtswap.canvas.parse import Parser
from trtswap.canvas.restore import Restorer
from trtswap.canvas.swap import FaceSwapper
from trtswap.faces import Faces
from trtswap.faces.detect import Detector
from trtswap.faces.identity import Identifier
from trtswap.model.pack import Pack, StageSpec, check_engine
from trtswap.options import SwapOptions
from trtswap.pixels.frames import Frames, Layer
from trtswap.pixels.geometry import align, compose, invert
from trtswap.session.stopwatch import Clock


@dataclass(frozen=True)
class Made:
    """N swapped faces, ready to be pasted; see :meth:`~trtswap.pixels.frames.Frames.paste` for the attributes."""

    frame_index: Tensor
    to_canvas: Tensor
    layers: list[Layer]


# Stages that run while faces are searched for; the others may run in another thread at the same time.
_SEEKING = ("detect", "identify")


class Pipeline:
    """The stages of one pack, opened on one device.

    Args:
        pack: what to open; every graph is held against the contract.
        choice: backend and device.
        options: see :class:`~trtswap.options.SwapOptions`.
        threads: CPU threads of all workers' networks together; the backend's default where None.

    Raises:
        InputError: several workers where there can be one.
        PackError: a graph breaks the contract.
        BackendError: a graph cannot be opened.
    """

    def __init__(self, pack: Pack, choice: Choice, options: SwapOptions, *, threads: int | None = None):
        self.pack = pack
        self.options = options
        self.device = choice.device
        self.faces_at_once = options.piece or faces_at_once(pack.canvas_size, choice.device, workers=options.workers)
        each = threads_of_each(options.workers, choice, threads)
        self.engines: dict[str, Engine] = {}
        with ExitStack() as opened:
            for name, spec in pack.stages.items():
                if name == "restore" and not options.restore:
                    continue
                engine = open_engine(
                    spec,
                    backend=choice.backend,
                    device=choice.device,
                    threads=each,
                    calls=options.workers,
                    beside=next((e for n, e in self.engines.items() if (n in _SEEKING) == (name in _SEEKING)), None),
                    **_on_a_gpu(spec, choice),
                )
                self.engines[name] = opened.enter_context(engine)
                check_engine(spec, engine)
            self._opened = opened.pop_all()
        self._build_stages()

    def _build_stages(self) -> None:
        specs, engines, options = self.pack.stages, self.engines, self.options
        piece = self.faces_at_once
        self.detect = Detector(
            engines["detect"], specs["detect"], threshold=options.detect_threshold, max_faces=options.max_faces
        )
        self.identify = Identifier(engines["identify"], specs["identify"], piece=piece)
        self._swap = FaceSwapper(engines["swap"], specs["swap"], piece=piece)
        self._parse = Parser(engines["parse"], specs["parse"], piece=piece, feather=options.feather)
        self._restore = (
            Restorer(engines["restore"], specs["restore"], piece=piece, weight=options.restore_weight)
            if "restore" in engines
            else None
        )

    def swap(self, frames: Frames, faces: Faces, latents: Tensor, clock: Clock) -> None:
        """Swap faces in place: :meth:`make`, then :meth:`paste`."""
        made = self.make(frames, faces, latents, clock)
        if made is not None:
            self.paste(frames, made, clock)

    def make(self, frames: Frames, faces: Faces, latents: Tensor, clock: Clock) -> "Made | None":
        """Make the swapped faces; the frames stay as they are.

        Args:
            frames: where the faces are taken from.
            faces: N faces of these frames, on the host.
            latents: float32 [N, D], the identity that each face gets.
            clock: takes the time of each stage.

        Returns:
            What :meth:`paste` puts into the frames; None without faces.
        """
        if not len(faces):
            return None
        to_canvas = align(faces.landmarks, (self.pack.canvas_template,), self.pack.canvas_size)
        made: list[Layer] = []
        for rows, count in pieces(len(faces), self.faces_at_once, pad=self.device.type == "cuda"):
            made += self._layers(frames, faces[rows], to_canvas[rows], latents[rows.to(latents.device)], clock)[:count]
        return Made(faces.frame_index, to_canvas, made)

    def _layers(self, frames: Frames, faces: Faces, to_canvas: Tensor, latents: Tensor, clock: Clock) -> list[Layer]:
        """Stages 4 to 9 for faces that go through the networks at once."""
        size = self.pack.canvas_size
        with clock.stage("align"):
            to_swap = align(faces.landmarks, self._swap.spec.templates, self._swap.spec.size)
            crops = frames.sample(faces.frame_index, to_swap, self._swap.spec.size)
            canvas = frames.sample(faces.frame_index, to_canvas, size)
        with clock.stage("swap"):
            swapped = self._swap(crops, latents)
        with clock.stage("parse"):
            labels = self._parse.labels(canvas)
        with clock.stage("blend"):
            masks = self._parse.masks(labels, size)
            patches = self._swap.to_canvas(swapped, compose(to_swap, invert(to_canvas)), size)
            blend(canvas, patches, masks.mouth if self.options.mouth else None)
        if self._restore is not None:
            with clock.stage("restore"):
                canvas = self._restore(canvas)
        with clock.stage("blend"):
            return layers(canvas, masks.face, patches)

    def paste(self, frames: Frames, made: "Made", clock: Clock) -> None:
        """Put swapped faces into the frames they were made from, in place."""
        with clock.stage("paste"):
            frames.paste(made.frame_index, made.to_canvas, made.layers)

    def close(self) -> None:
        """Release the engines; may be called twice."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()


def _on_a_gpu(spec: StageSpec, choice: Choice) -> dict[str, Any]:
    """How the torch backend runs a graph on a GPU.

    Networks that make pictures run in bfloat16: a checkpoint in float32 may overflow in float16 (GFPGAN does), and only
    a calibrated pack says where not. Boxes and identities keep the graph's precision.
    """
    if choice.backend != "torch" or choice.device.type != "cuda":
        return {}
    halved = spec.precision == "fp32" and spec.name in ("swap", "parse", "restore")
    return {"half": torch.bfloat16 if halved else None, "cuda_graphs": True}

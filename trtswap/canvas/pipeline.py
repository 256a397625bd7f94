"""Stages 4 to 10: faces of a batch of frames in, the same frames with those faces swapped."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from trtswap.backends.batching import face_batches
from trtswap.backends.runtime import Runtime, Stage, Watcher
from trtswap.canvas.align import Aligner
from trtswap.canvas.batch import FaceBatch, SwappedFaces
from trtswap.canvas.composite import Blender, composite
from trtswap.canvas.occlude import Occluder
from trtswap.canvas.outline import Outliner
from trtswap.canvas.parse import Parser
from trtswap.canvas.restore import Restorer
from trtswap.canvas.swap import FaceSwapper
from trtswap.faces import Faces
from trtswap.options import SwapOptions
from trtswap.pixels.frames import Frames, Layer
from trtswap.pixels.geometry import align
from trtswap.pixels.transfer import on_device
from trtswap.session.stopwatch import Stopwatch


@dataclass(frozen=True)
class Opened:
    """What steps are made of.

    Attributes:
        runtime: the opened graphs.
        options: of the request.
        watchers: are shown every run of a graph.
    """

    runtime: Runtime
    options: SwapOptions
    watchers: Sequence[Watcher] = ()

    def has(self, stage: str) -> bool:
        return stage in self.runtime.engines

    def stage(self, name: str) -> Stage:
        return self.runtime.stage(name, self.watchers)


@dataclass(frozen=True)
class Step:
    """One step of the work on crops.

    Attributes:
        stage: whose time it is, for the stopwatch.
        work: adds to the batch; may be called by several threads at once, with a batch each.
    """

    stage: str
    work: Callable[[FaceBatch], None]


def order(opened: Opened) -> Iterator[Step]:
    """The steps in their order. Who adds a stage gives it its place here."""
    pack, options = opened.runtime.pack, opened.options
    swap = opened.stage("swap")
    swapper = FaceSwapper(swap, boost=options.boost, likeness=options.likeness)
    yield Step("align", Aligner(swap.spec.templates, swapper.size, pack.canvas_size, points=swap.spec.points))
    if opened.has("occlude"):
        yield Step("occlude", Occluder(opened.stage("occlude"), for_swap=swap.spec.visible))
    yield Step("swap", swapper)
    if opened.has("parse"):
        yield Step("parse", Parser(opened.stage("parse"), feather=options.feather))
    else:
        yield Step("blend", Outliner(feather=options.feather))
    yield Step("blend", Blender(swapper, mouth=options.mouth))
    if opened.has("restore") and options.restore_weight != 0:
        restore = opened.stage("restore")
        yield Step("restore", Restorer(restore, weight=options.restore_weight, fidelity=options.fidelity))
    yield Step("blend", composite)


class Pipeline:
    """Makes swapped faces and pastes them.

    Args:
        opened: graphs and options.
        stopwatch: takes the time of each step.
    """

    def __init__(self, opened: Opened, stopwatch: Stopwatch) -> None:
        self.steps = tuple(order(opened))
        self._runtime = opened.runtime
        self._stopwatch = stopwatch

    def make(self, frames: Frames, faces: Faces, latents: Tensor) -> SwappedFaces | None:
        """Make the swapped faces; the frames stay as they are. May be called by as many threads as there are workers.

        Args:
            frames: where the faces are taken from.
            faces: N faces of these frames, on the host.
            latents: float32 [N, D], the identity that each face gets.

        Returns:
            What :meth:`paste` puts into the frames; None without faces.
        """
        if not len(faces):
            return None
        pack = self._runtime.pack
        to_canvas = align(faces.landmarks, (pack.canvas_template,), pack.canvas_size)
        layers, unsound = list[Layer](), torch.zeros((), dtype=torch.int64, device=latents.device)
        for rows, count in face_batches(len(faces), self._runtime.face_batch, pad=self._runtime.device.type == "cuda"):
            batch = FaceBatch(frames, faces[rows], latents[on_device(rows, latents.device)], to_canvas[rows])
            for step in self.steps:
                with self._stopwatch.stage(step.stage):
                    step.work(batch)
            layers += batch.layers[:count]
            unsound = unsound + (~batch.sound[:count]).sum()
        return SwappedFaces(faces.frame_index, to_canvas, layers, unsound)

    def paste(self, frames: Frames, swapped: SwappedFaces) -> None:
        """Put swapped faces into the frames they were made from, in place."""
        with self._stopwatch.stage("paste"):
            frames.paste(swapped.frame_index, swapped.to_canvas, swapped.layers)

"""What engines are built for: a library, and the GPU that is here or GPUs that are elsewhere."""

from collections.abc import Sequence
from dataclasses import dataclass

from trtswap.backends.device import Gpu
from trtswap.backends.trt.library import AMPERE_ON, KINDS, Library, find_library, installed_libraries, suited
from trtswap.backends.trt.plans import Place
from trtswap.errors import BackendError, InputError

GIB = 2**30
TURING = "7.5"
USUAL_GIB = 8.0
"""Memory of the card that engines are made for where none is here and nobody says: the least of most RTX cards."""


@dataclass(frozen=True)
class Aim:
    """What engines are built for.

    Attributes:
        library: that compiles.
        place: what the plans will be tied to.
        memory_bytes: of the GPU.
        gpu: on which kernels are timed and engines are compared; None for a library that compiles ahead of time: its
            plans are compared where they are used first.
    """

    library: Library
    place: Place
    memory_bytes: int
    gpu: Gpu | None

    @property
    def ahead_of_time(self) -> bool:
        return self.library.kind.ahead_of_time


def aim(gpu: Gpu | None, *, library: str = "auto", targets: Sequence[str] = (), memory_gib: float | None = None) -> Aim:
    """Decide what engines are built for.

    Args:
        gpu: the one that is here, if any.
        library: a name in :data:`~trtswap.backends.trt.library.KINDS`, or ``auto``: for a list of targets and where no
            GPU is here the one that compiles ahead of time; for the GPU that is here the one that suits it.
        targets: compute capabilities, such as ``8.9``; where there are none: Turing's for a GPU of Turing's, else all
            from Ampere on.
        memory_gib: of the cards that the engines are for; the GPU's own where None, else ``USUAL_GIB``.

    Raises:
        InputError: no such library or target, or targets for a library that builds for the GPU that is here alone.
        BackendError: the library is not installed, or needs a GPU.
    """
    if library not in ("auto", *KINDS):
        raise InputError(f"library is {library!r}, expected auto, {' or '.join(KINDS)}.")
    if memory_gib is not None and not memory_gib > 0:
        raise InputError(f"memory is {memory_gib} GiB, expected a positive number.")
    chosen = _library(library, gpu, targets)
    memory = round(memory_gib * GIB) if memory_gib else gpu.facts.memory_bytes if gpu else round(USUAL_GIB * GIB)
    if not chosen.kind.ahead_of_time:
        if targets:
            raise InputError(
                f"targets are {', '.join(targets)}, but {chosen.kind.title} builds for the GPU that is here. Leave "
                "them out, or take the library rtx."
            )
        if gpu is None:
            raise BackendError(
                f"{chosen.kind.title} times its kernels on the GPU that they are for, and none is here. TensorRT for "
                f'RTX needs none: pip install "trtswap[{KINDS["rtx"].extra}]", and the library rtx.'
            )
        return Aim(chosen, Place.of(chosen, gpu), memory, gpu)
    known = chosen.kind.targets
    if unknown := [t for t in targets if t not in known]:
        raise InputError(
            f"{chosen.kind.title} has no target {', '.join(unknown)}; expected some of {', '.join(known)}. GPUs of "
            "data centres (9.0, 10.0) are TensorRT's."
        )
    own = (TURING,) if gpu is not None and gpu.facts.compute_capability == TURING else AMPERE_ON
    place = Place(chosen.kind.name, chosen.version, "", tuple(t for t in known if t in targets) or own)
    return Aim(chosen, place, memory, None)


def _library(name: str, gpu: Gpu | None, targets: Sequence[str]) -> Library:
    if name != "auto":
        return find_library(name)
    if targets or gpu is None:
        return find_library("rtx")
    here = {library.kind.name: library for library in installed_libraries()}
    return here.get(suited(gpu.facts.compute_capability).name) or next(iter(here.values()))

"""Choices that a swap leaves to its user: what is settled when engines are opened, and what each request brings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from numbers import Integral, Real
from types import MappingProxyType
from typing import Any, Literal, get_args

from trtswap.errors import InputError
from trtswap.limits import Limits

Bounds = Sequence[tuple[str, float, float | None]]
"""Name, lowest and highest value of numbers; None for no highest. A value of None leaves the choice to trtswap."""

# Side of the box, pixels of the displayed frame, below which YuNet's landmarks are off by more than a seventh of the
# distance between the eyes (0.14 of it at 19 px, 0.27 at 15, 0.64 at 10, against 0.07 from 58 px up), so that what is
# pasted no longer lies where the face is.
MIN_FACE = 20.0


@dataclass(frozen=True, kw_only=True)
class RuntimeOptions:
    """What is settled when a pack's engines are opened.

    Attributes:
        restore: open the pack's restorer, if it has one; without it no request can restore.
        dense: open the graph that measures faces at 478 points, from which the landmarks are made then: they are
            steadier than a detector's five. Without it graphs that take points are left out, too: the occluder that
            comes with trtswap.
        occlude: open the pack's occluder, or the one that comes with trtswap: what lies in front of a face is left as
            it is.
        batch: frames that are read, searched and swapped at once, however many are given; chosen from the free memory
            where None.
        face_batch: faces that go through the networks at once; chosen from the free memory and the engines where None.
        workers: batches of a stream whose faces are made at the same time, each by networks on its share of the CPU's
            threads. Two are faster than one, because nothing waits for the slower of two threads, but a single picture
            then has only its share: leave it at 1 for pictures that come one at a time. With ONNX Runtime and OpenVINO
            on a CPU alone; 1 elsewhere. The frames are the same, but for OpenVINO's last bit, which depends on the
            threads of a call.
        threads: CPU threads of the networks, all workers' together; the backend's default where None.
        frames: how many frames will be swapped; None: many, or nobody knows. For few of them ``auto`` takes the runtime
            that opens sooner rather than the one that is faster.
        keep_compiled: keep what OpenVINO compiles in a folder of the user's, so that opening the pack again costs a
            third; as large as the graphs, see :func:`trtswap.backends.compiled.compiled_folder`.
        host_code: load TensorRT engines that carry code for the CPU: those built to be version-compatible. Only where
            nobody else can write to the folder of engines.
        limits: what pictures and videos may hold; see :class:`~trtswap.limits.Limits`.
        cuda_graphs: on a GPU, record each network's work when it is opened and play it back, which spares launches.
    """

    restore: bool = True
    dense: bool = True
    occlude: bool = True
    batch: int | None = None
    face_batch: int | None = None
    workers: int = 1
    threads: int | None = None
    frames: int | None = None
    keep_compiled: bool = True
    host_code: bool = False
    limits: Limits = field(default_factory=Limits)
    cuda_graphs: bool = True

    def __post_init__(self) -> None:
        _check(
            self,
            (
                ("batch", 1, None),
                ("face_batch", 1, None),
                ("workers", 1, 64),
                ("threads", 1, 1024),
                ("frames", 0, None),
            ),
        )


@dataclass(frozen=True, kw_only=True)
class SwapOptions:
    """How the faces of one request are found, swapped and put back. The defaults suit most videos.

    Attributes:
        faces: ``all`` faces of a frame get the identity, or only the ``largest``; with pairs of references
            and sources, whoever looks like a reference gets its source.
        detect_threshold: lowest score that counts as a face, 0..1; the pack's where None.
        search_size: longer side of the copy of a frame in which faces are searched, pixels; the pack's where None.
            Twice of it finds faces half as large, at four times the cost of finding.
        max_faces: at most this many faces a frame, the best ones; the pack's where None.
        min_face: smaller faces are left alone: side of the square of the box's area, pixels of the displayed frame; 0
            takes all. Below the default landmarks are too far off for a swap to lie where the face is.
        similarity: lowest cosine to a reference that counts as the same person, -1..1; the pack's where None.
        smooth: landmarks are smoothed over this many frames before and after; 0 turns it off.
        fill: a face missed in at most this many consecutive frames is put back; 0 turns it off.
        mouth: keep what the original shows between its lips.
        restore_weight: share of the restored picture, 0..1; the pack's where None. 0 leaves the restorer out.
        fidelity: how near a restorer that lets choose (CodeFormer) keeps to what it is given, 0..1; the pack's where
            None.
        likeness: how much of the source's own shading is seen in place of the target's light, 0..1, for a swap network
            that takes it: 0 looks most real, 1 most like the source; the pack's where None.
        boost: swap faces at so many times the size of the pack's swap network, 1 to 4: sharper where that is small, at
            the cost of boost times boost runs of it.
        feather: softness of the edges, standard deviation as a share of the canvas's side.
        detect_every: faces are searched in every so many-th frame, and between two of these only where somebody came,
            went or moved far; elsewhere they are tracked. 1 searches every frame.
    """

    faces: Literal["all", "largest"] = "all"
    detect_threshold: float | None = None
    search_size: int | None = None
    max_faces: int | None = None
    min_face: float = MIN_FACE
    similarity: float | None = None
    smooth: int = 4
    fill: int = 5
    mouth: bool = True
    restore_weight: float | None = None
    fidelity: float | None = None
    likeness: float | None = None
    boost: int = 1
    feather: float = 0.02
    detect_every: int = 1

    def __post_init__(self) -> None:
        _check(
            self,
            (
                ("detect_threshold", 0, 1),
                ("search_size", 64, 8192),
                ("max_faces", 1, None),
                ("min_face", 0, None),
                ("similarity", -1, 1),
                ("smooth", 0, 100),
                ("fill", 0, 100),
                ("restore_weight", 0, 1),
                ("fidelity", 0, 1),
                ("likeness", 0, 1),
                ("boost", 1, 4),
                ("feather", 0, 0.25),
                ("detect_every", 1, 100),
            ),
        )
        if not isinstance(self.faces, str) or self.faces not in ("all", "largest"):
            raise InputError(f"faces is {self.faces!r}, expected 'all' or 'largest'.")


_KINDS: Mapping[type, tuple[type, str]] = MappingProxyType(
    {bool: (bool, "True or False"), int: (Integral, "a whole number"), float: (Real, "a number")}
)


def _check(options: Any, bounds: Bounds) -> None:
    for entry in fields(options):
        value = getattr(options, entry.name)
        declared = next((kind for kind in (*get_args(entry.type), entry.type) if kind in _KINDS), None)
        if declared is None or (value is None and type(None) in get_args(entry.type)):
            continue
        kind, words = _KINDS[declared]
        if not isinstance(value, kind) or isinstance(value, bool) != (declared is bool):
            raise InputError(f"{entry.name} is {value!r}, expected {words}.")
    for name, low, high in bounds:
        value = getattr(options, name)
        if value is not None and not (low <= value and (high is None or value <= high)):
            raise InputError(f"{name} is {value}, expected {low} to {'any number' if high is None else high}.")

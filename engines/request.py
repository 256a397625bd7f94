"""What a library is asked to compile, and what comes back: plain data that travels between processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Shape = tuple[int, ...]
Shapes = tuple[Shape, Shape, Shape]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One graph and how it is compiled; see :class:`~trtswap.engines.config.BuildConfig` for what the settings mean.

    Attributes:
        graph: ONNX file, opset 19 or lower.
        profiles: smallest, best and largest shape of each input.
        targets: compute capabilities, for a library that compiles ahead of time; its own choice where empty.
    """

    graph: str
    profiles: Sequence[Mapping[str, Shapes]]
    targets: Sequence[str]
    workspace_bytes: int | None
    optimisation_level: int
    hardware_compatibility: str
    version_compatible: bool
    tf32: bool


@dataclass(frozen=True)
class Compiled:
    """What a library made.

    Attributes:
        plan: the bytes.
        memory_bytes: scratch memory that the plan needs, the most of all profiles, as the library states while it
            builds; 0 where it says nothing.
        warnings: of the library, each once.
    """

    plan: bytes
    memory_bytes: int
    warnings: tuple[str, ...] = ()

"""libtrtswap through its C interface, as ctypes sees it."""

import ctypes
from collections.abc import Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ABI = 1
OK, ARGUMENT, FOLDER, RUNTIME, CANCELLED, NO_FACE = range(6)
RGB, BGR, NV12, I420 = range(4)
Log = ctypes.CFUNCTYPE(None, c_void_p, c_int, c_char_p)
Progress = ctypes.CFUNCTYPE(c_int, c_void_p, c_size_t, c_size_t, c_char_p)


class _Sized(ctypes.Structure):
    def __init__(self, **values: Any) -> None:
        super().__init__(**{"struct_size": ctypes.sizeof(type(self)), **values})


class Options(_Sized):
    _fields_ = (
        ("struct_size", c_uint32), ("providers", POINTER(c_char_p)), ("provider_count", c_size_t),
        ("threads", c_int32), ("log", Log), ("progress", Progress), ("user", c_void_p),
        ("device", c_int32), ("cuda_stream", c_void_p),
    )  # fmt: skip


class Description(_Sized):
    _fields_ = (
        ("struct_size", c_uint32), ("format", c_int), ("width", c_int32), ("height", c_int32), ("slots", c_int32),
        ("window", c_int32), ("min_face", c_float), ("similarity", c_float), ("provider", c_char_p),
        ("pack", c_char_p), ("licence", c_char_p),
    )  # fmt: skip


class Image(_Sized):
    _fields_ = (
        ("struct_size", c_uint32), ("width", c_int32), ("height", c_int32), ("planes", c_void_p * 3),
        ("strides", c_size_t * 3), ("memory", c_int),
    )  # fmt: skip


class Face(ctypes.Structure):
    _fields_ = (
        ("box", c_float * 4), ("landmarks", (c_float * 2) * 5), ("score", c_float), ("side", c_float),
        ("fit", c_float), ("track", c_int64), ("points", (c_float * 3) * 478),
    )  # fmt: skip


class StreamOptions(_Sized):
    _fields_ = (
        ("struct_size", c_uint32), ("sources", POINTER(c_void_p)), ("references", POINTER(c_void_p)),
        ("source_count", c_size_t), ("steadiness", c_float), ("min_face", c_float), ("similarity", c_float),
        ("hold", c_int32),
    )  # fmt: skip


def image(*planes: NDArray[np.uint8], width: int | None = None, height: int | None = None) -> Image:
    """Planes of a frame, whose rows may have gaps; their memory has to stay."""
    strides = [plane.strides[0] for plane in planes]
    return Image(
        width=planes[0].shape[1] if width is None else width,
        height=planes[0].shape[0] if height is None else height,
        planes=(c_void_p * 3)(*(plane.ctypes.data for plane in planes)),
        strides=(c_size_t * 3)(*strides),
    )


class Failed(Exception):
    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message = status, message


class Library:
    """Every function of the library by its name without the prefix; raises :class:`Failed`."""

    def __init__(self, path: Path) -> None:
        self.c = ctypes.CDLL(str(path))
        self.c.trtswap_last_error.restype = c_char_p

    def __getattr__(self, name: str) -> Any:
        function = getattr(self.c, f"trtswap_{name}")

        def call(*arguments: Any) -> None:
            if status := function(*arguments):
                raise Failed(status, self.c.trtswap_last_error().decode())

        return call

    def opened(self, folder: Path, **options: Any) -> c_void_p:
        graphs = c_void_p()
        self.open(c_uint32(ABI), str(folder).encode(), byref(Options(**options)), byref(graphs))
        return graphs

    def found(self, graphs: c_void_p, frame: Image, capacity: int = 4) -> list[Face]:
        faces, count = (Face * capacity)(), c_size_t()
        self.find(graphs, byref(frame), faces, c_size_t(capacity), byref(count))
        return list(faces[: count.value])

    def person(self, graphs: c_void_p, *pictures: NDArray[np.uint8]) -> c_void_p:
        person, images = c_void_p(), (Image * len(pictures))(*(image(p) for p in pictures))
        self.person_of_pictures(graphs, images, c_size_t(len(pictures)), byref(person))
        return person

    def swapped(
        self,
        graphs: c_void_p,
        frame: Image,
        output: Image,
        faces: Sequence[Face],
        persons: Sequence[c_void_p | None],
        strengths: Sequence[float] | None = None,
    ) -> None:
        n = len(faces)
        given = None if strengths is None else (c_float * n)(*strengths)
        who = (c_void_p * n)(*(p if p is None else p.value for p in persons))
        self.swap(graphs, byref(frame), byref(output), (Face * n)(*faces), who, given, c_size_t(n))

"""A person of several pictures, of which each face shows the one whose pose is nearest: the pack mesh."""

from ctypes import byref, c_size_t, c_void_p
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from trtswap.faces.pose import pose_of
from trtswap.faces.wanted import CLEARLY
from trtswap.packs import find_pack
from trtswap.video.opening import open_reader

from ..export.embed.running import Graphs
from .library import NO_FACE, Face, Failed, Library, StreamOptions, image

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]


def turns(face: Face) -> Numbers:
    pose: Numbers = pose_of(torch.tensor(np.array(face.points))[None]).turns[0].numpy()
    return pose


def framed(picture: Pixels) -> Pixels:
    """In the corner of a BGR frame, as the library puts it."""
    frame = np.zeros((1080, 1920, 3), np.uint8)
    frame[: picture.shape[0], : picture.shape[1]] = picture[..., ::-1]
    return frame


def shown(python: Graphs, frame: Pixels, face: Face, codes: Numbers) -> Pixels:
    made: Pixels = python.run(
        "swap", frames=frame[None], landmarks=np.array(face.landmarks)[None, None],
        points=np.array(face.points)[None, None], codes=codes[None, None], strengths=np.ones((1, 1), np.float32),
    )["swapped_frames"][0]  # fmt: skip
    return made


@pytest.fixture(scope="module")
def turning() -> list[Pixels]:
    """A head that turns by some 15 degrees: uint8 RGB [720, 1280, 3]."""
    with open_reader(find_pack("avatar") / "samples" / "clip.mp4", batch=1, end=1) as reader:
        return [frames.rgb(0).numpy() for i, frames in enumerate(reader) if i % 2 == 0 and i <= 24]


def test_the_picture_of_the_nearest_pose_is_shown(library: Library, embedded_mesh: Path, turning: list[Pixels]) -> None:
    python, graphs = Graphs(embedded_mesh), library.opened(embedded_mesh, threads=1)
    pictures, codes, poses = [turning[0], turning[9]], list[Numbers](), list[Numbers]()
    person = library.person(graphs, *pictures)
    for one in map(framed, pictures):
        poses.append(turns(library.found(graphs, image(one))[0]))
        codes.append(python.run("identify", frames=one[None], **python.run("find", frames=one[None]))["codes"][0, 0])

    def apart(face: Face) -> Numbers:
        away: Numbers = np.linalg.norm(np.stack(poses) - turns(face), axis=1)
        return away

    chosen = set[int]()
    for frame in (framed(turning[1]), framed(turning[-1])):  # alone: whoever is nearest
        (face,), made = library.found(graphs, image(frame)), np.zeros_like(frame)
        library.swapped(graphs, image(frame), image(made), [face], [person])
        best = int(apart(face).argmin())
        assert np.array_equal(made, shown(python, frame, face, codes[best]))
        chosen.add(best)
    assert chosen == {0, 1}
    options = StreamOptions(
        sources=(c_void_p * 1)(person), source_count=1, steadiness=-1, min_face=-1, similarity=-2, hold=-1
    )
    stream, so_far, course = c_void_p(), -1, list[tuple[int, int]]()
    library.stream_open(graphs, byref(options), byref(stream))
    for frame in map(framed, turning):  # in a stream it stays until another is clearly nearer
        made, faces, count = np.zeros_like(frame), (Face * 1)(), c_size_t()
        library.stream_swap(stream, byref(image(frame)), byref(image(made)), faces, byref(count))
        away = apart(faces[0])
        best = int(away.argmin())
        so_far = best if so_far < 0 or away[so_far] - away[best] > CLEARLY else so_far
        course.append((best, so_far))
        assert np.array_equal(made, shown(python, frame, faces[0], codes[so_far]))
    assert {(0, 0), (1, 0), (1, 1)} <= set(course), course


def test_pictures_without_a_face_are_no_source(library: Library, embedded_mesh: Path) -> None:
    graphs = library.opened(embedded_mesh, threads=1)
    with pytest.raises(Failed, match="shows no face") as told:
        library.person(graphs, np.full((200, 200, 3), 90, np.uint8))
    assert told.value.status == NO_FACE

"""libtrtswap, through its C interface: what it makes, and what it says to misuse."""

import ctypes
import shutil
import threading
from collections.abc import Callable
from ctypes import byref, c_float, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image as Pictures

from trtswap.packs import find_pack, sample_sources
from trtswap.video.opening import open_reader

from ..export.embed.running import Graphs
from .library import (
    ABI,
    ARGUMENT,
    CANCELLED,
    FOLDER,
    NO_FACE,
    RUNTIME,
    Description,
    Face,
    Failed,
    Library,
    Log,
    Options,
    Progress,
    StreamOptions,
    image,
)  # fmt: skip

CLIP = find_pack("avatar") / "samples" / "clip.mp4"


@pytest.fixture(scope="module")
def graphs(library: Library, embedded: Path) -> c_void_p:
    return library.opened(embedded, threads=1)


@pytest.fixture(scope="module")
def source() -> NDArray[np.uint8]:
    return np.asarray(Pictures.open(sample_sources("avatar")[0]).convert("RGB")).copy()


@pytest.fixture(scope="module")
def frames() -> list[NDArray[np.uint8]]:
    """Of the clip, the first and one with two faces: uint8 RGB [720, 1280, 3]."""
    with open_reader(CLIP, batch=1) as reader:
        return [frame.rgb(0).numpy() for i, frame in enumerate(reader) if i in (0, 24)]


@pytest.fixture(scope="module")
def person(library: Library, graphs: c_void_p, source: NDArray[np.uint8]) -> c_void_p:
    return library.person(graphs, source)


def test_frames_are_those_of_the_graphs(
    library: Library, graphs: c_void_p, embedded: Path, frames: list[NDArray[np.uint8]]
) -> None:
    python = Graphs(embedded)
    who = c_void_p()
    first = library.found(graphs, image(frames[0]))[0]
    library.person_of_face(graphs, byref(image(frames[0])), byref(first), byref(who))
    found = python.run("find", frames=frames[0][None])
    latents = python.run("identify", frames=frames[0][None], **{n: found[n][:, :1] for n in ("landmarks", "points")})
    for frame, count in zip(frames, (1, 2), strict=True):
        faces, made = library.found(graphs, image(frame)), np.zeros_like(frame)
        assert len(faces) == count
        library.swapped(graphs, image(frame), image(made), faces, [who] * count)
        found = python.run("find", frames=frame[None])
        wanted = python.run(
            "swap", frames=frame[None], landmarks=found["landmarks"][:, :count], points=found["points"][:, :count],
            latents=np.tile(latents["latents"], (1, count, 1)), strengths=np.ones((1, count), np.float32),
            window=np.zeros(int(found["sides"].max()), np.float32),
        )["swapped_frames"][0]  # fmt: skip
        assert (made == wanted).all()
        assert (made != frame).any()


def test_planes_are_those_of_the_graphs(library: Library, embedded_planes: Path, source: NDArray[np.uint8]) -> None:
    python, graphs = Graphs(embedded_planes), library.opened(embedded_planes, threads=1)
    who = library.person(graphs, source)
    with open_reader(CLIP, batch=1) as reader:
        y, u, v = (plane[0].numpy().copy() for plane in next(iter(reader)).planes)
    uv = np.stack([u, v], -1)
    frame = image(y, uv.reshape(360, 1280), width=1280, height=720)
    (face,) = library.found(graphs, frame)
    found = python.run("find", y=y[None], uv=uv[None])
    np.testing.assert_array_equal(np.array(face.landmarks), found["landmarks"][0, 0])
    made = [np.zeros_like(y), np.zeros_like(uv)]
    library.swapped(graphs, frame, image(made[0], made[1].reshape(360, 1280), width=1280, height=720), [face], [who])
    assert (made[0] != y).any()
    assert (made[1] != uv).any()
    outside = np.abs(np.argwhere(made[0] != y) - np.array(face.landmarks)[2, ::-1]).max()
    assert outside < 1.2 * face.side


def test_rows_may_have_gaps_and_the_output_may_be_the_input(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    frame, plain = frames[0], np.zeros_like(frames[0])
    faces = library.found(graphs, image(frame))
    library.swapped(graphs, image(frame), image(plain), faces, [person])
    wide = np.full((720, 1300, 3), 77, np.uint8)
    wide[:, :1280] = frame
    part = wide[:, :1280]
    assert [list(f.box) for f in library.found(graphs, image(part))] == [list(f.box) for f in faces]
    library.swapped(graphs, image(part), image(part), faces, [person])
    assert (part == plain).all()
    assert (wide[:, 1280:] == 77).all()


def test_nobody_and_no_strength_leave_frames_alone(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    faces = library.found(graphs, image(frames[1]))
    for persons, strengths in (([None, None], None), ([person, person], [0.0, 0.0]), ([], None)):
        made = np.zeros_like(frames[1])
        library.swapped(graphs, image(frames[1]), image(made), faces[: len(persons)], persons, strengths)
        assert (made == frames[1]).all()


def test_persons_are_told_apart(library: Library, graphs: c_void_p, source: NDArray[np.uint8]) -> None:
    other = np.asarray(Pictures.open(sample_sources("avatar")[1]).convert("RGB")).copy()
    half = np.asarray(Pictures.fromarray(source).resize((300, 300))).copy()
    one, same, another = (library.person(graphs, picture) for picture in (source, half, other))
    both = library.person(graphs, source, half)
    cosine = c_float()

    def alike(a: c_void_p, b: c_void_p) -> float:
        library.person_similarity(a, b, byref(cosine))
        return cosine.value

    assert alike(one, one) == pytest.approx(1, abs=1e-5)
    assert alike(one, same) > 0.9
    assert alike(one, both) > alike(one, same) - 1e-4
    assert alike(one, another) < 0.7
    for handle in (one, same, another, both):
        library.person_close(handle)


def test_a_folder_is_described(library: Library, graphs: c_void_p) -> None:
    about = Description()
    library.describe(graphs, byref(about))
    assert (about.width, about.height, about.slots, about.window) == (1280, 720, 2, 0)
    assert (about.pack, about.provider) == (b"avatar", b"cpu")
    assert about.similarity == pytest.approx(0.7)


def test_eight_threads_share_a_handle(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    faces = library.found(graphs, image(frames[0]))
    made = [np.zeros_like(frames[0]) for _ in range(8)]
    threads = [
        threading.Thread(target=library.swapped, args=(graphs, image(frames[0]), image(out), faces, [person]))
        for out in made
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((out == made[0]).all() for out in made)


def test_running_calls_can_be_cancelled(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    faces, status, over = library.found(graphs, image(frames[1])), list[int](), threading.Event()

    def work() -> None:
        made = np.zeros_like(frames[1])
        while not status and not over.is_set():
            try:
                library.swapped(graphs, image(frames[1]), image(made), faces, [person] * 2)
            except Failed as failed:
                status.append(failed.status)

    thread = threading.Thread(target=work)
    thread.start()
    for _ in range(200):
        thread.join(0.02)
        if not thread.is_alive():
            break
        library.cancel(graphs)
    over.set()
    thread.join()
    assert status == [CANCELLED]
    assert library.found(graphs, image(frames[0]))  # later calls run


def test_opening_tells_its_progress_and_can_be_stopped(library: Library, embedded: Path) -> None:
    seen: list[tuple[int, int, bytes]] = []
    tell = Progress(lambda _, done, of, what: seen.append((done, of, what)) or 0)
    graphs = library.opened(embedded, progress=tell)
    assert seen == [(1, 3, b"find"), (2, 3, b"identify"), (3, 3, b"swap")]
    library.close(graphs)
    with pytest.raises(Failed, match="cancelled") as failed:
        library.opened(embedded, progress=Progress(lambda *_: 1))
    assert failed.value.status == CANCELLED


def test_providers_are_tried_in_order_and_only_those(library: Library, embedded: Path) -> None:
    names = (ctypes.c_char_p * 2)(b"nothing", b"cpu")
    lines: list[bytes] = []
    log = Log(lambda _user, _level, message: lines.append(message))
    graphs = library.opened(embedded, providers=names, provider_count=2, log=log)
    about = Description()
    library.describe(graphs, byref(about))
    assert about.provider == b"cpu"
    library.close(graphs)
    with pytest.raises(Failed, match="no provider opens the graphs: nothing") as failed:
        library.opened(embedded, providers=names, provider_count=1)
    assert failed.value.status == RUNTIME


Misuse = Callable[[Library, c_void_p, NDArray[np.uint8]], Any]


def _swap(library: Library, graphs: c_void_p, frame: NDArray[np.uint8], count: int, **other: Any) -> None:
    given = {
        "input": byref(image(frame)),
        "output": byref(image(frame)),
        "faces": (Face * 3)(),
        "persons": (c_void_p * 3)(),
    }
    given |= other
    library.swap(graphs, given["input"], given["output"], given["faces"], given["persons"], None, c_size_t(count))


def sized(frame: NDArray[np.uint8], **other: Any) -> Any:
    made = image(frame)
    for name, value in other.items():
        setattr(made, name, value)
    return byref(made)


MISUSE: dict[str, tuple[str, Misuse]] = {
    "no graphs": ("graphs is NULL", lambda c, g, f: c.close(None)),
    "no handle": ("graphs is closed, or was never open", lambda c, g, f: c.close(c_void_p(4096))),
    "another interface": (
        "abi is 9, but this library has 1", lambda c, g, f: c.open(c_uint32(9), b"x", None, byref(c_void_p()))
    ),
    "no folder": ("folder is NULL", lambda c, g, f: c.open(c_uint32(ABI), None, None, byref(c_void_p()))),
    "no place": ("graphs is NULL", lambda c, g, f: c.open(c_uint32(ABI), b"x", None, None)),
    "options of no size": (
        "options.struct_size is 0",
        lambda c, g, f: c.open(c_uint32(ABI), b"x", byref(Options(struct_size=0)), byref(c_void_p())),
    ),
    "threads": ("options.threads is -1", lambda c, g, f: c.opened(Path("x"), threads=-1)),
    "no frame": ("frame is NULL", lambda c, g, f: c.find(g, None, None, c_size_t(0), byref(c_size_t()))),
    "a frame of no size": ("frame.struct_size is 0", lambda c, g, f: _find(c, g, sized(f, struct_size=0))),
    "width": ("frame is 1278x720, but the graphs take 1280x720", lambda c, g, f: _find(c, g, sized(f, width=1278))),
    "height": ("frame is 1280x0", lambda c, g, f: _find(c, g, sized(f, height=0))),
    "huge": ("frame is 2147483647x720", lambda c, g, f: _find(c, g, sized(f, width=2**31 - 1))),
    "stride": (
        r"frame.strides\[0\] is 3839, but a row has 3840 bytes",
        lambda c, g, f: _find(c, g, sized(f, strides=(c_size_t * 3)(3839))),
    ),
    "no plane": (r"frame.planes\[0\] is NULL", lambda c, g, f: _find(c, g, sized(f, planes=(c_void_p * 3)()))),
    "no faces": ("faces is NULL", lambda c, g, f: c.find(g, sized(f), None, c_size_t(1), byref(c_size_t()))),
    "no count": ("count is NULL", lambda c, g, f: c.find(g, sized(f), None, c_size_t(0), None)),
    "too many faces": ("count is 3, but the graphs have 2 slots", lambda c, g, f: _swap(c, g, f, 3)),
    "swap no faces": ("faces is NULL", lambda c, g, f: _swap(c, g, f, 1, faces=None)),
    "no persons": ("persons is NULL", lambda c, g, f: _swap(c, g, f, 1, persons=None)),
    "no output": ("output is NULL", lambda c, g, f: _swap(c, g, f, 1, output=None)),
    "closed person": (
        "persons is closed", lambda c, g, f: _swap(c, g, f, 1, persons=(c_void_p * 1)(4096))
    ),
    "no pictures": (
        "pictures is NULL", lambda c, g, f: c.person_of_pictures(g, None, c_size_t(1), byref(c_void_p()))
    ),
    "0 pictures": (
        "count is 0", lambda c, g, f: c.person_of_pictures(g, byref(image(f)), c_size_t(0), byref(c_void_p()))
    ),
    "steadiness": (
        "options.steadiness is 2",
        lambda c, g, f: c.stream_open(g, byref(StreamOptions(steadiness=2)), byref(c_void_p())),
    ),
    "no sources": (
        "options.sources is NULL",
        lambda c, g, f: c.stream_open(g, byref(StreamOptions(source_count=1)), byref(c_void_p())),
    ),
    "no stream": ("stream is NULL", lambda c, g, f: c.stream_cut(None)),
    "capacity": (
        "count is 2, but capacity is 1",
        lambda c, g, f: c.stream_track(_stream(c, g), (Face * 2)(), c_size_t(1), byref(c_size_t(2))),
    ),
}  # fmt: skip


def _find(library: Library, graphs: c_void_p, frame: Any) -> None:
    library.find(graphs, frame, (Face * 2)(), c_size_t(2), byref(c_size_t()))


def _stream(library: Library, graphs: c_void_p, **options: Any) -> c_void_p:
    stream = c_void_p()
    given = {"steadiness": -1, "min_face": -1, "similarity": -2, "hold": -1} | options
    library.stream_open(graphs, byref(StreamOptions(**given)), byref(stream))
    return stream


@pytest.mark.parametrize(("message", "misuse"), MISUSE.values(), ids=MISUSE)
def test_misuse_is_an_error_that_names_the_argument(
    library: Library, graphs: c_void_p, frames: list[NDArray[np.uint8]], message: str, misuse: Misuse
) -> None:
    with pytest.raises(Failed, match=message) as failed:
        misuse(library, graphs, frames[0].copy())
    assert failed.value.status == ARGUMENT


def test_handles_are_closed_once(library: Library, embedded: Path, frames: list[NDArray[np.uint8]]) -> None:
    graphs = library.opened(embedded)
    stream = _stream(library, graphs)
    library.close(graphs)
    for call in (lambda: library.close(graphs), lambda: library.found(graphs, image(frames[0]))):
        with pytest.raises(Failed, match="graphs is closed"):
            call()
    made = np.zeros_like(frames[0])  # what was made with the graphs goes on
    library.stream_swap(stream, byref(image(frames[0])), byref(image(made)), None, None)
    library.stream_close(stream)
    with pytest.raises(Failed, match="stream is closed"):
        library.stream_close(stream)


def test_pictures_without_faces_say_so(library: Library, graphs: c_void_p) -> None:
    with pytest.raises(Failed, match=r"pictures\[0\] shows no face") as failed:
        library.person(graphs, np.zeros((200, 300, 3), np.uint8))
    assert failed.value.status == NO_FACE


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        ("embed.json", None, "cannot be read"),
        ("embed.json", b"", "it ends"),
        ("embed.json", b"[" * 100000, "too deep"),
        ("embed.json", b'{"format": 7}', "another version"),
        ("embed.json", b'{"format": 1}', 'no "frames"'),
        ("embed.json", b'{"format": "\\u00e9"', "it ends"),
        ("swap.onnx", None, "cannot be read"),
        ("swap.onnx", b"no graph", "has 8 bytes, embed.json says"),
    ],
)
def test_damaged_folders_say_what_is_wrong(
    library: Library, embedded: Path, tmp_path: Path, name: str, damage: bytes | None, message: str
) -> None:
    folder = tmp_path / "graphs"
    shutil.copytree(embedded, folder)
    if damage is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(damage)
    with pytest.raises(Failed, match=message) as failed:
        library.opened(folder)
    assert failed.value.status == FOLDER


def test_a_folder_that_is_none(library: Library, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="Expected a folder that trtswap embed has written"):
        library.opened(tmp_path)


def test_a_graph_of_other_bytes_is_no_crash(library: Library, embedded: Path, tmp_path: Path) -> None:
    shutil.copytree(embedded, tmp_path / "graphs")
    graph = tmp_path / "graphs" / "find.onnx"
    graph.write_bytes(bytes(graph.stat().st_size))
    with pytest.raises(Failed) as failed:
        library.opened(tmp_path / "graphs")
    assert failed.value.status == RUNTIME


def test_memory_stays_where_folders_are_opened_again(library: Library, embedded: Path) -> None:
    def resident() -> float:
        return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20

    sizes = []
    for _ in range(12):
        library.close(library.opened(embedded, threads=1))
        sizes.append(resident())
    assert sizes[-1] - sizes[4] < 30


class Shaking:
    """A face whose landmarks are noisy, and move as they are told."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.base = np.array([[300, 300], [370, 300], [335, 340], [308, 380], [362, 380]], np.float32)

    def at(self, x: float, noise: float) -> Face:
        face = Face(score=0.9, side=320, track=-1)
        places = self.base + np.array([x, 0.0]) + self.random.normal(0, noise, (5, 2))
        places += self.random.normal(0, noise, 2)
        face.landmarks = (c_float * 2 * 5)(*(tuple(place) for place in places.astype(np.float32)))
        face.box = (c_float * 4)(*(places.min(0) - 40), *(places.max(0) + 40))
        return face


def tracked(library: Library, graphs: c_void_p, faces: list[Face], **options: Any) -> NDArray[np.float64]:
    """The nose's place, frame by frame."""
    stream, noses = _stream(library, graphs, **options), []
    for face in faces:
        given, count = (Face * 2)(face), c_size_t(1)
        library.stream_track(stream, given, c_size_t(2), byref(count))
        assert (count.value, given[0].track) == (1, 0)
        noses.append([given[0].landmarks[2][0], given[0].landmarks[2][1]])
    library.stream_close(stream)
    return np.array(noses)


def test_a_still_head_shakes_less(library: Library, graphs: c_void_p) -> None:
    faces = _shaking(300, lambda t: 0.0)
    found = np.array([[f.landmarks[2][0], f.landmarks[2][1]] for f in faces])
    steady = tracked(library, graphs, faces)
    shake = [np.abs(np.diff(places[50:], axis=0)).mean() for places in (steady, found)]
    assert shake[0] < 0.6 * shake[1]


@pytest.mark.parametrize("speed", [0.3, 1.0, 8.0])
def test_a_moving_head_is_not_left_behind(library: Library, graphs: c_void_p, speed: float) -> None:
    faces = _shaking(200, lambda t: speed * t)
    truth = 335 + speed * np.arange(200)
    steady = tracked(library, graphs, faces)
    behind = (truth - steady[:, 0])[50:].mean() / speed
    assert behind < 0.5


def _shaking(count: int, place: Callable[[int], float]) -> list[Face]:
    shaking = Shaking(7)
    return [shaking.at(place(t), 0.15) for t in range(count)]


def test_a_face_that_is_missed_stays_for_a_moment(library: Library, graphs: c_void_p) -> None:
    stream, seen = _stream(library, graphs, hold=2), []
    for there in (1, 1, 0, 0, 0, 1):
        given, count = (Face * 2)(Shaking(1).at(0, 0)), c_size_t(there)
        library.stream_track(stream, given, c_size_t(2), byref(count))
        seen.append([face.track for face in given[: count.value]])
    assert seen == [[0], [0], [0], [0], [], [1]]
    given, count = (Face * 2)(Shaking(1).at(0, 0)), c_size_t(1)
    library.stream_cut(stream)
    library.stream_track(stream, given, c_size_t(2), byref(count))
    assert given[0].track == 2  # nobody is followed into a new shot


def test_a_stream_gives_each_reference_its_source(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    """One of two people of a frame is wanted."""
    frame = frames[1]
    faces = library.found(graphs, image(frame))
    reference = c_void_p()
    library.person_of_face(graphs, byref(image(frame)), byref(faces[1]), byref(reference))
    stream = _stream(
        library, graphs, source_count=1,
        sources=(c_void_p * 1)(person.value), references=(c_void_p * 1)(reference.value),
    )  # fmt: skip
    made, shown, count = np.zeros_like(frame), (Face * 2)(), c_size_t()
    library.stream_swap(stream, byref(image(frame)), byref(image(made)), shown, byref(count))
    assert count.value == 2
    places = np.argwhere((made != frame).any(-1)).mean(0)[::-1]
    near = [float(np.abs(np.array(face.landmarks).mean(0) - places).max()) for face in faces]
    assert near[1] < 60 < near[0]
    library.stream_close(stream)


def test_what_streams_show_is_what_single_frames_are_without_steadiness(
    library: Library, graphs: c_void_p, person: c_void_p, frames: list[NDArray[np.uint8]]
) -> None:
    stream = _stream(library, graphs, source_count=1, sources=(c_void_p * 1)(person.value), steadiness=0, min_face=0)
    for frame in frames:
        made, wanted = np.zeros_like(frame), np.zeros_like(frame)
        library.stream_swap(stream, byref(image(frame)), byref(image(made)), None, None)
        faces = library.found(graphs, image(frame))
        library.swapped(graphs, image(frame), image(wanted), faces, [person] * len(faces))
        assert np.abs(made.astype(int) - wanted).max() <= 1  # the window is a little larger
    library.stream_close(stream)

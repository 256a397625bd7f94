"""The Python API on real pictures."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import torch
from PIL import Image

from trtswap import (
    Faces,
    Frames,
    Identity,
    InputError,
    Observer,
    PackError,
    RuntimeOptions,
    SourceError,
    SwapOptions,
    Swapper,
)
from trtswap.faces.largest import largest
from trtswap.pictures.arrays import read_image
from trtswap.session.observers import Summary


@pytest.fixture(scope="module")
def swapper(paste_pack: Path) -> Iterator[Swapper]:
    with Swapper(paste_pack, backend="onnxruntime", device="cpu") as opened:
        yield opened


@pytest.fixture(scope="module")
def astronaut(data: Path) -> torch.Tensor:
    return read_image(data / "astronaut.png")


@pytest.fixture(scope="module")
def presenter(data: Path) -> torch.Tensor:
    with av.open(str(data / "presenter.mp4")) as container:
        frame = next(container.decode(video=0))
        return torch.from_numpy(frame.to_ndarray(format="rgb24")[:600, 600:1300].copy())


@pytest.fixture(scope="module")
def both(astronaut: torch.Tensor, presenter: torch.Tensor) -> torch.Tensor:
    """The two people in one picture, the astronaut left."""
    picture = torch.zeros(600, 1212, 3, dtype=torch.uint8)
    picture[: astronaut.shape[0], : astronaut.shape[1]] = astronaut
    picture[:, 512:] = presenter
    return picture


def test_an_identity_is_a_unit_vector_and_an_average_too(swapper: Swapper, astronaut: torch.Tensor) -> None:
    one = swapper.identity(astronaut)
    other = swapper.identity(astronaut.flip(1))
    mean = swapper.identity(astronaut, astronaut.flip(1))
    for identity in (one, other, mean):
        assert float(identity.latent.norm()) == pytest.approx(1, abs=1e-5)
    expected = torch.nn.functional.normalize(one.latent + other.latent, dim=0)
    torch.testing.assert_close(mean.latent, expected)


def test_identity_by_path_names_its_picture(swapper: Swapper, data: Path, astronaut: torch.Tensor) -> None:
    identity = swapper.identity(data / "astronaut.png")
    assert identity.names == (str(data / "astronaut.png"),)
    torch.testing.assert_close(identity.latent, swapper.identity(astronaut).latent)


def test_identity_takes_arrays_that_lie_in_any_way(swapper: Swapper, data: Path, astronaut: torch.Tensor) -> None:
    wanted = swapper.identity(astronaut).latent
    turned = astronaut.numpy()[:, :, ::-1].copy()[:, :, ::-1]
    for picture in (turned, Image.open(data / "astronaut.png")):
        assert torch.equal(swapper.identity(picture).latent, wanted)


def test_a_close_up_is_found(swapper: Swapper, astronaut: torch.Tensor) -> None:
    close = torch.nn.functional.interpolate(
        astronaut[30:200, 140:300].permute(2, 0, 1)[None].float(), scale_factor=8, mode="bicubic"
    )
    swapper.identity(close[0].clamp(0, 255).round().byte().permute(1, 2, 0))


def test_source_errors_name_the_picture_and_the_way_out(swapper: Swapper, both: torch.Tensor) -> None:
    with pytest.raises(SourceError, match=r"No face was found in picture 2"):
        swapper.identity(both[:, :512], torch.zeros(64, 64, 3, dtype=torch.uint8))
    with pytest.raises(SourceError, match=r"picture 1 shows 2 faces.*--source-face"):
        swapper.identity(both)
    with pytest.raises(SourceError, match="2 faces; number 2 does not exist"):
        swapper.identity(both, pick=2)
    with pytest.raises(InputError, match="no picture"):
        swapper.identity()
    with pytest.raises(InputError, match="'only', 'largest' or a number"):
        swapper.identity(both, pick="best")


def test_pick_counts_from_the_left(swapper: Swapper, both: torch.Tensor, astronaut: torch.Tensor) -> None:
    left, right = swapper.identity(both, pick=0), swapper.identity(both, pick=1)
    alone = swapper.identity(astronaut).latent
    assert float(left.latent @ alone) > 0.97
    assert float(right.latent @ alone) < 0.8
    assert float(swapper.identity(both, pick="largest").latent @ right.latent) > 0.99


def test_swap_takes_and_gives_arrays_and_leaves_the_input_alone(
    swapper: Swapper, astronaut: torch.Tensor, presenter: torch.Tensor
) -> None:
    who = swapper.identity(astronaut)
    before = presenter.clone()
    out = swapper.swap(presenter[None], who)
    assert isinstance(out, torch.Tensor)
    assert out.shape == (1, *presenter.shape)
    assert out.dtype == torch.uint8
    assert torch.equal(presenter, before)
    changed = (out[0] != presenter).any(-1)
    assert 0.01 < float(changed.float().mean()) < 0.3
    array = swapper.swap(presenter[None].numpy(), who)
    assert isinstance(array, np.ndarray)
    np.testing.assert_array_equal(array, out.numpy())


def test_swap_with_several_frames_and_no_face(
    swapper: Swapper, astronaut: torch.Tensor, presenter: torch.Tensor
) -> None:
    who = swapper.identity(astronaut)
    batch = torch.stack([torch.zeros_like(presenter), presenter, presenter])
    out = swapper.swap(batch, who)
    assert torch.equal(out[0], batch[0])
    assert torch.equal(out[1], out[2])
    assert (out[1].int() - swapper.swap(presenter[None], who)[0].int()).abs().max() <= 1


@pytest.mark.parametrize("bad", [np.zeros((4, 4, 3), np.uint8), np.zeros((1, 4, 4, 3), np.float32), "picture.png"])
def test_swap_refuses_other_arrays(swapper: Swapper, astronaut: torch.Tensor, bad: object) -> None:
    with pytest.raises(InputError):
        swapper.swap(bad, swapper.identity(astronaut))


@pytest.fixture(scope="module")
def choosing(paste_pack: Path) -> Iterator[Swapper]:
    with Swapper(
        paste_pack, backend="onnxruntime", device="cpu", options=SwapOptions(similarity=0.9)
    ) as opened:  # thumbnails of one picture are equal
        yield opened


def test_references_decide_who_is_swapped(choosing: Swapper, both: torch.Tensor, astronaut: torch.Tensor) -> None:
    """Only the right one of the two is changed when it is the reference; with two pairs each gets its own."""
    swapper = choosing
    left, right = swapper.identity(both, pick=0), swapper.identity(both, pick=1)
    source = swapper.identity(astronaut.flip(1))
    out = swapper.swap(both[None], [(right, source)])[0]
    assert torch.equal(out[:, :512], both[:, :512])
    assert not torch.equal(out[:, 512:], both[:, 512:])
    exchanged = swapper.swap(both[None], [(right, left), (left, right)])[0]
    assert not torch.equal(exchanged[:, :512], both[:, :512])
    one_way = swapper.swap(both[None], [(right, left)])[0]
    assert (exchanged[:, 512:].int() - one_way[:, 512:].int()).abs().max() <= 1


def test_a_pack_that_cannot_tell_people_apart_takes_no_references(swapper: Swapper, both: torch.Tensor) -> None:
    left, right = swapper.identity(both, pick=0), swapper.identity(both, pick=1)
    with pytest.raises(InputError, match=r"pack paste cannot tell people apart"):
        swapper.swap(both[None], [(right, left)])


def test_similarity_threshold_is_kept(paste_pack: Path, both: torch.Tensor) -> None:
    with Swapper(paste_pack, device="cpu", backend="onnxruntime", options=SwapOptions(similarity=1.0)) as strict:
        stranger = strict.identity(both[:, :512])
        flipped = Identity(-stranger.latent)
        assert torch.equal(strict.swap(both[None], [(flipped, stranger)])[0], both)


def test_the_largest_face_only(paste_pack: Path, both: torch.Tensor, astronaut: torch.Tensor) -> None:
    options = SwapOptions(faces="largest")
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", options=options) as one:
        out = one.swap(both[None], one.identity(astronaut))[0]
    assert torch.equal(out[:, :512], both[:, :512])
    assert not torch.equal(out[:, 512:], both[:, 512:])


def test_largest_is_taken_per_frame() -> None:
    sizes = torch.tensor([10.0, 30, 20, 5, 7])
    box = torch.stack([sizes * 0, sizes * 0, sizes, sizes], 1)
    faces = Faces(torch.tensor([0, 0, 0, 2, 2]), box, torch.zeros(5, 5, 2), sizes, torch.arange(5))
    assert largest(faces).track.tolist() == [1, 4]


def test_an_identity_of_another_pack_is_refused(swapper: Swapper, presenter: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"latent of 512 numbers.*37632"):
        swapper.swap(presenter[None], Identity(torch.zeros(512)))
    own = swapper.identity(presenter)
    assert (own.pack, own.graph) == ("paste", swapper.pack.stages["identify"].sha256)
    other = replace(own, pack="simswap-224", graph="0" * 64)
    for who in (other, [(own, other)], [(other, own)]):
        with pytest.raises(InputError, match=r"picture 1 was made by .* pack simswap-224 \(0{12}…\), pack paste has"):
            swapper.swap(presenter[None], who)


def test_nobody_is_no_identity(swapper: Swapper, presenter: torch.Tensor, data: Path, tmp_path: Path) -> None:
    """A lookup that found nothing would otherwise publish the face that was to be hidden."""
    for call in (
        lambda: swapper.swap(presenter, None),  # type: ignore[arg-type]
        lambda: swapper.swap_picture(data / "astronaut.png", tmp_path / "a.png", None),  # type: ignore[arg-type]
        lambda: swapper.swap_video(data / "presenter.mp4", tmp_path / "a.mp4", None),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=r"who is None; expected an Identity or pairs of \(reference, source\)"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_options_are_checked() -> None:
    for bad in ({"faces": "some"}, {"restore_weight": 1.5}, {"smooth": -1}, {"similarity": 2}):
        with pytest.raises(InputError, match=next(iter(bad))):
            SwapOptions(**bad)  # type: ignore[arg-type]
    for wrong in ({"batch": 0}, {"face_batch": 0}, {"workers": 0}, {"threads": 0}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            RuntimeOptions(**wrong)


def test_faces_that_are_left_alone_are_no_missing_faces(swapper: Swapper, data: Path, tmp_path: Path) -> None:
    who = swapper.identity(data / "astronaut.png")
    options, video = SwapOptions(min_face=2000), data / "presenter.mp4"
    result = swapper.swap_video(video, tmp_path / "out.mp4", who, end=0.1, options=options, preset="ultrafast")
    assert result.faces_per_frame == (0, 0, 0)
    assert [w for w in result.warnings if "each is smaller than 2000 pixels" in w]


def test_an_observer_is_told_of_the_stages_of_pictures(swapper: Swapper, astronaut: torch.Tensor) -> None:
    told: list[str] = []

    class Tell(Observer):
        def stage(self, name: str) -> None:
            told.append(name)

    swapper.swap(astronaut[None], swapper.identity(astronaut), observers=[Tell()])
    assert {"detect", "swap", "paste"} <= set(told)


def test_an_observer_can_stop_a_swap(swapper: Swapper, data: Path, tmp_path: Path) -> None:
    class Stop(Observer):
        def before(self, first_frame: int, frames: Frames, faces: Faces) -> None:
            raise KeyboardInterrupt

    who = swapper.identity(data / "astronaut.png")
    with pytest.raises(KeyboardInterrupt):
        swapper.swap_video(data / "presenter.mp4", tmp_path / "out.mp4", who, observers=[Stop()])
    assert list(tmp_path.iterdir()) == []


def looped(data: Path, path: Path, frames: int) -> Path:
    """presenter.mp4 at 320 x 180, over and over."""
    with av.open(str(data / "presenter.mp4")) as source:
        pictures = [f.reformat(320, 180) for _, f in zip(range(40), source.decode(video=0), strict=False)]
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for i in range(frames):
            picture = pictures[i % 40]
            picture.pts, picture.time_base = i, Fraction(1, 25)
            out.mux(stream.encode(picture))
        out.mux(stream.encode())
    return path


def test_damage_is_reported_and_does_not_stop_a_swap(swapper: Swapper, data: Path, tmp_path: Path) -> None:
    clip = looped(data, tmp_path / "clip.mp4", 60)
    content = bytearray(clip.read_bytes())
    noise = np.random.default_rng(0)
    for start in range(len(content) // 4, len(content) // 2, 1500):
        content[start : start + 200] = noise.bytes(200)
    clip.write_bytes(content)
    result = swapper.swap_video(clip, tmp_path / "out.mp4", swapper.identity(data / "astronaut.png"))
    assert result.frames > 20
    assert any("The source is damaged" in warning for warning in result.warnings)


MEMORY_OF_TWO_SWAPS = """
import re, sys
from trtswap import Swapper
pack, source, *clips = sys.argv[1:]
with Swapper(pack, backend="onnxruntime", device="cpu") as swapper:
    who = swapper.identity(source)
    for clip in clips:
        swapper.swap_video(clip, clip + ".out.mp4", who, preset="ultrafast")
        # Not ru_maxrss, which begins with the peak of the process that started this one.
        print(int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1]) // 1024)
"""


def test_memory_does_not_grow_with_the_video(
    paste_pack: Path, data: Path, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Peak memory after 480 frames, when threads and pools have all they need, and after twice as many."""
    clips = [str(looped(data, tmp_path / f"{name}.mp4", 480)) for name in ("first", "second")]
    command = [sys.executable, "-P", "-c", MEMORY_OF_TWO_SWAPS, str(paste_pack), str(data / "astronaut.png"), *clips]
    out = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
    once, twice = map(int, out.stdout.split())
    record_property("peak memory", f"{once} MiB after 480 frames, {twice} MiB after 960")
    assert twice <= once * 1.1  # the allocator keeps up to 7 % more; canvases would be 1.4 GiB


def test_nobody_who_is_like_a_reference_is_told_with_both_cosines(swapper: Swapper, data: Path, tmp_path: Path) -> None:
    who = swapper.identity(data / "astronaut.png")
    nobody = Identity(-who.latent)
    options = SwapOptions(similarity=0.95)
    result = swapper.swap_video(
        data / "presenter.mp4", tmp_path / "out.mp4", [(nobody, who)], end=0.1, options=options, preset="ultrafast"
    )
    (said,) = [w for w in result.warnings if "none is like a reference" in w]
    assert re.search(r"the highest cosine is -?0\.\d\d, the same person has 0\.95 or more", said)
    kept: list[Summary] = []

    class Keep(Observer):
        def end(self, summary: Summary) -> None:
            kept.append(summary)

    picture = read_image(data / "astronaut.png")[None]
    swapper.swap(picture, [(nobody, who)], options=options, observers=[Keep()])
    swapper.swap(picture, who, observers=[Keep()])
    assert [(s.frames, s.faces_found, s.faces_swapped, s.faces_unsound) for s in kept] == [(1, 1, 0, 0), (1, 1, 1, 0)]
    assert kept[0].best_cosine == pytest.approx(-1, abs=1e-4)
    assert (kept[0].similarity, kept[1].similarity, kept[1].best_cosine) == (0.95, None, None)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"options": "x"}, InputError), ({"runtime": "x"}, InputError), ({"pack": 5}, PackError),
        ({"pack": "x" * 5000}, PackError), ({"pack": "x\0"}, PackError),
    ],
)  # fmt: skip
def test_a_swapper_of_wrong_things_is_refused_at_once(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Swapper(**arguments)


def test_a_small_face_in_a_large_frame_is_found_at_a_larger_search_size(
    swapper: Swapper, astronaut: torch.Tensor
) -> None:
    small = torch.nn.functional.interpolate(astronaut.permute(2, 0, 1)[None].float(), (144, 144), mode="area")
    frame = torch.full((1, 2160, 3840, 3), 100, dtype=torch.uint8)
    frame[0, 900:1044, 2000:2144] = small[0].round().to(torch.uint8).permute(1, 2, 0)
    assert not len(swapper.detect(frame))
    with Swapper(runtime=swapper.runtime, options=SwapOptions(search_size=1920)) as careful:
        faces = careful.detect(frame)
        assert len(faces) == 1
        assert 20 < float(faces.side) < 60
        centre = (faces.box[0, :2] + faces.box[0, 2:]) / 2
        assert 2040 < float(centre[0]) < 2100
    with pytest.raises(InputError, match="search_size is 9000, expected 64 to 8192"):
        SwapOptions(search_size=9000)

"""Pictures of every mode become what a viewer shows, and arrays become frames without a copy."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trtswap.errors import InputError, LimitError, SourceError
from trtswap.limits import Limits
from trtswap.pictures.arrays import frames_from_rgb, read_image
from trtswap.video.download import Download

from ..video.standin_cuda import CudaArray, on_host, plug_in

COLORS = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[10, 20, 30], [200, 100, 50], [90, 90, 90]]], np.uint8)


def test_rgb_png(tmp_path: Path) -> None:
    Image.fromarray(COLORS).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert np.array_equal(image.numpy(), COLORS)


# EXIF orientation -> what has to be done to the stored picture, by the standard's table.
TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", TURNS)
def test_convention_exif_orientation(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(COLORS).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png").numpy(), TURNS[orientation](COLORS))


def test_modes(tmp_path: Path) -> None:
    gray = np.array([[0, 100, 255]], np.uint8)
    deep = gray.astype(np.uint16) * 257
    alpha = np.array([[[0, 0, 0, 0], [200, 100, 50, 255], [0, 0, 0, 51]]], np.uint8)
    cases = {
        "gray.png": (Image.fromarray(gray), np.repeat(gray[..., None], 3, 2)),
        "deep.png": (Image.fromarray(deep), np.repeat(gray[..., None], 3, 2)),
        "alpha.png": (Image.fromarray(alpha), [[[255, 255, 255], [200, 100, 50], [204, 204, 204]]]),
        "palette.png": (Image.fromarray(COLORS).quantize(6), COLORS),
        "cmyk.tif": (Image.new("CMYK", (2, 1), (0, 255, 255, 0)), [[[255, 0, 0], [255, 0, 0]]]),
        "bits.png": (Image.fromarray(gray > 50), [[[0] * 3, [255] * 3, [255] * 3]]),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        assert np.array_equal(read_image(tmp_path / name).numpy(), expected), name


def test_animation_gives_its_first_picture(tmp_path: Path) -> None:
    first, second = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    first.save(tmp_path / "a.gif", save_all=True, append_images=[second])
    assert (read_image(tmp_path / "a.gif").numpy() == [255, 0, 0]).all()


def test_unreadable(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no picture")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    for path, message in (
        (tmp_path / "text.png", "not a picture that can be read"),
        (tmp_path / "missing.png", "no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "cut.png", "cannot be read: .*truncated"),
    ):
        with pytest.raises(SourceError, match=message):
            read_image(path)


def test_frames_are_views_of_the_array() -> None:
    array = np.stack([COLORS, COLORS[::-1]])
    frames = frames_from_rgb(array)
    assert np.array_equal(torch.stack(frames.planes, -1).numpy(), array)
    assert (frames.format.name, frames.display_size) == ("rgb24", (3, 2))
    frames.planes[1][1, 0, 2] = 77
    assert array[1, 0, 2, 1] == 77
    frames_from_rgb(array, copy=True).planes[1].zero_()
    assert array[1, 0, 2, 1] == 77


class Foreign:
    """Speaks DLPack and nothing else."""

    def __init__(self, tensor: torch.Tensor) -> None:
        self.__dlpack__, self.__dlpack_device__ = tensor.__dlpack__, tensor.__dlpack_device__


class Immutable:
    """Of the host, DLPack of version 1, marked as read-only."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = read_only(array)

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return (1, 0)


def read_only(array: np.ndarray) -> np.ndarray:
    array.flags.writeable = False
    return array


BATCH = np.stack([COLORS, 255 - COLORS])
# How memory may lie, always with the pixels of BATCH; True where frames are views of it.
LAYOUTS = {
    "array": (BATCH.copy, True),
    "steps": (lambda: BATCH.repeat(2, 2)[:, :, ::2], True),
    "planes": (lambda: np.ascontiguousarray(BATCH.transpose(3, 0, 1, 2)).transpose(1, 2, 3, 0), True),
    "columns first": (lambda: np.asfortranarray(BATCH), True),
    "inside": (lambda: np.pad(BATCH, ((1, 1), (2, 2), (3, 3), (0, 1)))[1:-1, 2:-2, 3:-3, :3], True),
    "BGR turned": (lambda: BATCH[..., ::-1].copy()[..., ::-1], False),
    "upside down": (lambda: BATCH[:, ::-1].copy()[:, ::-1], False),
    "read-only": (lambda: read_only(BATCH.copy()), False),
    "tensor": (lambda: torch.from_numpy(BATCH.copy()), True),
    "tensor of planes": (lambda: torch.from_numpy(BATCH.transpose(0, 3, 1, 2).copy()).permute(0, 2, 3, 1), True),
    "inference": (torch.inference_mode()(lambda: torch.from_numpy(BATCH.copy())), False),
    "DLPack": (lambda: Foreign(torch.from_numpy(BATCH.copy())), True),
    "immutable": (lambda: Immutable(BATCH.copy()), False),
    "list of arrays": (lambda: list(BATCH), False),
    "tuple of turned arrays": (lambda: tuple(BATCH[:, ::-1].copy()[:, ::-1]), False),
    "list of tensors": (lambda: list(torch.from_numpy(BATCH)), False),
    "list of PIL images": (lambda: [Image.fromarray(picture) for picture in BATCH], False),
    "mixed list": (lambda: [Image.fromarray(BATCH[0]), torch.from_numpy(BATCH[1])], False),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_that_lies_in_any_way(layout: str) -> None:
    make, is_view = LAYOUTS[layout]
    images = make()
    if not is_view:
        with pytest.raises(InputError, match="has to be copied, since "):
            frames_from_rgb(images, copy=False)
    frames = frames_from_rgb(images, copy=False if is_view else None)
    assert np.array_equal(torch.stack(frames.planes, -1).numpy(), BATCH)
    assert np.array_equal(frames.pictures().numpy(), BATCH)
    assert frames.pictures().data_ptr() == frames.planes[0].data_ptr()
    frames.planes[2][1, 0, 1] = 123  # as pasting does; a copy can be written, too
    assert frames.pictures()[1, 0, 1, 2] == 123
    if is_view:
        seen = torch.from_dlpack(images) if isinstance(images, Foreign) else images
        assert seen[1, 0, 1, 2] == 123


def test_pixels_that_share_memory_are_parted() -> None:
    for images in (torch.from_numpy(COLORS[:1, :1]).expand(2, 3, 3), np.broadcast_to(COLORS[:1, :1], (2, 3, 3))):
        with pytest.raises(InputError, match=r"(share their memory|is read-only)"):
            frames_from_rgb(images[None], copy=False)
        frames = frames_from_rgb(images[None])
        frames.planes[0][0, 0, 0] = 7
        assert frames.planes[0].unique().tolist() == [7, 255]


def test_pil_images_are_seen_upright_and_on_white(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(COLORS).save(tmp_path / "turned.png", exif=exif)
    clear = Image.fromarray(np.zeros((2, 3, 4), np.uint8))
    frames = frames_from_rgb([Image.open(tmp_path / "turned.png"), clear])
    assert np.array_equal(torch.stack(frames.planes, -1).numpy()[0], COLORS[::-1, ::-1])
    assert all(int(plane[1].min()) == 255 for plane in frames.planes)


def test_arrays_of_pycuda_stay_on_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = plug_in(monkeypatch)
    pixels = BATCH.repeat(2, 2)[:, :, ::2]
    frames = frames_from_rgb(CudaArray(pixels))
    assert frames.device.type == "cuda"
    assert np.array_equal(torch.stack([on_host(plane) for plane in frames.planes], -1).numpy(), BATCH)
    on_host(frames.planes[0])[0, 0, 0] = 99
    assert pixels[0, 0, 0, 0] == 99, "a copy, not a view"
    assert not gpu.current.queue, "waits for nobody"


def test_what_pycuda_has_queued_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = plug_in(monkeypatch)
    pixels = np.zeros_like(BATCH)
    gpu.foreign[1].add(lambda: pixels.__setitem__(..., BATCH))
    sent = Download.of(frames_from_rgb(CudaArray(pixels, stream=1)))
    assert np.array_equal(torch.stack(sent.wait().planes, -1).numpy(), BATCH)


@pytest.mark.parametrize("read_only", [False, True])
def test_arrays_of_cupy_are_asked_for_on_the_current_stream(read_only: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Which may be another library's: ``torch.cuda.ExternalStream``. It speaks both protocols."""
    gpu = plug_in(monkeypatch)
    asked: list[int] = []
    pixels = BATCH.copy()

    class OfCupy(CudaArray):
        __dlpack_device__ = staticmethod(lambda: (2, 0))

        def __dlpack__(self, *, stream: int, **_: object) -> Any:
            asked.append(stream)
            return self.array.__dlpack__()

    frames = frames_from_rgb(OfCupy(pixels, data=(0, read_only)))
    assert asked == [gpu.current.cuda_stream]
    frames.planes[0][0, 0, 0] = 99
    assert (pixels[0, 0, 0, 0] == 99) is not read_only


@pytest.mark.parametrize(
    ("interface", "words"),
    [
        ({"strides": (18, 9, -3, 1)}, "strides are negative"),
        ({"mask": object()}, "masked pixels"),
        ({"data": (0, True)}, "read only"),
        ({"typestr": "<f4", "strides": (72, 36, 12, 4)}, "images are float32"),
    ],
)
def test_wrong_arrays_of_pycuda(interface: dict[str, object], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plug_in(monkeypatch)
    array = np.zeros((2, 2, 3, 3), np.float32)
    with pytest.raises(InputError, match=words):
        frames_from_rgb(CudaArray(array, **interface))


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs PyTorch without a CUDA device")
def test_arrays_on_a_gpu_that_pytorch_has_not() -> None:
    class OnGpu:
        __dlpack_device__ = staticmethod(lambda: (2, 0))
        __dlpack__ = staticmethod(lambda **_: BATCH.__dlpack__())

    for images in (OnGpu(), CudaArray(BATCH)):
        with pytest.raises(InputError, match=r"that PyTorch does not take: .*CUDA"):
            frames_from_rgb(images)


class Refusing:
    __dlpack_device__ = staticmethod(lambda: (1, 0))

    def __dlpack__(self, **_: object) -> object:
        raise BufferError("it is lent to somebody else")


WRONG = {
    "one picture": (COLORS, "images are uint8 .2, 3, 3., expected"),
    "float": (COLORS[None].astype(np.float32), "images are float32"),
    "two channels": (COLORS[None, ..., :2], "expected uint8 RGB"),
    "four channels": (np.zeros((1, 2, 2, 4), np.uint8), "expected uint8 RGB"),
    "no pixels": (np.zeros((1, 0, 2, 3), np.uint8), "expected uint8 RGB"),
    "no picture": (BATCH[:0], "images are uint8 .0, 2, 3, 3., expected"),
    "big-endian": (COLORS[None].astype(">u2"), "PyTorch does not take: .*byte order"),
    "objects": (np.array([None]), "ndarray that PyTorch does not take"),
    "letters": (np.array(["a"]), "ndarray that PyTorch does not take"),
    "masked": (np.ma.masked_array(COLORS[None], mask=COLORS[None] > 100), "masked pixels have no colour"),
    "sparse": (torch.zeros(1, 2, 2, 3, dtype=torch.uint8).to_sparse(), "layout torch.sparse_coo"),
    "meta": (torch.zeros(1, 2, 2, 3, dtype=torch.uint8, device="meta"), "on meta"),
    "refusing": (Refusing(), "Refusing that PyTorch does not take: it is lent to somebody else"),
    "PIL image": (Image.fromarray(COLORS), "images are a Image, expected .* or a list of pictures"),
    "words": ("text", "images are a str, expected a tensor"),
    "bytes": (b"text", "images are a bytes, expected a tensor"),
    "nothing": (None, "images are a NoneType, expected a tensor"),
    "empty list": ([], "images are an empty list"),
    "list of numbers": ([1, 2], r"images\[0\] is a int, expected"),
    "list of lists": ([COLORS.tolist()], r"images\[0\] is a list, expected"),
    "list of batches": ([COLORS, COLORS[None]], r"images\[1\] is uint8 .1, 2, 3, 3., expected"),
    "list of sizes": ([COLORS, COLORS[:1]], "a list of .1, 3, 3. on cpu, .2, 3, 3. on cpu, expected one size"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_arrays(kind: str) -> None:
    images, words = WRONG[kind]
    with pytest.raises(InputError, match=words):
        frames_from_rgb(images)


def test_a_cut_off_pil_image_is_an_input_error(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "whole.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "whole.png").read_bytes()[:3000])
    with pytest.raises(InputError, match=r"images\[0\] is a PIL image that cannot be read: .*truncated"):
        frames_from_rgb([Image.open(tmp_path / "cut.png")])


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("made", [True, False])
def test_a_picture_starts_no_other_program(
    made: bool, tmp_path: Path, cases: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.png" if made else cases / "a02_eps_named.png"
    if made:
        path.write_bytes(POSTSCRIPT)
    started: list[object] = []
    monkeypatch.setattr("subprocess.Popen.__init__", lambda self, *args, **kwargs: started.append(args))
    with pytest.raises(SourceError, match="not a picture that can be read"):
        read_image(path)
    assert not started


@pytest.mark.parametrize("kind", ["avif", "webp", "jpg", "png", "tif", "gif", "jp2", "bmp", "tga", "ppm"])
def test_a_damaged_picture_is_a_source_error_or_is_read(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{kind}"
    Image.effect_noise((64, 48), 40).convert("RGB").save(path)
    assert read_image(path).shape == (48, 64, 3)
    whole, g = path.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(40):
        data = bytearray(whole[: g.integers(8, len(whole))])
        data[g.integers(0, len(data))] ^= 1 << g.integers(0, 8)
        path.write_bytes(data)
        try:
            assert read_image(path).shape[2] == 3
        except (SourceError, LimitError):
            refused += 1
    assert refused


@pytest.mark.filterwarnings("default::PIL.Image.DecompressionBombWarning")
def test_a_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (13_300, 13_300)).save(path)
    with pytest.raises(LimitError, match=r"has 176,890,000 pixels, more than the limit of 134,217,728"):
        read_image(path)
    assert read_image(save_small(tmp_path), limits=Limits(pixels=6)).shape == (2, 3, 3)
    with pytest.raises(LimitError, match="has 6 pixels, more than the limit of 5"):
        read_image(save_small(tmp_path), limits=Limits(pixels=5))


def test_what_pillow_calls_a_bomb_is_a_limit_too(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    Image.new("1", (14_000, 14_000)).save(path)
    with pytest.raises(LimitError, match="more pixels than Pillow takes"):
        read_image(path, limits=Limits(pixels=1e9))


def save_small(folder: Path) -> Path:
    Image.fromarray(COLORS).save(folder / "small.png")
    return folder / "small.png"


def test_a_pipe_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(SourceError, match="is a pipe"):
        read_image(tmp_path / "pipe.png")


@pytest.mark.parametrize("name", ["x" * 5000 + ".png", "a\0.png", "nothing.png/in.png"])
def test_names_that_no_file_system_takes(name: str, tmp_path: Path) -> None:
    with pytest.raises(SourceError):
        read_image(tmp_path / name)


def test_a_jpeg_that_paints_its_pixels_over_and_over_is_refused(tmp_path: Path) -> None:
    Image.new("L", (64, 64), 90).save(tmp_path / "a.jpg", progressive=True)
    data = (tmp_path / "a.jpg").read_bytes()
    scan = data[data.rindex(b"\xff\xda") : -2]
    assert read_image(tmp_path / "a.jpg").shape == (64, 64, 3)
    (tmp_path / "bomb.jpg").write_bytes(data[:-2] + scan * 200 + data[-2:])
    with pytest.raises(LimitError, match="has more than 100 scans"):
        read_image(tmp_path / "bomb.jpg")


def test_pictures_are_read_from_bytes_too(data: Path) -> None:
    path = data / "astronaut.png"
    assert read_image(path.read_bytes()).equal(read_image(path))
    with pytest.raises(SourceError, match="a picture of 5 bytes: not a picture that can be read"):
        read_image(b"hello")


def test_a_large_jpeg_2000_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    """Decoding one takes 100 bytes a pixel, with the interpreter held."""
    Image.new("RGB", (64, 64)).save(tmp_path / "a.jp2")
    data = (tmp_path / "a.jp2").read_bytes()
    # The size stands in the image header box (height, width) and in the codestream (width, height).
    (tmp_path / "b.jp2").write_bytes(data.replace((64).to_bytes(4, "big"), (9000).to_bytes(4, "big")))
    with pytest.raises(LimitError, match="has 81,000,000 pixels, as JPEG2000 at most 16,777,216"):
        read_image(tmp_path / "b.jp2")

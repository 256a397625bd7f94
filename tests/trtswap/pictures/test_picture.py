"""A picture's file taken apart and put together again: everything but the changed pixels is what it was."""

import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngInfo

from trtswap import InputError, Limits, SwapOptions, Swapper
from trtswap.cli.arguments import WRITTEN
from trtswap.errors import LimitError, SourceError, WriteError
from trtswap.files import Target
from trtswap.pictures.arrays import read_image
from trtswap.pictures.picture import Picture, read_picture
from trtswap.pictures.saving import SUFFIXES, fitted, save

RNG = np.random.default_rng(0)
RGB = RNG.integers(0, 256, (24, 32, 3), np.uint8)
ALPHA = RNG.integers(0, 256, (24, 32), np.uint8)
DEEP = RNG.integers(0, 65_536, (24, 32, 4), np.uint16)


def through_ffmpeg(path: Path, codec: str, name: str, pixels: np.ndarray) -> Path:
    """A file of 16 bits, which Pillow does not write."""
    frame = av.VideoFrame(32, 24, name)
    rows = np.frombuffer(memoryview(frame.planes[0]), ">u2" if name.endswith("be") else "<u2").reshape(24, -1)
    rows[:, : pixels[0].size] = pixels.reshape(24, -1)
    encoder = av.CodecContext.create(codec, "w")
    encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = 32, 24, name, 1
    path.write_bytes(b"".join(bytes(p) for p in (*encoder.encode(frame), *encoder.encode(None))))
    return path


def saved(image: Image.Image, **options: object) -> Callable[[Path], Path]:
    def make(path: Path) -> Path:
        image.save(path, **options)
        return path

    return make


SOURCES: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "rgb": ("png", saved(Image.fromarray(RGB))),
    "rgba": ("png", saved(Image.fromarray(np.dstack([RGB, ALPHA])))),
    "gray": ("png", saved(Image.fromarray(RGB[..., 0]))),
    "gray and alpha": ("png", saved(Image.fromarray(np.dstack([RGB[..., 0], ALPHA])))),
    "palette": ("png", saved(Image.fromarray(RGB).quantize(200))),
    "transparent palette": ("png", saved(Image.fromarray(RGB).quantize(200), transparency=3)),
    "one colour is transparent": ("png", saved(Image.fromarray(RGB), transparency=tuple(RGB[0, 0].tolist()))),
    "black and white": ("png", saved(Image.fromarray(RGB[..., 0] > 127))),
    "16-bit gray": ("png", saved(Image.fromarray(DEEP[..., 0]))),
    "16-bit gray and alpha": ("png", lambda p: through_ffmpeg(p, "png", "ya16be", DEEP[..., :2])),
    "16-bit rgb": ("png", lambda p: through_ffmpeg(p, "png", "rgb48be", DEEP[..., :3])),
    "16-bit rgba": ("png", lambda p: through_ffmpeg(p, "png", "rgba64be", DEEP)),
    "tiff": ("tif", saved(Image.fromarray(RGB), compression="tiff_lzw")),
    "tiff with alpha": ("tif", saved(Image.fromarray(np.dstack([RGB, ALPHA])))),
    "16-bit gray tiff": ("tif", saved(Image.fromarray(DEEP[..., 0]))),
    "16-bit rgb tiff": ("tif", lambda p: through_ffmpeg(p, "tiff", "rgb48le", DEEP[..., :3])),
    "bmp": ("bmp", saved(Image.fromarray(RGB))),
    "lossless webp": ("webp", saved(Image.fromarray(np.dstack([RGB, ALPHA])), lossless=True, exact=True)),
}


def again(picture: Picture, path: Path) -> Picture:
    """What is read from a file that a picture was written into."""
    save(fitted(picture, path), Target(path, source=None, overwrite=True))
    return read_picture(path)


@pytest.mark.parametrize("target", ["png", "tif"])
@pytest.mark.parametrize("name", SOURCES)
def test_pixels_are_kept_to_the_bit(name: str, target: str, tmp_path: Path) -> None:
    suffix, make = SOURCES[name]
    before = read_picture(make(tmp_path / f"a.{suffix}"))
    assert before.deep == name.startswith("16-bit")
    assert before.gray == (name.startswith(("gray", "16-bit gray", "black")))
    after = again(before.with_frames(before.frames()), tmp_path / f"b.{target}")
    samples = after.samples
    if before.gray and not after.gray:  # TIFF has no place for transparent gray of 16 bits
        assert (name, target) == ("16-bit gray and alpha", "tif")
        samples = samples[..., :1]
    assert np.array_equal(samples, before.samples)
    assert (after.alpha is None) == (before.alpha is None)
    assert after.alpha is None or np.array_equal(after.alpha, before.alpha)
    assert fitted(before, tmp_path / f"b.{target}").warnings == ()


@pytest.mark.parametrize("name", SOURCES)
def test_only_pixels_that_were_changed_change(name: str, tmp_path: Path) -> None:
    suffix, make = SOURCES[name]
    picture = read_picture(make(tmp_path / f"a.{suffix}"))
    frames = picture.frames()
    for plane in frames.planes:
        plane[:, 5:9, 5:9] = frames.format.peak // 2
    changed = picture.with_frames(frames)
    inside = np.zeros(picture.samples.shape[1:3], bool)
    inside[5:9, 5:9] = True
    assert np.array_equal(changed.samples[0][~inside], picture.samples[0][~inside])
    half = 32_766 if picture.deep else 127
    assert (np.abs(changed.samples[0][inside].astype(int) - half) <= 1).all()
    assert changed.alpha is picture.alpha


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_stays_and_faces_are_seen_upright(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "a.png", exif=exif)
    picture = read_picture(tmp_path / "a.png")
    upright = np.array(ImageOps.exif_transpose(Image.open(tmp_path / "a.png")))
    frames = picture.frames()
    assert frames.display_size == upright.shape[1::-1]
    y, x = np.mgrid[:24, :32]
    seen = np.einsum("ij,jhw->ihw", frames.to_display.numpy(), np.stack([x, y, np.ones_like(x)])).round().astype(int)
    assert np.array_equal(upright[seen[1], seen[0]], RGB)
    with Image.open(tmp_path / "a.png") as before:
        again(picture, tmp_path / "b.png")
        after = Image.open(tmp_path / "b.png")
        assert after.getexif().get(0x0112) == before.getexif().get(0x0112) == orientation


def test_what_a_png_says_is_kept(tmp_path: Path) -> None:
    words = PngInfo()
    words.add_text("Author", "somebody")
    words.add_itxt("Title", "Schöne Grüße", lang="de")
    words.add(b"gAMA", (45_455).to_bytes(4, "big"))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(RGB).save(tmp_path / "a.png", pnginfo=words, icc_profile=profile, dpi=(300, 300))
    again(read_picture(tmp_path / "a.png"), tmp_path / "b.png")
    with Image.open(tmp_path / "a.png") as before, Image.open(tmp_path / "b.png") as after:
        before.load(), after.load()
        assert after.info == before.info
        assert after.text == before.text


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "avif"])
def test_exif_is_kept_but_for_its_thumbnail(suffix: str, data: Path, tmp_path: Path) -> None:
    """A thumbnail shows the face that was swapped away."""
    exif = Image.Exif()
    exif[0x010F], exif[0x0132] = "Maker", "2026:01:02 03:04:05"
    exif.get_ifd(0x8769)[0x829A] = 0.5
    exif.get_ifd(0x8825)[1] = "N"
    small = BytesIO()
    Image.fromarray(RGB).save(small, "JPEG")
    path = tmp_path / "a.jpg"
    Image.fromarray(RGB).save(path, exif=_with_thumbnail(exif, small.getvalue()), dpi=(240, 240), comment=b"words")
    with Image.open(path) as before:
        assert before.getexif().get_ifd(0x0201) is not None
        assert small.getvalue()[:50] in path.read_bytes()
    again(read_picture(path), tmp_path / f"b.{suffix}")
    found = Image.open(tmp_path / f"b.{suffix}")
    assert (found.getexif()[0x010F], found.getexif()[0x0132]) == ("Maker", "2026:01:02 03:04:05")
    assert float(found.getexif().get_ifd(0x8769)[0x829A]) == 0.5
    assert found.getexif().get_ifd(0x8825)[1] == "N"
    assert small.getvalue()[2:] not in (tmp_path / f"b.{suffix}").read_bytes()
    if suffix in ("jpg", "png"):
        assert found.info["dpi"] == pytest.approx((240, 240), abs=0.01)
    if suffix == "jpg":
        assert found.info["comment"] == b"words"


def _with_thumbnail(exif: Image.Exif, jpeg: bytes) -> bytes:
    """EXIF with a second directory, which Pillow does not write: its entry points behind everything."""
    whole = bytearray(exif.tobytes()[6:])
    order = "little" if whole[:2] == b"II" else "big"
    first = int.from_bytes(whole[4:8], order)
    end = first + 2 + 12 * int.from_bytes(whole[first : first + 2], order)
    second = len(whole)
    whole[end : end + 4] = second.to_bytes(4, order)
    entries = ((0x0201, 4, 1, second + 2 + 24 + 4), (0x0202, 4, 1, len(jpeg)))
    whole += (2).to_bytes(2, order)
    for tag, kind, count, value in entries:
        whole += tag.to_bytes(2, order) + kind.to_bytes(2, order) + count.to_bytes(4, order) + value.to_bytes(4, order)
    return b"Exif\0\0" + bytes(whole) + bytes(4) + jpeg


@pytest.mark.parametrize("suffix", ["gif", "webp", "png", "avif"])
def test_an_animation_stays_one(suffix: str, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (32, 24), colour) for colour in ("red", "lime", "blue")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[50, 120, 200], loop=3)
    picture = read_picture(tmp_path / "a.gif")
    assert picture.frames().pts == (0, 50_000, 170_000)
    after = again(picture, tmp_path / f"b.{suffix}")
    assert after.about.durations == (50, 120, 200)
    assert suffix == "avif" or after.about.loop == 3
    assert np.abs(after.samples.astype(int) - picture.samples).max() <= (6 if suffix in ("webp", "avif") else 0)


def test_a_picture_apart_from_its_animation_stays_apart(tmp_path: Path) -> None:
    """An APNG's default image, for viewers that know no animations."""
    apart, *shown = (Image.new("RGB", (32, 24), colour) for colour in ("white", "red", "lime", "blue"))
    apart.save(
        tmp_path / "a.png", save_all=True, append_images=shown, duration=[50, 120, 200], loop=2, default_image=True
    )
    picture = read_picture(tmp_path / "a.png")
    assert picture.about.apart
    after = again(picture, tmp_path / "b.png")
    assert (after.about.apart, after.about.loop) == (True, 2)
    assert after.about.durations == picture.about.durations
    assert np.array_equal(after.samples, picture.samples)
    with Image.open(tmp_path / "a.png") as one, Image.open(tmp_path / "b.png") as other:
        assert one.n_frames == other.n_frames  # type: ignore[attr-defined]
    fit = fitted(picture, tmp_path / "b.gif")
    assert fit.warnings == ("the picture that the animation does not show is left out: GIF has none",)
    after = again(picture, tmp_path / "b.gif")
    assert after.about.durations == (50, 120, 200)
    assert np.array_equal(after.samples, picture.samples[1:])


@pytest.mark.parametrize("count", [1, 3])
def test_a_webp_without_loss_stays_so(count: int, tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (count, 24, 32, 3), dtype=np.uint8)
    first, *others = map(Image.fromarray, noise)
    moving = {"save_all": True, "append_images": others, "duration": 40} if others else {}
    first.save(tmp_path / "a.webp", lossless=True, **moving)
    after = again(read_picture(tmp_path / "a.webp"), tmp_path / "b.webp")
    assert after.about.lossless
    assert np.array_equal(after.samples, noise)
    first.save(tmp_path / "lossy.webp", quality=80, **moving)
    assert not read_picture(tmp_path / "lossy.webp").about.lossless


def test_a_picture_of_floating_point_says_what_became_of_it(tmp_path: Path) -> None:
    path = tmp_path / "f.tif"
    Image.fromarray(np.full((4, 4), 100.5, np.float32)).save(path)
    assert read_picture(path).warnings == (f"{path} is 32-bit floating point: it became 8 bits",)


def test_cmyk_goes_through_its_profile(cases: Path, tmp_path: Path) -> None:
    path = cases / "cmyk_icc.jpg"
    picture = read_picture(path)
    assert picture.warnings == (f"{path} is CMYK: its colours became sRGB",)
    with Image.open(path) as image:
        source = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
        wanted = np.array(ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB"))
        plain = np.array(image.convert("RGB")).astype(int)
    assert np.array_equal(picture.samples[0], wanted)
    assert np.abs(picture.samples[0] - plain).mean() > 10
    assert np.array_equal(read_image(path).numpy(), wanted)  # a source's picture, too
    again(picture, tmp_path / "b.jpg")
    with Image.open(tmp_path / "b.jpg") as after:
        profile = ImageCms.ImageCmsProfile(BytesIO(after.info["icc_profile"])).profile
        assert (after.mode, profile.xcolor_space.strip()) == ("RGB", "RGB")


@pytest.mark.parametrize(
    ("name", "target", "warning"),
    [
        ("rgba", "b.jpg", "transparency became white: JPEG has none"),
        ("16-bit rgb", "b.webp", "16 bits became 8: WEBP holds no more"),
    ],
)
def test_what_a_format_does_not_hold_is_said(name: str, target: str, warning: str, tmp_path: Path) -> None:
    suffix, make = SOURCES[name]
    picture = fitted(read_picture(make(tmp_path / f"a.{suffix}")), tmp_path / target)
    assert picture.warnings == (warning,)
    if name == "rgba":
        share = ALPHA[..., None] / 255
        assert np.abs(picture.samples[0] - (RGB * share + 255 * (1 - share))).max() <= 0.51
    else:
        assert np.abs(picture.samples[0] - DEEP[..., :3] / 257).max() <= 0.51


def test_an_animation_is_no_jpeg(cases: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="JPEG holds one picture, the source has 12"):
        fitted(read_picture(cases / "anim.gif"), tmp_path / "b.jpg")


def test_an_animation_is_held_to_the_limit_as_a_whole(cases: Path) -> None:
    assert len(read_picture(cases / "anim.gif", Limits(pixels=12 * 320 * 180)).samples) == 12
    with pytest.raises(LimitError):
        read_picture(cases / "anim.gif", Limits(pixels=12 * 320 * 180 - 1))


def test_targets_are_the_commands() -> None:
    assert frozenset(SUFFIXES) == WRITTEN


@pytest.mark.parametrize("name", ["p_alpha.png", "p_gray_icc.jpg", "cmyk_icc.jpg", "anim.gif"])
def test_faces_of_pictures_are_swapped(name: str, paste_pack: Path, cases: Path, data: Path, tmp_path: Path) -> None:
    target = tmp_path / name
    with Swapper(paste_pack, backend="onnxruntime", device="cpu", threads=2) as swapper:
        who = swapper.identity(data / "astronaut.png")
        options = SwapOptions(detect_threshold=0.5)
        result = swapper.swap_picture(cases / name, target, who, options=options)
        assert sum(result.faces_per_frame) >= 1
        assert len(result.faces_per_frame) == result.frames
        with pytest.raises(WriteError, match="exists"):
            swapper.swap_picture(cases / name, target, who)
        with pytest.raises(InputError, match="cannot write a picture as"):
            swapper.swap_picture(cases / name, tmp_path / "a.mp4", who)
        with pytest.raises(SourceError):
            swapper.swap_picture(cases / "tmcd.mov", tmp_path / "a.png", who)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    before, after = read_picture(cases / name), read_picture(target)
    assert (after.gray, after.samples.shape) == (before.gray, before.samples.shape)
    if name == "p_alpha.png":
        assert np.array_equal(after.alpha, before.alpha)
        same = (before.samples == after.samples).all(-1)[0]
        assert 0.3 < same.mean() < 0.95
        assert same[:20].all()


def test_pictures_of_several_sizes_are_refused(tmp_path: Path) -> None:
    """Pillow makes a GIF's canvas as large as a later picture says, whatever its header said."""
    pictures = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime")]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:])
    data = (tmp_path / "a.gif").read_bytes()
    place = data.rindex(b"\x2c\0\0\0\0\x0a\0\x0a\0")  # where the second one lies: left, top, width, height
    (tmp_path / "a.gif").write_bytes(data[: place + 5] + b"\x14\0\x14\0" + data[place + 9 :])
    with pytest.raises(SourceError, match="its pictures have several sizes, expected 10x10 throughout"):
        read_picture(tmp_path / "a.gif")


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "tif", "avif"])
def test_what_a_tiff_says_wrongly_is_left_out(suffix: str, tmp_path: Path) -> None:
    from PIL import TiffImagePlugin

    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[282], info[283], info[296] = TiffImagePlugin.IFDRational(0, 0), TiffImagePlugin.IFDRational(1, 1), 2
    info.tagtype[34675] = 2
    info[34675] = "no profile"
    Image.fromarray(RGB).save(tmp_path / "a.tif", tiffinfo=info)
    picture = read_picture(tmp_path / "a.tif")
    assert (picture.about.dpi, picture.about.profile) in ((None, None), (None, b"no profile"))
    assert np.abs(again(picture, tmp_path / f"b.{suffix}").samples.astype(int) - picture.samples).mean() < 60


@pytest.mark.parametrize("suffix", ["gif", "webp", "png"])
def test_times_beyond_all_are_bounded(suffix: str, tmp_path: Path) -> None:
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime")]
    pictures[0].save(tmp_path / "a.png", save_all=True, append_images=pictures[1:], duration=100, loop=3)
    data = (tmp_path / "a.png").read_bytes()
    control = data.index(b"acTL")
    frame = data.index(b"fcTL")
    for place, content in ((control + 8, b"\xff" * 4), (frame + 24, b"\xff\xff\x00\x01")):
        data = data[:place] + content + data[place + len(content) :]
    for place, size in ((control, 8), (frame, 26)):
        checksum = zlib.crc32(data[place : place + 4 + size]).to_bytes(4, "big")
        data = data[: place + 4 + size] + checksum + data[place + 8 + size :]
    (tmp_path / "a.png").write_bytes(data)
    picture = read_picture(tmp_path / "a.png")
    assert (picture.about.loop, picture.about.durations[0]) == (65_535, 600_000)
    again(picture, tmp_path / f"b.{suffix}")

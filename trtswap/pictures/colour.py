"""Colours of other kinds than RGB, through their ICC profile to sRGB."""

from io import BytesIO

from PIL import Image, ImageCms

_PROFILED = ("CMYK", "LAB", "YCbCr")


def as_srgb(image: Image.Image) -> Image.Image:
    """A picture of any mode as sRGB; by a plain conversion where there is no profile, or a damaged one."""
    profile = image.info.get("icc_profile")
    if profile and image.mode in _PROFILED:
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode="RGB")
        except (ImageCms.PyCMSError, OSError):  # a damaged profile, or one of another space
            converted = None
        if converted is not None:
            return converted
    if image.mode in ("RGBa", "La"):
        return image.convert("RGBA" if image.mode == "RGBa" else "LA").convert("RGB")
    return image.convert("RGB")


def srgb_profile() -> bytes:
    """The profile of what :func:`as_srgb` gives."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()

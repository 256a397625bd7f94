"""Quality, effort and a user's own settings as options of one encoder."""

from collections.abc import Mapping

from av.video.codeccontext import VideoCodecContext

from trtswap.errors import WriteError
from trtswap.pixels.color import ColorTags

PRESETS = ("ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow", "placebo")
# What x264's presets are to the others, from fastest to slowest.
_SVT_PRESETS = (12, 11, 10, 9, 8, 7, 5, 4, 3, 2)
_VPX_SPEEDS = (8, 7, 6, 5, 4, 3, 2, 1, 0, 0)
_NVENC_PRESETS = ("p1", "p1", "p2", "p3", "p4", "p4", "p5", "p6", "p7", "p7")
_PARAMS_OPTION = {"libx264": "x264-params", "libx265": "x265-params", "libsvtav1": "svtav1-params"}
# Any of these in a user's own options replaces the quality given by crf.
_RATE_CONTROL = ("crf", "qp", "cq", "b", "q", "qscale", "global_quality")


def encoder_options(
    context: VideoCodecContext,
    codec: str,
    *,
    crf: float,
    preset: str,
    params: list[str],
    options: Mapping[str, str],
    tags: ColorTags,
) -> dict[str, str]:
    """All options of an encoder.

    Args:
        params: ``key=value`` pairs for the encoder's own parameter list (``x265-params`` and the like).
        options: a user's options, which win.

    Raises:
        WriteError: the preset or one of ``options`` is unknown to the encoder.
    """
    known = context.supported_options
    names = {option.name for option in (*known.generic, *known.private)}
    for name in options:
        if name not in names:
            private = ", ".join(sorted(option.name for option in known.private))
            raise WriteError(f"encoder {codec} has no option '{name}'; beside FFmpeg's common ones it has {private}")
    merged = _quality(codec, crf, preset)
    if any(name in options for name in _RATE_CONTROL):
        merged = {name: value for name, value in merged.items() if name not in _RATE_CONTROL}
    if tags.chroma_location is not None:
        merged["chroma_sample_location"] = tags.chroma_location
    merged.update(options)
    if codec == "libx265":
        params = ["log-level=error", *params]  # x265 writes to stderr by itself
    if codec in _PARAMS_OPTION and params:
        own = _PARAMS_OPTION[codec]
        merged[own] = ":".join([*params, merged[own]] if own in merged else params)
    return merged


def _quality(codec: str, crf: float, preset: str) -> dict[str, str]:
    if preset not in PRESETS:
        raise WriteError(f"there is no preset '{preset}', expected one of {', '.join(PRESETS)}")
    effort = PRESETS.index(preset)
    if codec in ("libx264", "libx265"):
        return {"crf": f"{crf:g}", "preset": preset}
    if codec == "libsvtav1":
        return {"crf": f"{crf:g}", "preset": str(_SVT_PRESETS[effort])}
    if codec in ("libvpx-vp9", "libvpx"):
        return {"crf": f"{crf:g}", "b": "0", "cpu-used": str(_VPX_SPEEDS[effort]), "row-mt": "1"}
    if codec.endswith("_nvenc"):
        return {"rc": "vbr", "cq": f"{crf:g}", "preset": _NVENC_PRESETS[effort]}
    return {}

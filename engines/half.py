"""The pack in half precision that is compiled in place of an FP32 one."""

from pathlib import Path

from trtswap.errors import PackError
from trtswap.pack import Pack

TABLE = "calibration.json"


def half_pack(pack: Pack, folder: Path, *, table: Path | None = None, video: Path | None = None) -> Pack:
    """Convert a pack to float16 with float32 where its calibration says so.

    Args:
        pack: in FP32.
        folder: exists; the converted pack is written into it.
        table: calibration table; the one inside the pack where None.
        video: clip to measure ranges with, in place of a table.

    Raises:
        PackError: there is no table, or it does not belong to the pack.
    """
    file = table or pack.path / TABLE
    if video is None and not file.is_file():
        raise PackError(
            f"{file} does not exist: without measured ranges nobody knows which parts of pack {pack.name} have to stay in "
            "FP32. Give a table with --calibration FILE or a clip to measure them with --video CLIP, or build with "
            "--precision fp32, which is slower."
        )
    try:
        from trtswap import calibration  # noqa: PLC0415 - heavy, and an extra
    except ImportError as e:
        raise PackError(
            f'Conversion to FP16 needs the calibration tools: {e}. pip install "trtswap[tensorrt]", or build with '
            "--precision fp32."
        ) from e
    ranges = calibration.CalibrationTable.load(file) if video is None else calibration.calibrate(pack, video)
    return calibration.to_half(pack, ranges, folder / "half")

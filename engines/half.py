"""The pack in half precision that is compiled in place of an FP32 one."""

from pathlib import Path

from trtswap.errors import PackError
from trtswap.pack import Pack

TABLE = "calibration.json"


def half_pack(pack: Pack, table: Path | None, folder: Path) -> Pack:
    """Convert a pack to float16 with float32 where its calibration says so.

    Args:
        pack: in FP32.
        table: calibration table; the one inside the pack where None.
        folder: where the converted pack is written; must not exist, or be empty.

    Raises:
        PackError: there is no table, or it does not belong to the pack.
    """
    file = table or pack.path / TABLE
    if not file.is_file():
        raise PackError(
            f"{file} does not exist: without measured ranges nobody knows which parts of pack {pack.name} have to stay in "
            "FP32. Give a table with --calibration FILE or a clip to measure them with --video CLIP, or build with "
            "--precision fp32, which is slower."
        )
    try:
        from trtswap.calibration import CalibrationTable, to_half  # noqa: PLC0415 - heavy, and an extra
    except ImportError as e:
        raise PackError(
            f'Conversion to FP16 needs the calibration tools: {e}. pip install "trtswap[tensorrt]", or build with '
            "--precision fp32."
        ) from e
    return to_half(pack, CalibrationTable.load(file), folder / "half")

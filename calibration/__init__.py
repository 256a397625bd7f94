"""Calibration: which range the tensors of a pack have on real faces, and packs in lower precision made from that.

table = calibrate(pack, "clip.mp4")
table.save(pack.path / "calibration.json")
half = to_half(pack, table, Path("avatar-fp16"), held_out="clip.mp4")
"""

from trtswap.calibration.convert import half_stage, int8_stage, ruled_share, to_half, to_int8
from trtswap.calibration.measure import calibrate
from trtswap.calibration.table import FILE, CalibrationTable, TensorRange, pack_hash
from trtswap.export.closeness import TOLERANCES, Tolerance

__all__ = [
    "FILE",
    "TOLERANCES",
    "CalibrationTable",
    "TensorRange",
    "Tolerance",
    "calibrate",
    "half_stage",
    "int8_stage",
    "pack_hash",
    "ruled_share",
    "to_half",
    "to_int8",
]

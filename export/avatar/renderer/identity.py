"""Who it is: the shape of the head and face, skin, eyes and hair, as one table of parameters."""

from collections.abc import Sequence

import torch

from .parameters import Parameter, Values, sample

# Centimetres, or shares of 0..1, or factors about 1 or 0.
FACE = (
    Parameter("masculine", 0, 1),
    Parameter("age", 0, 1),
    Parameter("skull_width", 7.0, 7.9, 7.45, 0.2),
    Parameter("skull_height", 8.0, 9.2, 8.6, 0.25),
    Parameter("skull_depth", 9.0, 10.2, 9.6, 0.25),
    Parameter("forehead", -0.4, 0.5, 0.0, 0.2),
    Parameter("face_width", 5.7, 6.6, 6.1, 0.2),
    Parameter("face_length", -0.7, 0.8, 0.0, 0.3),
    Parameter("jaw_width", 4.5, 5.9, 5.1, 0.3),
    Parameter("jaw_corner", 0.8, 1.8, 1.2, 0.2),
    Parameter("chin_width", 1.2, 2.6, 1.8, 0.3),
    Parameter("chin_drop", -0.5, 0.7, 0.0, 0.25),
    Parameter("chin_forward", -0.6, 0.6, 0.0, 0.25),
    Parameter("chin_cleft", -1, 1, -0.3, 0.5),
    Parameter("cheekbone", -0.5, 0.6, 0.0, 0.25),
    Parameter("cheekbone_height", -0.5, 0.5, 0.0, 0.2),
    Parameter("cheek_fullness", -0.6, 0.7, 0.0, 0.3),
    Parameter("nose_length", -0.5, 0.5, 0.0, 0.15),
    Parameter("nose_projection", -0.5, 0.6, 0.0, 0.22),
    Parameter("nose_tip_turn", -0.35, 0.35, 0.0, 0.15),
    Parameter("nose_tip_size", 0.65, 1.0, 0.8, 0.08),
    Parameter("nose_width", 0.85, 1.5, 1.12, 0.14),
    Parameter("nostril_size", 0.8, 1.25, 1.0, 0.1),
    Parameter("bridge_width", 0.45, 0.8, 0.6, 0.07),
    Parameter("bridge_height", -0.5, 0.5, 0.0, 0.2),
    Parameter("nose_bump", -0.15, 0.3, 0.02, 0.1),
    Parameter("mouth_width", 2.2, 2.85, 2.5, 0.12),
    Parameter("mouth_height", -0.4, 0.4, 0.0, 0.12),
    Parameter("lip_upper", 0.26, 0.58, 0.38, 0.07),
    Parameter("lip_lower", 0.34, 0.68, 0.48, 0.07),
    Parameter("lip_forward", -0.2, 0.4, 0.05, 0.12),
    Parameter("cupid_bow", 0.0, 0.2, 0.09, 0.04),
    Parameter("eye_distance", 2.9, 3.4, 3.15, 0.09),
    Parameter("eye_height", -0.25, 0.25, 0.0, 0.1),
    Parameter("eye_width", 1.25, 1.65, 1.45, 0.08),
    Parameter("eye_opening", 0.8, 1.3, 1.0, 0.1),
    Parameter("eye_tilt", -0.12, 0.2, 0.05, 0.06),
    Parameter("eye_depth", -0.3, 0.35, 0.0, 0.14),
    Parameter("lid_fold", 0.0, 1.0),
    Parameter("brow_ridge", -0.2, 0.5, 0.1, 0.15),
    Parameter("brow_height", 1.6, 2.5, 2.0, 0.17),
    Parameter("brow_thickness", 0.2, 0.52, 0.34, 0.07),
    Parameter("brow_arch", 0.0, 0.6, 0.25, 0.13),
    Parameter("brow_slope", -0.1, 0.18, 0.03, 0.06),
    Parameter("brow_density", 0.55, 1.0),
    Parameter("ear_size", 0.8, 1.25, 1.0, 0.1),
    Parameter("ear_out", -0.25, 0.6, 0.1, 0.2),
    Parameter("neck_width", 4.2, 5.9, 4.9, 0.3),
    Parameter("melanin", 0, 1),
    Parameter("skin_warmth", -1, 1, 0, 0.5),
    Parameter("skin_redness", 0, 1, 0.4, 0.25),
    Parameter("skin_blotches", 0.2, 1.0),
    Parameter("skin_gloss", 0.15, 0.8, 0.42, 0.15),
    Parameter("freckles", -1, 1, -0.5, 0.7),
    Parameter("moles", 0, 1),
    Parameter("wrinkles", 0.2, 1),
    Parameter("lip_redness", 0.1, 1, 0.5, 0.25),
    Parameter("iris_hue", 0, 1),
    Parameter("iris_lightness", 0, 1),
    Parameter("iris_size", 0.54, 0.66, 0.6, 0.03),
    Parameter("beard", -1.0, 1.0),
    Parameter("moustache", -1.0, 1.0),
    Parameter("stubble", 0.0, 1.0),
    Parameter("texture_x", -50, 50),
    Parameter("texture_y", -50, 50),
)  # fmt: skip

HAIR = (
    Parameter("hair_volume", 0.35, 2.4, 1.0, 0.5),
    Parameter("hair_length", -1.0, 1.0),
    Parameter("hair_line", -0.8, 1.0, 0.0, 0.4),
    Parameter("hair_temples", 0.0, 1.0, 0.3, 0.25),
    Parameter("hair_fringe", -1.2, 1.0),
    Parameter("hair_part", -3.5, 3.5),
    Parameter("hair_curl", 0.0, 1.0),
    Parameter("hair_bald", 0.0, 1.0),
    Parameter("hair_darkness", 0.0, 1.0),
    Parameter("hair_red", 0.0, 1.0, 0.3, 0.25),
    Parameter("hair_grey", -1.5, 1.0),
    Parameter("hair_shine", 0.2, 1.0),
)

TABLE = FACE + HAIR

# How a masculine head differs from a feminine one.
MASCULINE = {
    "jaw_width": 0.5, "jaw_corner": 0.4, "chin_width": 0.4, "brow_thickness": 0.12, "brow_ridge": 0.3,
    "neck_width": 0.9, "lip_upper": -0.1, "lip_lower": -0.1, "brow_height": -0.3, "lip_redness": -0.4,
    "eye_opening": -0.12, "hair_length": -1.3, "nose_width": 0.15,
}  # fmt: skip


def sample_identity(seeds: Sequence[int]) -> Values:
    """Identities of the seeds. Traits that go together in people are drawn together: beards and short hair with
    masculine heads, dark hair and eyes with dark skin, grey hair and wrinkles with age."""
    v = sample(TABLE, seeds, "identity")
    masculine, age = v["masculine"], v["age"]
    tilt = masculine - 0.5
    limits = {p.name: p for p in TABLE}
    for name, amount in MASCULINE.items():
        v[name] = (v[name] + amount * tilt).clamp(limits[name].low, limits[name].high)
    for name in ("beard", "moustache"):
        v[name] = torch.where(masculine > 0.55, v[name], -1.0)
    v["stubble"] = v["stubble"] * (masculine > 0.5)
    v["hair_bald"] = v["hair_bald"] * (masculine > 0.6)
    v["hair_darkness"] = torch.maximum(v["hair_darkness"], (v["melanin"] * 1.8 - 0.4).clamp(0, 1))
    v["iris_lightness"] = v["iris_lightness"] * (1.3 - 1.6 * v["melanin"]).clamp(0, 1)
    v["hair_grey"] = (v["hair_grey"] + 1.2 * (age - 0.9)).clamp(0, 1)
    v["wrinkles"] = v["wrinkles"] * age
    return v

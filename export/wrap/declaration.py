"""How a foreign model wants and gives its tensors: said by whoever wraps it, never guessed from its family."""

import types
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from trtswap.errors import InputError
from trtswap.export.recipes import SIMILARITY
from trtswap.model.pack import AVERAGES
from trtswap.model.stages import STAGES, StageKind

WRAPPABLE = tuple(name for name in STAGES if name != "landmarks")
DECODERS = ("scrfd", "retinaface", "yunet", "yolo_face")
"""How detectors say where faces are; see :mod:`trtswap.export.wrap.decoders`."""

UNUSED = "unused"
ALL = "*"
Triple = tuple[float, float, float]
_CHOICES: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "stage": WRAPPABLE, "colour": ("rgb", "bgr"), "out_colour": ("rgb", "bgr"), "layout": ("nchw", "nhwc"),
        "decoder": (*DECODERS, ""), "average": (*AVERAGES, ""), "embeddings": ("raw", "unit"),
    }
)  # fmt: skip
_ONLY_OF: Mapping[str, tuple[str, ...]] = types.MappingProxyType(
    {
        "decoder": ("detect",), "max_faces": ("detect",), "average": ("encode",), "embeddings": ("encode",),
        "latents": ("swap",), "latent_matrix": ("swap",), "mask": ("swap",), "source_size": ("swap",),
        "source_template": ("swap",), "source_range": ("swap",), "fidelity": ("restore",), "classes": ("parse",),
    }
)  # fmt: skip
"""Keys that say something of one stage alone."""


@dataclass(frozen=True)
class Wrapping:
    """A foreign model and how it wants and gives its tensors.

    A pixel p of the contract (RGB, 0..1) reaches the model as ``(low + (high - low) p - mean) / std`` with ``range``
    = (low, high), its channels in the order ``colour``. Pictures and masks that models give come back the same way
    through ``out_mean``, ``out_std``, ``out_range`` and ``out_colour``, clamped to 0..1.

    Attributes:
        stage: one of ``WRAPPABLE``.
        model: the ONNX file.
        size: side of the aligned crop that it takes, pixels; of a detector, the longer side of the picture. An encoder
            that takes the latents of the pack's identify graph has none.
        template: how that crop is aligned, one or more names of ``trtswap.pixels.geometry.TEMPLATES``.
        faces, latents, output: names of its tensors; None where the model has only one that it can be. A detector's
            outputs are all taken, in their order.
        mask: name of a swap model's second output, which says how much of each pixel is to be seen.
        ignore: names of outputs and weights that are left out on purpose, or ``*`` for all others; what is neither
            used nor ignored is an error.
        constants: further inputs and the number that each is always given.
        fidelity: name of a restorer's input of one number, 0..1, that a request may choose, and ``fidelity_default``.
        layout: of the picture that it takes, and of one that it gives: ``nchw`` or ``nhwc``.
        mean, std, range, colour: of the picture it takes, channels in the order of ``colour``.
        out_mean, out_std, out_range, out_colour: of the picture it gives.
        latent_matrix: name of a weight [D, D] that latents are multiplied with before the model is given them, and
            brought to unit length again (inswapper); ``unused`` for the only one that no node uses.
        source_size, source_template, source_range: a swap model that takes the source's picture in place of a latent:
            side of that crop, how it is aligned, and the range of its pixels.
        embeddings: of an encoder that is given latents: ``raw`` as the identify model makes them, or of ``unit``
            length.
        average: of an encoder: how the codes of several pictures become one, one of ``AVERAGES``.
        classes: for parse, CelebAMask-HQ's label for each class of the model; empty where they are the same.
        decoder: of a detector, one of ``DECODERS``. ``max_faces``: that it gives at most.
        threshold: for identify, lowest cosine that counts as the same person, above 0 to 1; ``none`` where the model
            cannot tell people apart; ``recipes.SIMILARITY`` has what is published. For detect, lowest score that counts
            as a face. It has to be said.
        single: the model takes one face at a time; it is then run once for each.
        licence, url: of the model, for pack.toml.
        recipe: the published model that it is, if it is one.
        needs: the published model whose latents or codes it takes, if that is known.
    """

    stage: str
    model: Path
    size: int = 0
    template: tuple[str, ...] = ()
    faces: str | None = None
    latents: str | None = None
    output: str | None = None
    mask: str | None = None
    ignore: tuple[str, ...] = ()
    constants: Mapping[str, float] = field(default_factory=lambda: types.MappingProxyType({}))
    fidelity: str | None = None
    fidelity_default: float = 0.5
    layout: str = "nchw"
    mean: Triple = (0, 0, 0)
    std: Triple = (1, 1, 1)
    range: tuple[float, float] = (0, 1)
    colour: str = "rgb"
    out_mean: Triple = (0, 0, 0)
    out_std: Triple = (1, 1, 1)
    out_range: tuple[float, float] = (0, 1)
    out_colour: str = "rgb"
    latent_matrix: str | None = None
    source_size: int = 0
    source_template: tuple[str, ...] = ()
    source_range: tuple[float, float] = (0, 1)
    embeddings: str = "raw"
    average: str = ""
    classes: tuple[int, ...] = ()
    decoder: str = ""
    max_faces: int = 64
    threshold: float | Literal["none"] | None = None
    single: bool = False
    licence: str = "not stated"
    url: str = ""
    recipe: str = ""
    needs: str = ""

    def __post_init__(self) -> None:
        self._check_choices()
        for key in ("mean", "std", "out_mean", "out_std"):
            if len(getattr(self, key)) != 3:
                raise InputError(f"{key} is {getattr(self, key)}, expected three numbers, one per channel.")
        for key in ("range", "out_range", "source_range"):
            if len(getattr(self, key)) != 2 or getattr(self, key)[0] == getattr(self, key)[1]:
                raise InputError(f"{key} is {getattr(self, key)}, expected two different numbers: low, high.")
        if 0 in (*self.std, *self.out_std):
            raise InputError(f"std is {self.std}, out_std {self.out_std}; zero cannot be divided by.")
        if not all(0 <= label < 19 for label in self.classes):
            raise InputError(f"classes are {self.classes}, expected labels 0..18 of CelebAMask-HQ.")
        if not 0 <= self.fidelity_default <= 1:
            raise InputError(f"fidelity_default is {self.fidelity_default}, expected 0..1.")
        if bool(self.source_size) != bool(self.source_template):
            raise InputError(
                "source_size and source_template belong together: side of the source's crop and its place."
            )
        self._check_threshold()

    def _check_choices(self) -> None:
        for key, allowed in _CHOICES.items():
            if getattr(self, key) not in allowed:
                known = ", ".join(value for value in allowed if value)
                raise InputError(f"{key} is {getattr(self, key)!r}, expected one of {known}.")
        for entry in fields(self):
            only = _ONLY_OF.get(entry.name, (self.stage,))
            if self.stage not in only and getattr(self, entry.name) != entry.default:
                raise InputError(f"{entry.name} says nothing of a {self.stage} model; only of {', '.join(only)}.")
        if self.stage == "detect" and not self.decoder:
            raise InputError(f"stage detect: no decoder. Expected one of {', '.join(DECODERS)}.")
        if self.stage == "encode" and not self.average:
            raise InputError(f"stage encode: no average. Expected one of {', '.join(AVERAGES)}.")

    def _check_threshold(self) -> None:
        if self.stage not in ("identify", "detect"):
            if self.threshold is not None:
                raise InputError(
                    f"threshold is {self.threshold}, but a {self.stage} model has none; only identify has, and detect."
                )
        elif self.threshold is None and self.stage == "detect":
            raise InputError("stage detect: no threshold. Say with --threshold from which score on it is a face, 0..1.")
        elif self.threshold is None:
            known = ", ".join(f"{cosine} for {name}" for name, cosine in SIMILARITY.items())
            raise InputError(
                f"stage {self.stage}: no threshold. Say with --threshold from which cosine on two faces are the same "
                f"person ({known}; for another model what its authors publish, or what you measure on pairs of "
                "pictures), or --threshold none if the model cannot tell people apart."
            )
        elif self.threshold != "none" and (isinstance(self.threshold, str) or not 0 < self.threshold <= 1):
            raise InputError(f"threshold is {self.threshold}, expected a number above 0, at most 1, or none.")

    @property
    def kind(self) -> StageKind:
        """What is true of every graph of the stage."""
        return STAGES[self.stage]

    @property
    def lowest(self) -> float:
        """The threshold as pack.toml has it: 0 for none."""
        return self.threshold if isinstance(self.threshold, float | int) else 0.0

    @property
    def takes_picture_of_source(self) -> bool:
        """A swap model that is given the source's picture, not a latent."""
        return self.source_size > 0

    @staticmethod
    def parse(stage: str, table: Mapping[str, Any], folder: Path) -> "Wrapping":
        """From a TOML table; ``model`` is relative to ``folder``.

        Raises:
            InputError: an unknown or missing key, or a value that is not allowed.
        """
        known = {f.name for f in fields(Wrapping)} - {"stage"}
        if unknown := sorted(set(table) - known):
            raise InputError(f"stage {stage}: unknown keys {', '.join(unknown)}; known: {', '.join(sorted(known))}.")
        needed = ("model",) if stage == "encode" else ("model", "size") if stage == "detect" else _CROP_KEYS
        if missing := [key for key in needed if key not in table]:
            raise InputError(f"stage {stage}: no {', '.join(missing)}.")
        values = {key: _value(stage, key, value) for key, value in table.items()}
        return Wrapping(stage, **values | {"model": folder / values["model"]})


_CROP_KEYS = ("model", "size", "template")
_NUMBERS = frozenset(("mean", "std", "range", "out_mean", "out_std", "out_range", "source_range", "classes"))
_NAMES = frozenset(("template", "source_template", "ignore"))
_TYPES: Mapping[str, Any] = types.MappingProxyType(
    dict.fromkeys(_NUMBERS, list)
    | dict.fromkeys(_NAMES, str | list)
    | dict.fromkeys(("size", "source_size", "max_faces"), int)
    | {"threshold": float | int | str, "fidelity_default": float | int, "constants": dict, "single": bool}
)
"""Of the values of a TOML table; all others are texts."""


def _value(stage: str, key: str, value: Any) -> Any:
    """A value of a TOML table as the field has it; a text stands for a list of one name."""
    parts: list[Any] = value if isinstance(value, list) else list(value.values()) if isinstance(value, dict) else []
    of_parts = str if key in _NAMES else int | float
    fits = isinstance(value, _TYPES.get(key, str)) and all(isinstance(part, of_parts) for part in parts)
    if not fits or isinstance(value, bool) != (_TYPES.get(key) is bool):
        raise InputError(f"stage {stage}: {key} is {value!r}, which is of the wrong type.")
    if key in _NAMES and isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value

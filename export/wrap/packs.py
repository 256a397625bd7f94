"""Packs in which other people's models do some of the stages."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import onnx
from onnx import ModelProto

from trtswap.errors import ExportError
from trtswap.export.build import strictest
from trtswap.export.wrap.converter import takes_latents, wrap_converter
from trtswap.export.wrap.crops import wrap_crops
from trtswap.export.wrap.declaration import Wrapping
from trtswap.export.wrap.detectors import wrap_detector
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack, StageSpec, sha256_of
from trtswap.model.self_contained import outside_files
from trtswap.model.stages import STAGES

Graph = tuple[StageSpec, ModelProto]


def wrap_pack(
    base: Path, wrappings: Sequence[Wrapping], target: Path, *, name: str | None = None, overwrite: bool = False
) -> Pack:
    """A copy of a pack in which other models do some of the stages.

    Args:
        base: folder of the pack that the other stages are taken from.
        wrappings: the new stages, one per stage at most.
        target: folder of the new pack.
        name: of the new pack; None for the target's.
        overwrite: replace a pack that is there.

    Raises:
        ExportError: a model cannot be wrapped as declared. It may keep weights in files beside it; the pack does not.
        PackError: the base is no valid pack, or the new stages do not fit the others.
    """
    pack = Pack.load(base)
    new = {w.stage: w for w in wrappings}
    weights = {k: dict(v) for k, v in pack.weights.items()}
    with PackWriter(target, overwrite=overwrite) as writer:
        made = dict[str, Graph]()
        for w in sorted(new.values(), key=lambda w: list(STAGES).index(w.stage)):
            _check_needs(w, pack, made)
            for stage, model in wrap(w, made.get("identify") or pack.stages["identify"]):
                recipe = {"recipe": w.recipe} if w.recipe else {}
                made[stage.name] = (replace(stage, figures=recipe), model)
                writer.add(*made[stage.name])
            for key, file in _files(w.model).items():
                weights[key] = {"sha256": sha256_of(file), "url": w.url, "licence": w.licence}
        for stage in _kept(pack, made):
            writer.copy(stage)
        changed = ", ".join(f"{stage} by {w.model.name}" for stage, w in new.items())
        return writer.finish(
            name=name or target.name,
            version=pack.version,
            licence=strictest([pack.licence, *(f"{w.licence} ({w.model.name})" for w in new.values())]),
            description=f"{pack.name} with {changed}.",
            weights=weights,
            random=[stage for stage in pack.random if stage not in made],
            landmarks=pack.landmarks,
        )


def wrap(w: Wrapping, identify: StageSpec | Graph | None = None) -> Sequence[Graph]:
    """A foreign model as graphs that keep the contract: one, or two where the source's picture is given to it.

    Args:
        w: the model.
        identify: the pack's identify stage, behind which a converter of latents is put; with its graph, or in a file.

    Raises:
        ExportError: the model is not what was declared.
    """
    if w.stage == "detect":
        return [wrap_detector(w)]
    if not takes_latents(w):
        return list(wrap_crops(w))
    if identify is None:
        raise ExportError(f"{w.model} converts latents; expected an identify graph whose latents these are.")
    stage, model = (identify, onnx.load(identify.path)) if isinstance(identify, StageSpec) else identify
    return [wrap_converter(w, stage, model)]


def _check_needs(w: Wrapping, pack: Pack, made: Mapping[str, Graph]) -> None:
    """Refuse a network that is given another network's idea of people: latents of equal length are not alike.

    Raises:
        ExportError: says which model is needed and how to give it.
    """
    giver = "encode" if "encode" in made and w.stage != "encode" else "identify"
    found = (made[giver][0] if giver in made else pack.stages[giver]).figures.get("recipe")
    if w.needs and found != w.needs:
        raise ExportError(
            f"{w.recipe or w.model} takes the identities of {w.needs}; the pack's come from "
            f"{found or f'its own {giver} graph'}. Wrap both at once: --recipe {w.needs} --model FILE."
        )


def _kept(pack: Pack, made: Mapping[str, Graph]) -> Iterator[StageSpec]:
    """The base's other stages. A new swap model wants its own encoder, if any: the base's was made for another one."""
    for stage in pack.stages.values():
        if stage.name not in made and not (stage.name == "encode" and "swap" in made):
            yield stage


def _files(model: Path) -> dict[str, Path]:
    """A model and the files that it keeps weights in, by the name under which pack.toml has their hashes."""
    return {model.stem: model} | {name: model.parent / name for name in outside_files(model)}

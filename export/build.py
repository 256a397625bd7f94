"""From a recipe and checkpoints to a pack on disk, one stage at a time so that only one network is in memory."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from trtswap.errors import CheckpointError, ExportError
from trtswap.export import checkpoints
from trtswap.export.checkpoints import Checkpoint
from trtswap.export.compare import Inputs, compare
from trtswap.export.graph import export_graph
from trtswap.export.meshswap.examples import example_codes, takes_codes
from trtswap.export.networks.yunet import YuNet
from trtswap.export.recipes import FFHQ, Recipe, StageRecipe
from trtswap.export.standin import drawn_crops, drawn_faces, drawn_points
from trtswap.export.writer import PackWriter
from trtswap.model.pack import Pack, StageSpec
from trtswap.model.stages import Port

PACK_VERSION = "1"
OWN_LICENCE = "Apache-2.0 (trtswap)"
DETECT_SIDES = (320, 256)  # height and width of the pictures that detect graphs are compared on


@dataclass(frozen=True)
class Weights:
    """Where the numbers of the networks come from.

    Attributes:
        folder: of checkpoint files, as ``trtswap weights pull`` fills it.
        seed: None: every network needs its checkpoint. A number: networks get seeded random weights, except those
            whose file the recipe names, and a detector whose checkpoint is in the folder, so that the pack finds faces.
    """

    folder: Path | None
    seed: int | None = None


@dataclass
class Provenance:
    """What went into the pack so far."""

    weights: dict[str, Mapping[str, str]] = field(default_factory=dict)
    random: list[str] = field(default_factory=list)

    def licence(self) -> str:
        """The licences of all parts, the strictest first."""
        parts = sorted(f"{w['licence']} ({name})" for name, w in self.weights.items())
        return strictest([*parts, OWN_LICENCE])

    def description(self, recipe: Recipe) -> str:
        if not self.random:
            return recipe.description
        return (
            f"{recipe.description} RANDOM WEIGHTS in {', '.join(self.random)}: for speed and tests, not for pictures."
        )


def strictest(licences: list[str]) -> str:
    """Several licences as one: what forbids commercial use comes first and is said plainly."""
    restricted = [text for text in licences if "BY-NC" in text or "non-commercial" in text.lower()]
    if not restricted:
        return "; ".join(licences)
    free = [text for text in licences if text not in restricted]
    return f"Non-commercial use only, because of: {'; '.join(restricted)}. Other parts: {'; '.join(free)}."


def export_pack(
    recipe: Recipe,
    target: Path,
    weights: Weights,
    *,
    overwrite: bool = False,
    report: Callable[[str], None] = lambda line: None,
) -> Pack:
    """Export every graph of a recipe, compare each with its PyTorch network, write a checked pack.

    Args:
        recipe: see :mod:`trtswap.export.recipes`.
        target: the pack's folder.
        weights: where the networks' weights come from.
        overwrite: replace a pack that is there.
        report: called with one line of text after each stage.

    Raises:
        CheckpointError: a checkpoint is missing or does not fit its network.
        ExportError: a graph differs from its network, or the target cannot be written.
    """
    made = Provenance()
    with PackWriter(target, overwrite=overwrite) as writer:
        _check_all_there(recipe, weights)
        for stage in recipe.stages:
            spec = export_stage(stage, weights, made, writer)
            report(f"{spec.name}: {_in_words(spec)}")
        return writer.finish(
            name=name_of(recipe.name, weights),
            version=PACK_VERSION,
            licence=made.licence(),
            description=made.description(recipe),
            weights=made.weights,
            random=made.random,
        )


def name_of(recipe: str, weights: Weights) -> str:
    """What a pack is called: one with random weights is not taken for the real one."""
    return recipe if weights.seed is None else f"{recipe}-random"


def _check_all_there(recipe: Recipe, weights: Weights) -> None:
    """Look up every checkpoint before the first is worked on: what is missing is said at once.

    Raises:
        CheckpointError: names all that are missing.
    """
    if weights.seed is not None or weights.folder is None:
        return
    wanting = [s.checkpoint for s in recipe.stages if s.checkpoint is not None and s.file is None]
    names = {entry.name: entry for entry in map(checkpoints.resolve, wanting)}
    missing = [name for name, entry in names.items() if checkpoints.search(entry, weights.folder) is None]
    if missing:
        wanted = "; ".join(f"{name} ({checkpoints.description(names[name])})" for name in missing)
        raise CheckpointError(
            f"pack {recipe.name}: {weights.folder} lacks {len(missing)} of {len(names)} checkpoints: {wanted}. "
            f"Get them with: trtswap weights pull {' '.join(missing)} --into {weights.folder}"
        )


def export_stage(stage: StageRecipe, weights: Weights, made: Provenance, writer: PackWriter) -> StageSpec:
    """Export one graph, compare it with its network, and write it; notes in ``made`` what went in."""
    network = _network(stage, weights, made)
    if stage.spec.kind.gives == "latents" and stage.spec.name in made.random:
        stage = replace(stage, spec=replace(stage.spec, threshold=0.0))  # latents of random weights know nobody
    module = stage.graph(network).eval()
    model = export_graph(module, *stage.spec.contract, name=stage.spec.name)
    found = compare(model, module, lambda batch: example_inputs(stage.spec, batch))
    parameters = sum(p.numel() for p in network.parameters())
    spec = replace(stage.spec, figures=dict(stage.spec.figures) | {"parameters": parameters} | found.figures())
    writer.add(spec, model)
    return spec


def _network(stage: StageRecipe, weights: Weights, made: Provenance) -> nn.Module:
    if stage.checkpoint is None:
        return stage.network()
    entry = checkpoints.resolve(stage.checkpoint)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(weights.seed or 0)
        network = stage.network()
    if weights.seed is not None and not stage.file and not (isinstance(network, YuNet) and _has(weights.folder, entry)):
        made.random.append(stage.spec.name)
        return settled(network) if isinstance(network, YuNet) else network
    path = stage.file
    if path is None:
        if weights.folder is None:
            raise ExportError(
                f"stage {stage.spec.name} needs the checkpoint {entry.name}. Give its folder with --weights."
            )
        path = checkpoints.find(entry, weights.folder)
    checkpoints.load_into(network, checkpoints.load_state_dict(entry, path), unexpected=entry.unexpected)
    made.weights[entry.name] = {"sha256": entry.sha256, "url": next(iter(entry.urls), ""), "licence": entry.licence}
    return network


def _has(folder: Path | None, checkpoint: Checkpoint) -> bool:
    return folder is not None and checkpoints.search(checkpoint, folder) is not None


def settled(network: YuNet) -> YuNet:
    """Let a random detector see something: one that is left as it is gives the same score to every place.

    Batch norms take the statistics of the example pictures; scores are spread so that a few places pass for faces.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
    images = drawn_faces((2, 3, *DETECT_SIDES), torch.Generator().manual_seed(0)) * 255
    with torch.no_grad():
        network.train().levels(images)
        for i, level in enumerate(network.eval().levels(images)):
            for branch, logits in (("cls", level.cls), ("obj", level.obj)):
                last = f"bbox_head.multi_level_{branch}.{i}.conv2"
                weight, bias = network.get_parameter(f"{last}.weight"), network.get_parameter(f"{last}.bias")
                weight.div_(logits.std())
                bias.sub_(logits.mean()).div_(logits.std()).sub_(2.5)
    return network


def example_inputs(stage: StageSpec, batch: int) -> Inputs:
    """Inputs of a stage that resemble real ones, the same on every call.

    Args:
        stage: whose contract to fill.
        batch: rows.

    Returns:
        As the pack contract has them: drawn faces where frames are searched, aligned crops of drawn faces, latents of
        unit length.
    """
    generator, batch = torch.Generator().manual_seed(0), 1 if stage.single else batch
    return {port.name: _example(port, stage, batch, generator) for port in stage.inputs}


def _example(port: Port, stage: StageSpec, batch: int, generator: torch.Generator) -> Tensor:
    if port.content == "frames":
        return drawn_faces((batch, 3, *DETECT_SIDES), generator)
    if port.content == "shares":
        return torch.full((1,), 0.5)
    if port.content == "latents":
        return _latents(stage, batch, generator)
    template = (stage.templates or FFHQ)[0]
    if port.content == "points":
        return drawn_points(batch, stage.size, template)
    if port.content == "masks":  # something hides the left third
        return (torch.arange(stage.size) >= stage.size // 3).float().expand(batch, 1, stage.size, -1).contiguous()
    return drawn_crops(batch, stage.size, template, generator)


def _latents(stage: StageSpec, batch: int, generator: torch.Generator) -> Tensor:
    if takes_codes(stage):
        return example_codes(stage, drawn_crops(batch, stage.size, stage.templates[0], generator))
    return nn.functional.normalize(torch.randn(batch, stage.latent, generator=generator))


def _in_words(stage: StageSpec) -> str:
    figures = stage.figures
    difference = max(figures.get("max_relative_difference", [0]))
    agreement = min(figures.get("agreeing_labels", [1]))
    same = (
        f"labels {agreement:.2%} PyTorch's" if "agreeing_labels" in figures else f"within {difference:.1e} of PyTorch"
    )
    return f"{figures['parameters']:,} parameters, {figures['gflop']:g} GFLOP, {same}"

"""Recipes, and packs made from them with small networks."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx
import pytest
import torch
from torch import Tensor, nn

from trtswap.backends import open_engine
from trtswap.errors import CheckpointError, ExportError, PackError
from trtswap.export import checkpoints
from trtswap.export.build import Weights, example_inputs, export_pack, settled, strictest
from trtswap.export.contract import IMAGENET, PLAIN, SYMMETRIC, Identify, Parse, Restore, Swap
from trtswap.export.detect import DetectGraph
from trtswap.export.networks.yunet import YuNet
from trtswap.export.recipes import CHOICES, POSES, RECIPES, Recipe, StageRecipe, find_recipe
from trtswap.model.pack import Pack, StageSpec

from .small import small_recipe, tiny_recipe


@pytest.fixture(scope="module")
def small_pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export_pack(small_recipe(), tmp_path_factory.mktemp("packs") / "small", Weights(None, seed=4)).path


def run(stage: StageSpec, batch: int) -> dict[str, Tensor]:
    with open_engine(stage, backend="onnxruntime", device="cpu") as engine:
        return {k: v.clone() for k, v in engine(**example_inputs(stage, batch)).items()}


def test_pack_says_what_it_is(small_pack: Path) -> None:
    pack = Pack.load(small_pack)
    assert pack.name == "small-random"
    assert "RANDOM WEIGHTS in identify, swap, parse, restore" in pack.description
    assert pack.licence == "Apache-2.0 (trtswap)"
    assert pack.weights == {}
    assert pack.stages["restore"].weight == 0.5
    assert (pack.stages["swap"].templates, pack.canvas_template) == (("arcface_112_v1",), "ffhq_512")


def test_figures_of_the_comparison_are_in_the_pack(small_pack: Path) -> None:
    stages = dict(Pack.load(small_pack).stages)
    del stages["detect"]  # without a network in this pack
    for stage in stages.values():
        assert stage.figures["batches"] == [1, 2, 5]
        assert stage.figures["parameters"] > 100
        assert stage.figures["gflop"] > 0
    assert min(stages.pop("parse").figures["agreeing_labels"]) > 0.9999
    for stage in stages.values():
        assert 0 < max(stage.figures["max_relative_difference"]) < 1e-4


def test_graphs_keep_the_contract(small_pack: Path) -> None:
    stages = Pack.load(small_pack).stages
    assert stages["identify"].threshold == 0  # latents of random weights know nobody
    latents = run(stages["identify"], 3)["latents"]
    torch.testing.assert_close(latents.norm(dim=1), torch.ones(3))
    for name in ("swap", "restore"):
        (picture,) = run(stages[name], 3).values()
        assert picture.shape == (3, 3, 64, 64)
        assert 0 <= picture.min() <= picture.max() <= 1
    labels = run(stages["parse"], 2)["labels"]
    assert labels.dtype == torch.uint8
    assert labels.max() < 19


def test_a_random_detector_finds_a_few_faces() -> None:
    """One whose scores are equal everywhere would make the comparison of its graph worthless."""
    torch.manual_seed(1)
    graph = DetectGraph(settled(YuNet("n")))
    with torch.no_grad():
        scores = graph(*example_inputs(find_recipe("paste").stages[0].spec, 2).values())[2]
    assert ((scores > 0).sum(1) >= 1).all()
    assert ((scores > 0).sum(1) < 64).all()
    assert scores.unique().numel() == (scores > 0).sum() + 1, "two places have the same score"


def test_the_seed_decides_the_weights(tmp_path: Path) -> None:
    state = torch.get_rng_state()
    packs = [export_pack(tiny_recipe(), tmp_path / f"{i}", Weights(None, seed=s)) for i, s in enumerate((4, 4, 5))]
    first, again, other = ({n: s.sha256 for n, s in p.stages.items()} for p in packs)
    assert first == again
    assert {n for n in first if first[n] != other[n]} == {"swap"}
    assert torch.equal(state, torch.get_rng_state()), "the caller's random numbers were changed"


class Unstable(nn.Module):
    """Gives something else each time, as a network with random noise does."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, faces: Tensor) -> Tensor:
        self.calls += 1
        return faces * self.calls


def test_a_graph_that_differs_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="graph restore, output restored, batch"):
        export_pack(only_last(tiny_recipe(Unstable)), tmp_path / "pack", Weights(None, seed=0))
    assert list(tmp_path.iterdir()) == []


def only_last(recipe: Recipe) -> Recipe:
    return replace(recipe, stages=recipe.stages[-1:])


def test_an_incomplete_recipe_does_not_become_a_pack(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="no graph for detect, identify, swap"):
        export_pack(only_last(tiny_recipe()), tmp_path / "pack", Weights(None, seed=0))
    assert list(tmp_path.iterdir()) == []


def test_a_pack_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    target = tmp_path / "pack"
    target.mkdir()
    (target / "pack.toml").write_text("mine")
    with pytest.raises(ExportError, match=r"exists\. Choose another folder with -o, or replace it with --overwrite"):
        export_pack(tiny_recipe(), target, Weights(None, seed=0))
    with pytest.raises(ExportError, match="graph restore"):
        export_pack(only_last(tiny_recipe(Unstable)), target, Weights(None, seed=0), overwrite=True)
    assert (target / "pack.toml").read_text() == "mine", "a failed export replaced the pack"
    export_pack(tiny_recipe(), target, Weights(None, seed=0), overwrite=True)
    assert Pack.load(target).name == "tiny-random"
    assert [p.name for p in tmp_path.iterdir()] == ["pack"]


def test_what_is_no_pack_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.png").write_bytes(b"cat")
    with pytest.raises(ExportError, match="is not a pack, so it is not overwritten"):
        export_pack(tiny_recipe(), tmp_path / "photos", Weights(None, seed=0), overwrite=True)
    assert (tmp_path / "photos" / "cat.png").exists()


def test_missing_checkpoints_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="yunet_n"):
        export_pack(find_recipe("simswap-224"), tmp_path / "pack", Weights(tmp_path))
    with pytest.raises(
        ExportError, match=r"stage detect needs the checkpoint yunet_n\. Give its folder with --weights"
    ):
        export_pack(find_recipe("paste"), tmp_path / "pack", Weights(None))


def test_a_real_detector_is_taken_where_it_is_there(identity_pack: Path) -> None:
    pack = Pack.load(identity_pack)
    assert pack.weights["yunet_n"]["sha256"] == checkpoints.resolve("yunet_n").sha256
    assert "libfacedetection" in pack.licence
    assert "RANDOM" not in pack.description
    found = run(pack.stages["detect"], 1)
    assert (found["scores"][0] > 0.5).sum() == 2, "the two drawn faces"


def test_identity_pack_is_a_single_node_where_it_says_so(identity_pack: Path) -> None:
    for name in ("swap", "restore"):
        graph = onnx.load(identity_pack / f"{name}.onnx").graph
        assert [node.op_type for node in graph.node] == ["Identity"]


def test_every_recipe_takes_checkpoints_that_can_be_had() -> None:
    for recipe in RECIPES.values():
        for stage in recipe.stages:
            if stage.checkpoint is not None:
                entry = checkpoints.resolve(stage.checkpoint)
                assert entry.format != "onnx"
    for stage, names in CHOICES.items():
        assert set(names) <= set(checkpoints.manifest())
        assert stage == "detect" or find_recipe("simswap-224").using(stage, names[0]) == find_recipe("simswap-224")


def test_unknown_recipe_lists_the_known() -> None:
    with pytest.raises(ExportError, match="no recipe 'nothing'; expected one of simswap-224, simswap-256"):
        find_recipe("nothing")


def test_pose_templates_belong_to_identify_and_swap() -> None:
    stages = {s.spec.name: s.spec for s in find_recipe("simswap-224").with_pose_templates().stages}
    assert stages["swap"].templates == stages["identify"].templates == POSES
    assert stages["parse"].templates == ("ffhq_512",)
    with pytest.raises(ExportError, match="pack simswap-512-beta aligns with ffhq_512"):
        find_recipe("simswap-512-beta").with_pose_templates()


def test_published_checkpoints_can_be_chosen() -> None:
    recipe = find_recipe("simswap-224")
    for stage, names in CHOICES.items():
        for name in names:
            (chosen,) = [s for s in recipe.using(stage, name).stages if s.spec.name == stage]
            assert (chosen.checkpoint, chosen.file) == (name, None)
    with pytest.raises(CheckpointError, match="no checkpoint and no file 'scrfd'; expected a file, or one of yunet_n"):
        recipe.using("detect", "scrfd")
    with pytest.raises(ExportError, match="has no stage 'swap' with weights; expected one of detect"):
        find_recipe("paste").using("swap", "simswap_224")


def test_another_detector_is_another_network(data: Path, tmp_path: Path) -> None:
    recipe = find_recipe("identity").using("detect", "yunet_s")
    pack = export_pack(recipe, tmp_path / "pack", Weights(data, seed=0))
    assert list(pack.weights) == ["yunet_s"]
    assert pack.stages["detect"].figures["parameters"] == 54_608  # facts of yunet_s


def test_a_published_file_is_known_by_its_hash(data: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "mine.pth"
    renamed.write_bytes((data / "yunet_s.pth").read_bytes())
    (stage,) = [s for s in find_recipe("paste").using("detect", renamed).stages if s.spec.name == "detect"]
    assert (stage.checkpoint, stage.file) == ("yunet_s", renamed)


def test_own_checkpoints_are_taken_when_asked_for(tmp_path: Path) -> None:
    """SimSwap's train.py saves the generator's tensors by name, GFPGAN's puts them under params_ema."""
    torch.manual_seed(7)
    trained = nn.Conv2d(3, 3, 1)
    torch.save(trained.state_dict(), tmp_path / "9000_net_G.pth")
    recipe = tiny_recipe()
    with pytest.raises(CheckpointError, match=r"none of the published .*simswap_224.*sha256 is .*--allow-unknown-hash"):
        recipe.using("swap", tmp_path / "9000_net_G.pth")
    mine = recipe.using("swap", tmp_path / "9000_net_G.pth", allow_unknown_hash=True)
    pack = export_pack(mine, tmp_path / "pack", Weights(None, seed=None))
    assert set(pack.weights) == {"9000_net_G"}
    assert "licence not known: an own checkpoint (9000_net_G)" in pack.licence
    graph = onnx.load(pack.stages["swap"].path).graph
    kept = {tuple(t.dims): onnx.numpy_helper.to_array(t) for t in graph.initializer}
    assert torch.equal(torch.from_numpy(kept[3, 3, 1, 1].copy()), trained.weight.detach())


@pytest.mark.parametrize("level", [None, "params_ema"])
def test_own_checkpoints_may_lack_the_level_of_the_published(level: str | None, tmp_path: Path) -> None:
    state = {"a": torch.ones(2)}
    torch.save(state if level is None else {level: state}, tmp_path / "net_g_5.pth")
    own = checkpoints.own_checkpoint(tmp_path / "net_g_5.pth", like=checkpoints.resolve("gfpgan_1_4"))
    assert checkpoints.load_state_dict(own, tmp_path / "net_g_5.pth")["a"].tolist() == [1, 1]


def test_an_own_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 4, 1).state_dict(), tmp_path / "G.pth")
    recipe = tiny_recipe().using("swap", tmp_path / "G.pth", allow_unknown_hash=True)
    with pytest.raises(CheckpointError, match=r"weight has shape \(4, 3, 1, 1\) in the checkpoint"):
        export_pack(recipe, tmp_path / "pack", Weights(None))


def test_an_own_checkpoint_stands_beside_random_weights(tmp_path: Path) -> None:
    torch.save(nn.Conv2d(3, 3, 1).state_dict(), tmp_path / "G.pth")
    recipe = tiny_recipe().using("swap", tmp_path / "G.pth", allow_unknown_hash=True)
    assert export_pack(recipe, tmp_path / "pack", Weights(None, seed=0)).random == ()


def test_a_generator_can_take_another_size() -> None:
    (swap,) = [s for s in find_recipe("simswap-256").with_swap_size(224).stages if s.spec.name == "swap"]
    assert swap.spec.size == 224
    with pytest.raises(ExportError, match="size is 225, expected a multiple of 16 from 64 to 1024 pixels"):
        find_recipe("simswap-256").with_swap_size(225)
    with pytest.raises(ExportError, match="pack paste has no swap network with weights"):
        find_recipe("paste").with_swap_size(224)


def test_strictest_licence_comes_first() -> None:
    text = strictest(["MIT (a)", "CC BY-NC 4.0 (b)", "Apache-2.0, StyleGAN2 parts NVIDIA non-commercial (c)"])
    assert text.startswith("Non-commercial use only, because of: CC BY-NC 4.0 (b); Apache-2.0, StyleGAN2")
    assert text.endswith("Other parts: MIT (a).")
    assert strictest(["MIT (a)", "Apache-2.0 (b)"]) == "MIT (a); Apache-2.0 (b)"


class Seeing(nn.Module):
    """Notes what it is given and gives back something known."""

    def __init__(self, answer: Tensor) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, faces: Tensor, latents: Tensor | None = None) -> Tensor:
        self.seen = faces
        return self.answer


FACES = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)


def test_convention_restore_works_in_minus_one_to_one() -> None:
    answer = torch.tensor([-3.0, -1.0, 0.0, 0.5, 1.0, 7.0]).view(1, 1, 1, 6).expand(1, 3, 1, 6)
    network = Seeing(answer)
    restored = Restore(network, takes=SYMMETRIC, gives=SYMMETRIC)(FACES)
    torch.testing.assert_close(network.seen, FACES * 2 - 1)
    torch.testing.assert_close(restored[0, 0, 0], torch.tensor([0.0, 0.0, 0.5, 0.75, 1.0, 1.0]))


def test_convention_fix_generators_work_in_imagenet_colours() -> None:
    network = Seeing((FACES - MEAN) / STD)
    swapped = Swap(network, takes=IMAGENET, gives=IMAGENET)(FACES, torch.rand(2, 5))
    torch.testing.assert_close(network.seen, (FACES - MEAN) / STD)
    torch.testing.assert_close(swapped, FACES)


def test_convention_official_generators_take_pixels_as_they_are() -> None:
    network = Seeing(FACES)
    assert torch.equal(Swap(network, takes=PLAIN, gives=PLAIN)(FACES, torch.rand(2, 5)), FACES)
    assert network.seen is FACES


def test_convention_parse_takes_imagenet_colours_and_the_best_class() -> None:
    scores = torch.rand(2, 19, 4, 4)
    network = Seeing(scores)
    labels = Parse(network, takes=IMAGENET)(FACES)
    torch.testing.assert_close(network.seen, (FACES - MEAN) / STD)
    assert (scores.gather(1, labels[:, None].long())[:, 0] == scores.amax(1)).all()


def test_convention_latents_have_unit_length_and_zero_stays_zero() -> None:
    raw = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    torch.testing.assert_close(Identify(Seeing(raw), takes=IMAGENET)(FACES), torch.tensor([[0.6, 0.8], [0.0, 0.0]]))


def test_convention_of_each_recipe() -> None:
    """What each published checkpoint takes and gives, stated a second time."""
    wanted = {
        "simswap-224": (224, "arcface_112_v1", PLAIN),
        "simswap-256": (256, "arcface_112_v1", IMAGENET),
        "simswap-512-unofficial": (512, "arcface_112_v1", IMAGENET),
        "simswap-512-beta": (512, "ffhq_512", PLAIN),
    }
    for name, (size, template, norm) in wanted.items():
        stages: dict[str, StageRecipe] = {s.spec.name: s for s in find_recipe(name).stages}
        swap = stages["swap"]
        assert (swap.spec.size, swap.spec.templates, swap.spec.latent) == (size, (template,), 512)
        assert isinstance(swap.graph, partial)
        assert swap.graph.keywords == {"takes": norm, "gives": norm}
        assert stages["identify"].spec.templates == (template,)


def test_all_missing_checkpoints_are_named_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "weights").mkdir()
    lines: list[str] = []
    with pytest.raises(
        CheckpointError, match=r"lacks 5 of 5 checkpoints: .*weights pull yunet_n simswap_arcface simswap_224"
    ):
        export_pack(find_recipe("simswap-224"), tmp_path / "pack", Weights(tmp_path / "weights"), report=lines.append)
    assert not lines
    assert not (tmp_path / "pack").exists()

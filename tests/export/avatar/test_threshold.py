"""From cosines of pictures to the threshold in pack.toml."""

import pytest
import torch

from export.avatar.pack import SIMILARITY, SIMILARITY_FIGURES
from export.avatar.threshold import FALSE_ACCEPTS, Cosines, scenes
from trtswap.model.pack import Pack
from trtswap.packs import find_pack


def test_pairs_of_one_person_and_of_two() -> None:
    """Unit vectors at 0, 60 and 90 degrees: the first two are one person."""
    latents = torch.tensor([[1.0, 0], [0.5, 0.75**0.5], [0, 1]])
    cosines = Cosines.of(latents, torch.tensor([7, 7, 3]))
    torch.testing.assert_close(cosines.same, torch.tensor([0.5]))
    torch.testing.assert_close(cosines.different, torch.tensor([0.0, 0.75**0.5]))


def test_thresholds_have_the_errors_they_promise() -> None:
    cosines = Cosines(same=torch.arange(50, 100) / 100 + 0.005, different=torch.arange(0, 60) / 100 + 0.005)
    assert cosines.false_accepts(0.5) == pytest.approx(10 / 60)
    assert cosines.false_rejects(0.6) == pytest.approx(10 / 50)
    assert cosines.at_false_accepts(0.0) == 0.60
    assert cosines.at_false_accepts(3 / 60) == 0.57
    assert cosines.at_equal_errors() == 0.55
    assert cosines.figures(0.55) == {"false_accepts": 0.0833, "false_rejects": 0.1}


def test_the_pack_says_what_was_measured() -> None:
    stage = Pack.load(find_pack("avatar")).stages["identify"]
    assert stage.threshold == SIMILARITY
    assert {name: stage.figures[name] for name in SIMILARITY_FIGURES} == SIMILARITY_FIGURES
    assert SIMILARITY_FIGURES["false_accepts"] <= FALSE_ACCEPTS


def test_everybody_is_in_as_many_scenes_and_no_scene_is_like_another() -> None:
    made, numbers = scenes(3, 2)
    assert numbers.tolist() == [0, 1, 2, 0, 1, 2]
    who = torch.cat(list(made.identity.values()), 1)
    assert torch.equal(who[:3], who[3:])
    assert not torch.equal(made.pose["yaw_degrees"][:3], made.pose["yaw_degrees"][3:])

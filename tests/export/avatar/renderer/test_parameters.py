"""Seeds give the same values alone and in company, and values stay in their ranges."""

import pytest
import torch

from export.avatar.renderer import backdrop, body, camera, expression, identity, light, props
from export.avatar.renderer.scene import sample_scene

TABLES = {
    "identity": identity.TABLE,
    "expression": expression.TABLE,
    "pose": expression.POSE,
    "view": camera.TABLE,
    "light": light.TABLE,
    "backdrop": backdrop.TABLE,
    "clothes": body.CLOTHES,
    "props": props.TABLE,
}


def test_identities_have_at_least_forty_parameters() -> None:
    assert len({p.name for p in identity.TABLE}) == len(identity.TABLE) >= 40


@pytest.mark.parametrize("group", TABLES)
def test_values_stay_in_their_ranges_and_vary(group: str) -> None:
    values = getattr(sample_scene(range(300)), group)
    for parameter in TABLES[group]:
        drawn = values[parameter.name]
        low, high = min(parameter.low, 0.0), parameter.high
        assert float(drawn.min()) >= low - 1e-6, parameter.name
        assert float(drawn.max()) <= high + 1e-6, parameter.name
        assert float(drawn.std()) > 0, parameter.name


@pytest.mark.parametrize("group", TABLES)
def test_a_seed_means_the_same_in_any_batch(group: str) -> None:
    together, alone = (getattr(sample_scene(seeds), group) for seeds in ([5, 6, 7], [6]))
    for name, value in alone.items():
        assert torch.equal(together[name][1:2], value), name


def test_only_identity_differs_between_the_two_of_a_pair() -> None:
    scene = sample_scene([1, 2])
    other = scene.with_identity(identity.sample_identity([8, 9]))
    again = sample_scene([1, 2], identity_seeds=[8, 9])
    for group in TABLES:
        for name, value in getattr(again, group).items():
            assert torch.equal(getattr(other, group)[name], value), (group, name)
            if group != "identity":
                assert torch.equal(getattr(scene, group)[name], value), (group, name)
    assert not torch.equal(scene.identity["nose_length"], other.identity["nose_length"])


def test_hair_can_stay_with_the_scene() -> None:
    scene = sample_scene([1])
    other = scene.with_identity(identity.sample_identity([8]), keep_hair=True)
    assert torch.equal(other.identity["hair_volume"], scene.identity["hair_volume"])
    assert not torch.equal(other.identity["jaw_width"], scene.identity["jaw_width"])

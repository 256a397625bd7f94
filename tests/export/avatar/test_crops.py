"""What the networks are trained on is what the runtime will show them."""

import torch

from export.avatar.crops import covered, cut, identify_transforms, mirrored, noisy
from trtswap.pictures.arrays import frames_from_rgb
from trtswap.pixels.geometry import TEMPLATES, transform_points

FACE = torch.tensor([[[70.0, 80.0], [115.0, 76.0], [95.0, 105.0], [78.0, 130.0], [112.0, 127.0]]])


def smooth_picture() -> torch.Tensor:
    """uint8 [192, 192, 3] without fine detail, so that all ways to resample agree."""
    coarse = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    large = torch.nn.functional.interpolate(coarse, (192, 192), mode="bicubic").clamp(0, 1)
    return (large[0] * 255).round().byte().movedim(0, -1)


def test_crops_are_those_of_the_runtime() -> None:
    picture = smooth_picture()
    transforms = identify_transforms(FACE, 64)
    frames = frames_from_rgb(picture[None])
    theirs = frames.sample(torch.zeros(1, dtype=torch.int64), transforms, 64)
    ours = cut(picture.movedim(-1, 0)[None].float() / 255, transforms, 64, oversample=2)
    assert float((ours - theirs).abs().max()) < 0.02


def test_landmarks_meet_the_template() -> None:
    placed = transform_points(identify_transforms(FACE, 112), FACE)[0]
    assert float((placed - TEMPLATES["arcface_112_v1"].scaled(112)).norm(dim=-1).mean()) < 4


def test_noise_goes_with_the_size_of_the_face() -> None:
    many = FACE.expand(4000, -1, -1)
    off = noisy(many, torch.Generator().manual_seed(1), 0.05) - many
    eyes = float((FACE[0, 1] - FACE[0, 0]).norm())
    assert abs(float(off.std()) / eyes - 0.05) < 0.002


def test_only_the_chosen_crops_are_mirrored() -> None:
    crops = torch.rand(2, 3, 8, 8)
    turned = mirrored(crops, torch.tensor([True, False]))
    assert torch.equal(turned[0], crops[0].flip(-1))
    assert torch.equal(turned[1], crops[1])


def test_covering_hides_at_most_a_quarter() -> None:
    shares = (covered(torch.zeros(500, 3, 32, 32), torch.Generator().manual_seed(2)) > 0).float().mean((1, 2, 3))
    assert float(shares.max()) <= 0.28
    assert 0.02 < float(shares.mean()) < 0.2

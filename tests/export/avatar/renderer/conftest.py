"""Avatars that several tests look at, rendered once."""

import sys
from pathlib import Path

import pytest

# The benches are no installed package; the repository's root goes last, so that it hides nothing that is.
sys.path.append(str(Path(__file__).parents[4]))

from export.avatar.renderer.noise import Noise
from export.avatar.renderer.render import Avatars, Renderer
from export.avatar.renderer.scene import Scene, sample_scene

SEEDS = range(40, 44)


@pytest.fixture(scope="session")
def renderer() -> Renderer:
    """Small and quick: one sample per pixel."""
    return Renderer(Noise(), height=128, width=128, samples=1)


@pytest.fixture(scope="session")
def scene() -> Scene:
    return sample_scene(SEEDS, max_yaw_degrees=20.0)


@pytest.fixture(scope="session")
def avatars(renderer: Renderer, scene: Scene) -> Avatars:
    return renderer.render(scene)

"""Packs that several tests convert; exporting takes seconds, so test workers share them."""

import os
from pathlib import Path

import pytest
from filelock import FileLock

from trtswap.export.build import Weights, export_pack
from trtswap.pack import Pack

from ..export.small import small_recipe
from .packs import with_detector


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """Every architecture, narrow; its detector sees the same face everywhere."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "packs" / "small"
    folder.parent.mkdir(exist_ok=True)
    with FileLock(f"{folder}.lock"):
        return Pack.load(folder) if folder.exists() else export_pack(small_recipe(), folder, Weights(None, seed=0))


@pytest.fixture(scope="session")
def seeing(small: Pack, identity_pack: Path, tmp_path_factory: pytest.TempPathFactory) -> Pack:
    """The small pack with YuNet."""
    return with_detector(small, Pack.load(identity_pack), tmp_path_factory.mktemp("packs") / "seeing")

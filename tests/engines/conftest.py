from pathlib import Path

import pytest

from trtswap.model.pack import Pack

from .packs import write_pack


@pytest.fixture
def hand(tmp_path: Path) -> Pack:
    """A pack written by hand."""
    return write_pack(tmp_path / "hand")

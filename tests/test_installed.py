"""`make test` tests the wheel, not the checkout."""

import os
from pathlib import Path

import pytest

import trtswap


@pytest.mark.skipif("TRTSWAP_TEST_WHEEL" not in os.environ, reason="only `make test` installs the wheel")
def test_the_package_under_test_is_the_installed_wheel() -> None:
    checkout = Path(__file__).parents[1]
    package = Path(trtswap.__file__).parent
    assert package != checkout / "trtswap"
    assert "site-packages" in package.parts
    for name in ("export/weights.toml", "report/style.css", "py.typed"):
        assert (package / name).is_file()

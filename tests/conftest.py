"""Fixtures that several test packages share, and the rule for GPU tests."""

import os
from pathlib import Path

import pytest
import torch

DATA = Path(os.environ.get("TRTSWAP_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """Folder of the real test data; tests that need it are skipped without it, and fail under CI."""
    if (DATA / "presenter.mp4").is_file():
        return DATA
    message = f"the real test data is not at {DATA}; set TRTSWAP_TEST_DATA to its folder"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        if os.environ.get("TRTSWAP_REQUIRE_GPU") == "1":
            pytest.fail("TRTSWAP_REQUIRE_GPU=1, and torch sees no CUDA device")
        pytest.skip("needs a CUDA device")

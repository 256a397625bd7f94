"""What a converted pack is refused for."""

import numpy as np
import pytest

from trtswap.calibration.gate import not_finite, refuse
from trtswap.errors import PrecisionError


def test_refusals_name_graph_precision_and_figures() -> None:
    with pytest.raises(PrecisionError, match=r"graph swap in fp16 is too far from FP32: a; b\. .*\[tolerance\.fp16\]"):
        refuse("graph swap", "fp16", ["a", "b"])
    refuse("graph swap", "fp16", [])


def test_numbers_that_are_not_finite_are_found() -> None:
    bad = {"black": {"swapped": np.float32([0, np.nan])}, "white": {"swapped": np.float32([0, 1])}}
    assert list(not_finite(bad)) == ["swapped is not finite for black"]

"""Limits: what is refused, and what the message says."""

import math

import pytest

from trtswap.errors import InputError, LimitError
from trtswap.limits import Limits


def test_what_is_beyond_a_limit_is_refused_with_both_figures_and_the_way_out() -> None:
    limits = Limits(pixels=1000)
    limits.check("pixels", 1000, "in.png")
    with pytest.raises(LimitError, match=r"in\.png: has 1,001 pixels, more than the limit of 1,000.*Limits\(pixels="):
        limits.check("pixels", 1001, "in.png")


@pytest.mark.parametrize("name", ["pixels"])
def test_each_limit_can_be_lifted(name: str) -> None:
    with pytest.raises(LimitError, match=name):
        Limits().check(name, 1e15, "in.mp4")
    Limits(**{name: math.inf}).check(name, 1e15, "in.mp4")


@pytest.mark.parametrize("value", [0, -1, math.nan, True, "12", None])
def test_what_is_no_limit_is_refused(value: float) -> None:
    with pytest.raises(InputError, match="the limit pixels is"):
        Limits(pixels=value)

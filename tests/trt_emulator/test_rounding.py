"""Engines in FP16 round, and overflow, on the emulator as on a GPU."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from trtswap.backends import open_engine

from ..calibration.graphs import graph

PRODUCTS = "g (float[N,3] x) => (float[N,3] y) { h = Cast<to = 10>(x) p = Mul(h, k) q = Mul(p, l) y = Cast<to = 1>(q) }"


@pytest.mark.usefixtures("emulator")
def test_every_result_is_rounded(tmp_path: Path) -> None:
    from ..engines.plans import build

    file = tmp_path / "half.onnx"
    onnx.save(graph(PRODUCTS, k=np.float16([1000]), l=np.float16([0.001])), file)
    build(file)
    x = np.float32([[0.1234567, 3.3, 66.0]])
    with np.errstate(over="ignore"):
        wanted = (x.astype(np.float16) * np.float16(1000)) * np.float16(0.001)
    with open_engine(file, backend="tensorrt") as engine:
        found = engine(x=torch.from_numpy(x))["y"].numpy()
    np.testing.assert_array_equal(found, wanted.astype(np.float32))
    assert np.isinf(found[0, 2])

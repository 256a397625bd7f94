"""The torch backend in half precision, and its CUDA graphs."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from trtswap.backends import TorchOptions, open_engine
from trtswap.errors import InputError


def inputs(rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows)
    return {"faces": torch.rand(rows, 3, 16, 16, generator=generator),
            "latents": torch.randn(rows, 6, generator=generator)}  # fmt: skip


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
def test_half_is_near_and_keeps_dtype_and_layout(half: torch.dtype, graph: Callable[[str], Path]) -> None:
    file = graph("adain")
    with (
        open_engine(file, backend="torch", device="cpu") as exact,
        open_engine(file, backend="torch", device="cpu", options=TorchOptions(half=half)) as engine,
    ):
        for rows in (1, 3):
            got, expected = engine(**inputs(rows))["swapped"], exact(**inputs(rows))["swapped"]
            assert got.dtype == torch.float32
            assert got.is_contiguous()
            torch.testing.assert_close(got, expected, atol=0.02, rtol=0)
            assert not torch.equal(got, expected)
        assert engine.precision.startswith({torch.bfloat16: "bf16+", torch.float16: "fp16+"}[half])


def test_half_is_refused_by_other_backends(graph: Callable[[str], Path]) -> None:
    options = TorchOptions(half=torch.float16)
    with pytest.raises(InputError, match=r"but onnxruntime runs: expected OnnxRuntimeOptions or None"):
        open_engine(graph("adain"), backend="onnxruntime", device="cpu", options=options)


@pytest.mark.gpu
def test_a_captured_run_gives_what_a_plain_run_gives(graph: Callable[[str], Path]) -> None:
    file = graph("adain")
    with (
        open_engine(file, backend="torch", device="cuda") as plain,
        open_engine(file, backend="torch", device="cuda", options=TorchOptions()) as captured,
    ):
        captured.prepare(faces=(3, 3, 16, 16), latents=(3, 6))
        for turn in range(5):
            for rows in (1, 3):
                given = {name: (t + turn).cuda() for name, t in inputs(rows).items()}
                got = captured(**given)["swapped"]
                torch.testing.assert_close(got, plain(**given)["swapped"], atol=1e-5, rtol=0)

"""What the tests of several networks share: official layouts, random weights, and layers by their definitions."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from torch import nn

Array = NDArray[np.float64]
LAYOUTS = Path(__file__).with_name("layouts")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small only wait for each other's threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def layout() -> Callable[[str], dict[str, tuple[int, ...]]]:
    """Reads names and shapes of the tensors in an official checkpoint."""

    def read(name: str) -> dict[str, tuple[int, ...]]:
        rows = (line.split() for line in (LAYOUTS / f"{name}.txt").read_text().splitlines())
        return {key: () if shape == "scalar" else tuple(map(int, shape.split(","))) for key, shape in rows}

    return read


@pytest.fixture
def randomised() -> Callable[[nn.Module], nn.Module]:
    """Gives every tensor of a network random values (statistics, slopes and noise too) and sets evaluation mode."""

    def fill(network: nn.Module) -> nn.Module:
        generator = torch.Generator().manual_seed(7)
        for key, tensor in network.state_dict().items():
            if not tensor.is_floating_point():
                continue
            values = torch.randn(tensor.shape, generator=generator)
            if "running_var" in key:
                values = values.abs() + 0.5
            elif "noise" in key:
                pass
            elif tensor.ndim >= 2:
                values *= tensor[0].numel() ** -0.5
            elif tensor.numel() == 1:  # the slope of a PReLU, or the weight of a noise
                values = 0.25 + 0.1 * values
            elif key.endswith("weight"):
                values = 1 + 0.2 * values
            else:
                values *= 0.2
            tensor.copy_(values)
        return network.eval()

    return fill


class Exact:
    """A network's tensors in float64, and layers by their definitions on NumPy arrays [N, C, H, W]."""

    def __init__(self, network: nn.Module) -> None:
        self.state: Mapping[str, Array] = {k: v.numpy().astype(np.float64) for k, v in network.state_dict().items()}

    def __getitem__(self, key: str) -> Array:
        return self.state[key]

    def conv(self, name: str, x: Array, *, stride: int = 1, pad: int = 0, mode: str = "constant") -> Array:
        """The convolution ``name``, with its bias if it has one."""
        y = self.convolve(x, self[f"{name}.weight"], stride=stride, pad=pad, mode=mode)
        bias = self.state.get(f"{name}.bias")
        return y if bias is None else y + bias[:, None, None]

    def linear(self, name: str, x: Array) -> Array:
        return x @ self[f"{name}.weight"].T + self[f"{name}.bias"]

    def batch_norm(self, name: str, x: Array) -> Array:
        mean, var, weight, bias = (
            self[f"{name}.{part}"].reshape(-1, *[1] * (x.ndim - 2))
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return (x - mean) / np.sqrt(var + 1e-5) * weight + bias

    @staticmethod
    def convolve(x: Array, weight: Array, *, stride: int = 1, pad: int = 0, mode: str = "constant") -> Array:
        """Sum over every window of the padded input; weight [O, I, k, k]."""
        kernel = weight.shape[-1]
        padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)), mode=mode)
        windows = sliding_window_view(padded, (kernel, kernel), axis=(2, 3))[:, :, ::stride, ::stride]
        return np.einsum("nihwkl,oikl->nohw", windows, weight, optimize=True)

    @staticmethod
    def resize(x: Array, factor: float, *, align_corners: bool = False) -> Array:
        """Bilinear resizing along both axes."""
        rows = resize_matrix(x.shape[2], round(x.shape[2] * factor), align_corners=align_corners)
        columns = resize_matrix(x.shape[3], round(x.shape[3] * factor), align_corners=align_corners)
        return np.einsum("ih,nchw,jw->ncij", rows, x, columns, optimize=True)

    @staticmethod
    def max_pool(x: Array, size: int, stride: int) -> Array:
        return sliding_window_view(x, (size, size), axis=(2, 3))[:, :, ::stride, ::stride].max((-2, -1))

    @staticmethod
    def relu(x: Array) -> Array:
        return np.maximum(x, 0)

    @staticmethod
    def leaky(x: Array, slope: float | Array) -> Array:
        return np.where(x >= 0, x, slope * x)

    @staticmethod
    def sigmoid(x: Array) -> Array:
        return 1 / (1 + np.exp(-x))


def resize_matrix(inputs: int, outputs: int, *, align_corners: bool) -> Array:
    """Row i holds the two weights with which output pixel i is interpolated from the input pixels."""
    matrix = np.zeros((outputs, inputs))
    for i in range(outputs):
        if align_corners:
            at = i * (inputs - 1) / (outputs - 1)
        else:
            at = min(max((i + 0.5) * inputs / outputs - 0.5, 0.0), inputs - 1.0)
        low = min(int(at), inputs - 1)
        matrix[i, low] += 1 - (at - low)
        matrix[i, min(low + 1, inputs - 1)] += at - low
    return matrix


@pytest.fixture
def agree() -> Callable[..., None]:
    """Holds a network against ``definition(net: Exact, *inputs)``, and a batch of 5 against five batches of 1.

    Within 1e-5 in float32; and within 1e-10 in float64, where rounding cannot hide a difference in the arithmetic.
    """

    def check(network: nn.Module, definition: Callable[..., Array], *inputs: torch.Tensor) -> None:
        expected = definition(Exact(network), *(x.numpy().astype(np.float64) for x in inputs))
        assert expected.shape[0] == 5
        assert np.abs(expected).max() > 0.1, "the comparison says little about values this small"
        with torch.inference_mode():
            single = network(*inputs).numpy()
            alone = torch.cat([network(*(x[i : i + 1] for x in inputs)) for i in range(5)]).numpy()
            double = network.double()(*(x.double() for x in inputs)).numpy()
        np.testing.assert_allclose(single, expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(alone, single, rtol=0, atol=1e-5)
        np.testing.assert_allclose(double, expected, rtol=0, atol=1e-10)

    return check

"""Muon: gradient descent in steps whose directions all count alike (Jordan et al., 2024)."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

MOMENTUM = 0.95
SHRINK = 0.01  # of a weight at a step of rate one


def orthogonal(x: Tensor) -> Tensor:
    """The matrix [R, C] with its singular values brought to about one, by five Newton-Schulz steps.

    The quintic's coefficients are those of the method's authors: they reach 0.7 to 1.2 in five steps from any value.
    """
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (wide.norm() + 1e-7)
    for _ in range(5):
        square = wide @ wide.T
        wide = 3.4445 * wide + (-4.7750 * square + 2.0315 * square @ square) @ wide
    return wide if x.shape[0] <= x.shape[1] else wide.T


class Muon(torch.optim.Optimizer):
    """For weights of convolutions [..., O, I, k, k], each as a matrix of one row an output channel.

    A step is as long as AdamW's usually is (0.2 for each weight at a rate of one, root mean square: Liu et al., 2025,
    arXiv:2502.16982), so that both take the same learning rate.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, {"lr": lr})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is None:  # of a layer that the task does not use
                    continue
                momentum = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                momentum.lerp_(weight.grad, 1 - MOMENTUM)
                direction = orthogonal(weight.grad.lerp(momentum, MOMENTUM).flatten(0, -4).flatten(1))
                length = 0.2 * max(direction.shape) ** 0.5 * group["lr"]
                weight.mul_(1 - SHRINK * group["lr"]).sub_(direction.view_as(weight), alpha=length)

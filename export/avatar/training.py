"""The loop that every network of the pack is trained in: Muon, AdamW, one cycle of the learning rate, checkpoints."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from . import narrow
from .muon import Muon

LOG_SECONDS, SAVE_SECONDS = 20.0, 120.0

# Takes the number of the step, gives named losses; their sum is descended.
Step = Callable[[int], dict[str, Tensor]]


def parser(description: str, *, steps: int, go_on: bool = True) -> argparse.ArgumentParser:
    """Options that all training scripts share.

    Args:
        steps: how many there are by default.
        go_on: whether the script knows ``--go-on`` (see :func:`begin`).
    """
    options = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("data", type=Path, help="folder of export.avatar.data")
    options.add_argument("weights", type=Path, help="folder for the trained networks")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--steps", type=int, default=steps)
    options.add_argument("--threads", type=int, default=1)
    if go_on:
        options.add_argument("--go-on", action="store_true", help="start another cycle from the weights in WEIGHTS")
    return options


def begin(network: nn.Module, options: argparse.Namespace, name: str) -> None:
    """Make a network ready to be trained, with the weights of ``NAME.pt`` if the user wants to go on from there."""
    if options.go_on:
        narrow.trained(network, options.weights, name)
    channels_last(network.train())


def start(options: argparse.Namespace) -> torch.Generator:
    """Seed everything; the generator draws batches and noise."""
    torch.set_num_threads(options.threads)
    torch.manual_seed(options.seed)
    options.weights.mkdir(parents=True, exist_ok=True)
    return torch.Generator().manual_seed(options.seed)


def channels_last(network: nn.Module) -> None:
    """Lay the weights of convolutions out as a CPU's kernels want them; a quarter faster with inputs laid out alike."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)


def descend(
    step: Step, networks: dict[str, nn.Module], *, folder: Path, steps: int, rate: float, decay: float = 0.01,
) -> None:  # fmt: skip
    """Train networks together and save each as ``folder/NAME.pt``.

    A run that was stopped goes on from ``folder/NAMES.state``, which is removed at the end.

    Args:
        rate: the highest learning rate.
    """
    parameters = [p for network in networks.values() for p in network.parameters() if p.requires_grad]
    optimisers = _optimisers(parameters, rate, decay)
    schedules = [
        torch.optim.lr_scheduler.OneCycleLR(o, rate, total_steps=steps, pct_start=0.04, cycle_momentum=False)
        for o in optimisers
    ]
    state = folder / f"{'-'.join(networks)}.state"
    first = _resume(state, networks, *optimisers, *schedules)
    means: dict[str, float] = {}
    logged = saved = time.monotonic()
    for number in range(first, steps):
        losses = step(number)
        for optimiser in optimisers:
            optimiser.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            schedule.step()
        for name, loss in losses.items():
            value = float(loss.detach())
            means[name] = 0.98 * means.get(name, value) + 0.02 * value
        now = time.monotonic()
        if now - logged > LOG_SECONDS or number == steps - 1:
            logged = now
            print(f"{number + 1}/{steps}", *(f"{k} {v:.4f}" for k, v in means.items()), flush=True)
        if now - saved > SAVE_SECONDS:
            saved = now
            torch.save(_state(number + 1, networks, *optimisers, *schedules), state)
    for name, network in networks.items():
        torch.save(network.eval().state_dict(), folder / f"{name}.pt")
    state.unlink(missing_ok=True)


def _optimisers(parameters: list[nn.Parameter], rate: float, decay: float) -> list[torch.optim.Optimizer]:
    """Muon for convolutions between features, AdamW for the rest: colours, single channels, scales, linear layers."""
    inner, others = list[nn.Parameter](), list[nn.Parameter]()
    for parameter in parameters:
        (inner if parameter.ndim >= 4 and min(parameter.shape[-4:-2]) > 3 else others).append(parameter)
    adam = torch.optim.AdamW(others, lr=rate, weight_decay=decay, betas=(0.9, 0.99))
    return [Muon(inner, rate), adam] if inner else [adam]


def _state(number: int, networks: dict[str, nn.Module], *parts: Any) -> dict[str, Any]:
    return {
        "step": number,
        "networks": {k: v.state_dict() for k, v in networks.items()},
        "parts": [p.state_dict() for p in parts],
    }


def _resume(state: Path, networks: dict[str, nn.Module], *parts: Any) -> int:
    if not state.exists():
        return 0
    saved = torch.load(state, weights_only=True)
    for name, network in networks.items():
        network.load_state_dict(saved["networks"][name])
    for part, values in zip(parts, saved["parts"], strict=True):
        part.load_state_dict(values)
    return int(saved["step"])

"""Open a Swapper as the command line asks for it, and say in one line what will run."""

from dataclasses import dataclass

import torch

from trtswap.backends import choose
from trtswap.options import SwapOptions
from trtswap.swapper import Swapper


@dataclass(frozen=True)
class Runtime:
    """What runs the networks.

    Attributes:
        pack: name or folder.
        backend, device: as :func:`trtswap.backends.choose` takes them.
        threads: CPU threads, all cores where None.
    """

    pack: str
    backend: str
    device: str
    threads: int | None

    def open(self, options: SwapOptions) -> Swapper:
        """Load the pack. The number of threads holds for the whole process, as befits a command.

        Raises:
            InputError, PackError, BackendError: see :class:`~trtswap.swapper.Swapper`.
        """
        if self.threads is not None:
            torch.set_num_threads(self.threads)
        # Torch engines share the thread pool that was just set and take no number of their own.
        own = None if choose(self.backend, self.device).backend == "torch" else self.threads
        return Swapper(self.pack, backend=self.backend, device=self.device, threads=own, options=options)


def precisions(swapper: Swapper) -> str:
    """The arithmetic that runs: ``fp32``, or ``fp16+fp32 (swap, restore), fp32 (others)``."""
    stages: dict[str, list[str]] = {}
    for name, engine in swapper.engines.items():
        stages.setdefault(engine.precision, []).append(name)
    if len(stages) == 1:
        return next(iter(stages))
    return ", ".join(f"{precision} ({', '.join(names)})" for precision, names in stages.items())


def in_one_line(swapper: Swapper) -> str:
    """Which pack runs on what, in which precision, and why."""
    pack, reason = swapper.pack, swapper.choice.reason.rstrip(".")
    return f"Pack {pack.name} {pack.version}, {precisions(swapper)}, {reason}."

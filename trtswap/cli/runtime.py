"""Open a Swapper as the command line asks for it, and say in one line what will run."""

from dataclasses import dataclass, replace

import torch

from trtswap.backends import choose
from trtswap.backends.runtime import wanted_stages
from trtswap.backends.sizing import workers_for
from trtswap.model.pack import Pack
from trtswap.options import RuntimeOptions, SwapOptions
from trtswap.packs import find_pack
from trtswap.swapper import Swapper


@dataclass(frozen=True)
class Running:
    """What runs the networks.

    Attributes:
        pack: name or folder.
        backend, device: as :func:`trtswap.backends.choose` takes them.
        options: what is settled when engines are opened.
        workers: batches of a video whose faces are made at the same time; as many as are fastest where None.
    """

    pack: str
    backend: str
    device: str
    options: RuntimeOptions
    workers: int | None = None

    def of_frames(self, frames: int | None) -> "Running":
        """The same for a known number of frames."""
        return replace(self, options=replace(self.options, frames=frames))

    def in_batches(self, batch: int | None) -> "Running":
        """The same for so many frames at once; None leaves the choice to trtswap."""
        return replace(self, options=replace(self.options, batch=batch))

    def open(self, options: SwapOptions) -> Swapper:
        """Load the pack, and share the cores as befits a command that has the process to itself.

        Decoder, encoder and networks have threads of their own. Beside them torch's warps are fastest on one:
        work spread over a pool waits for the thread that the encoder has pushed aside (on two cores a swap took
        three to seven times as long with two). Torch engines, which do the networks' work in that pool, keep it.

        Raises:
            InputError, PackError, BackendError: see :class:`~trtswap.swapper.Swapper`.
        """
        pack = Pack.load(find_pack(self.pack))
        graphs = wanted_stages(pack, self.options)
        choice = choose(self.backend, self.device, graphs=graphs, frames=self.options.frames)
        in_torch, threads = choice.backend == "torch", self.options.threads
        if not in_torch:
            torch.set_num_threads(1)
        elif threads is not None:
            torch.set_num_threads(threads)
        runtime = replace(
            self.options,
            threads=None if in_torch else threads,
            workers=self.workers or workers_for(choice, threads),
        )
        return Swapper(pack, backend=self.backend, device=self.device, options=options, runtime=runtime)


def precisions(swapper: Swapper) -> str:
    """The arithmetic of the pack's own stages: ``fp32``, or ``fp16+fp32 (swap, restore), fp32 (others)``."""
    stages: dict[str, list[str]] = {}
    for name, engine in swapper.engines.items():
        if name not in swapper.pack.stages:
            continue
        stages.setdefault(engine.precision, []).append(name)
    if len(stages) == 1:
        return next(iter(stages))
    return ", ".join(f"{precision} ({', '.join(names)})" for precision, names in stages.items())


def in_one_line(swapper: Swapper) -> str:
    """Which pack runs on what, in which precision, and why."""
    pack, reason = swapper.pack, swapper.choice.reason.rstrip(".")
    return f"Pack {pack.name} {pack.version}, {precisions(swapper)}, {reason}."

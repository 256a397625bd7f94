"""A pack's engines on one device: opened once, shared by any number of sessions."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import torch
from torch import Tensor

from trtswap.backends.engine import Engine
from trtswap.backends.opening import choose, open_engine
from trtswap.backends.sizing import cores, faces_at_once, threads_of_each
from trtswap.model.pack import Pack, StageSpec, check_engine
from trtswap.options import RuntimeOptions
from trtswap.packs import find_pack

Watcher = Callable[[str, Mapping[str, Tensor], Mapping[str, Tensor]], None]
"""Is shown each run of a graph, in the thread that ran it: the stage's name, inputs and outputs by name."""


class Stage:
    """An opened graph of a pack, as the stages of a session run it.

    Args:
        spec: its entry in the pack.
        engine: the graph; stays the runtime's.
        face_batch: rows that run at once.
        watchers: are shown every run.
    """

    def __init__(self, spec: StageSpec, engine: Engine, *, face_batch: int, watchers: Sequence[Watcher] = ()) -> None:
        self.spec = spec
        self.engine = engine
        self.face_batch = face_batch
        self._watchers = tuple(watchers)

    @property
    def device(self) -> torch.device:
        return self.engine.device

    def __call__(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Run once; outputs are the engine's own until it is called again."""
        outputs = self.engine(**tensors)
        for watcher in self._watchers:
            watcher(self.spec.name, tensors, outputs)
        return outputs

    def rows(self, **tensors: Tensor) -> Tensor:
        """Run along the first dimension, ``face_batch`` rows at a time, so that memory does not grow with faces.

        Args:
            tensors: inputs by name, all with N rows.

        Returns:
            The graph's one output for all rows; the caller owns it.
        """
        (output,) = (port.name for port in self.spec.kind.outputs)
        count = max(len(tensor) for tensor in tensors.values())
        outputs = [
            self(**{name: t[start : start + self.face_batch].contiguous() for name, t in tensors.items()})[
                output
            ].clone()
            for start in range(0, max(count, 1), self.face_batch)
        ]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs)


class Runtime:
    """The opened engines of one pack.

    Sessions and Swappers share it; who made it closes it, after them. Opening is all that it does by itself: nothing in
    it changes while frames run.

    Args:
        pack: the name of an installed pack, a pack's folder, or a loaded pack.
        backend: ``auto``, ``onnxruntime``, ``openvino``, ``torch`` or ``tensorrt``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        options: see :class:`~trtswap.options.RuntimeOptions`.

    Attributes:
        pack, options: as given.
        choice: backend and device that run, and why.
        engines: by stage, in the pack's order.
        face_batch: faces that go through the networks at once.

    Raises:
        InputError: an option that this backend or device does not take.
        PackError: no such pack, or a broken one.
        BackendError: the backend or device is not available here, or a graph cannot be opened.
    """

    def __init__(
        self,
        pack: str | Path | Pack = "avatar",
        *,
        backend: str = "auto",
        device: str = "auto",
        options: RuntimeOptions | None = None,
    ) -> None:
        self.pack = pack if isinstance(pack, Pack) else Pack.load(find_pack(pack))
        self.options = options or RuntimeOptions()
        self.choice = choose(backend, device, graphs=tuple(self.pack.stages.values()))
        self._threads = threads_of_each(self.options.workers, self.choice, self.options.threads)
        self.face_batch = self.options.face_batch or faces_at_once(
            self.pack.canvas_size, self.choice.device, workers=self.options.workers
        )
        self.engines: Mapping[str, Engine] = MappingProxyType(self._open())

    @property
    def device(self) -> torch.device:
        return self.choice.device

    def stage(self, name: str, watchers: Sequence[Watcher] = ()) -> Stage:
        """One graph, ready to run; several may be made of the same."""
        return Stage(self.pack.stages[name], self.engines[name], face_batch=self.face_batch, watchers=watchers)

    def _open(self) -> dict[str, Engine]:
        """Every graph, side by side, since compiling one leaves cores idle."""
        wanted = [spec for spec in self.pack.stages.values() if spec.kind.required or self.options.restore]
        with ThreadPoolExecutor(min(len(wanted), cores()), thread_name_prefix="trtswap-open") as pool:
            futures = {spec.name: pool.submit(self._open_one, spec) for spec in wanted}
        try:
            return {name: future.result() for name, future in futures.items()}
        except BaseException:
            for future in futures.values():
                if future.exception() is None:
                    future.result().close()
            raise

    def _open_one(self, spec: StageSpec) -> Engine:
        engine = open_engine(
            spec,
            backend=self.choice.backend,
            device=self.device,
            threads=self._threads,
            calls=self.options.workers,
            **self._on_a_gpu(spec),
        )
        try:
            check_engine(spec, engine)
        except BaseException:
            engine.close()
            raise
        return engine

    def _on_a_gpu(self, spec: StageSpec) -> dict[str, Any]:
        """How the torch backend runs a graph on a GPU.

        Networks that make pictures run in bfloat16: a checkpoint in float32 may overflow in float16 (GFPGAN does), and
        only a calibrated pack says where not. Boxes and identities keep the graph's precision.
        """
        if self.choice.backend != "torch" or self.device.type != "cuda":
            return {}
        half = torch.bfloat16 if spec.precision == "fp32" and spec.kind.half else None
        return {"half": half, "cuda_graphs": self.options.cuda_graphs}

    def close(self) -> None:
        """Release the engines; may be called twice."""
        for engine in self.engines.values():
            engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.close()

"""A pack's engines on one device: opened once, shared by any number of sessions."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NoReturn, Self, cast

import torch
from torch import Tensor

from trtswap.arguments import expect
from trtswap.backends import device as gpus
from trtswap.backends.batching import batch_sizes
from trtswap.backends.engine import Engine
from trtswap.backends.forks import Birthplace
from trtswap.backends.opening import choose, open_engine
from trtswap.backends.options import (
    BackendOptions,
    OnnxRuntimeOptions,
    TensorRtOptions,
    TorchOptions,
    has_bfloat16,
    on_cores,
)
from trtswap.backends.rtx_provider import Shapes, spanned
from trtswap.backends.sizing import cores, faces_at_once, frames_at_once, threads_of_each
from trtswap.errors import InputError
from trtswap.model.pack import Pack, StageSpec, check_engine
from trtswap.options import RuntimeOptions
from trtswap.packs import DEFAULT_PACK, find_pack

Watcher = Callable[[str, Mapping[str, Tensor], Mapping[str, Tensor]], None]
"""Is shown each run of a graph, in the thread that ran it: the stage's name, inputs and outputs by name."""


class Stage:
    """An opened graph of a pack, as the stages of a session run it.

    Args:
        spec: its entry in the pack.
        engine: the graph; stays the runtime's.
        face_batch: rows that run at once.
        captures: whether what is prepared is captured.
        watchers: are shown every run.
    """

    def __init__(
        self,
        spec: StageSpec,
        engine: Engine,
        *,
        face_batch: int,
        captures: bool = True,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        self.spec = spec
        self.engine = engine
        self.face_batch = face_batch
        self._captures = captures
        self._watchers = tuple(watchers)

    @property
    def device(self) -> torch.device:
        return self.engine.device

    def __call__(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Run once; outputs are the caller's own."""
        outputs = self.engine(**tensors)
        for watcher in self._watchers:
            watcher(self.spec.name, tensors, outputs)
        return outputs

    def rows(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Run along the first dimension, ``face_batch`` rows at a time, so that memory does not grow with faces.

        Args:
            tensors: inputs by name, with N rows each; those of another fixed length are given to every run.

        Returns:
            Outputs by name for all rows; the caller owns them.
        """
        fixed = {port.name for port in self.spec.inputs if isinstance(port.shape[0], int)}
        count = max(len(tensor) for name, tensor in tensors.items() if name not in fixed)
        step = 1 if self.spec.single else self.face_batch
        parts = [
            self(**{n: t if n in fixed else t[start : start + step].contiguous() for n, t in tensors.items()})
            for start in range(0, max(count, 1), step)
        ]
        return parts[0] if len(parts) == 1 else {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def share(self, name: str, chosen: float | None, *, of: str) -> dict[str, Tensor]:
        """An input of one number, 0..1, that a request may choose: by its name, nothing where the graph has none.

        Args:
            name: of the input, and of its default in the pack.
            chosen: what the request says; the pack's where None.
            of: whose input it is, for the message.

        Raises:
            InputError: a number is given, but the graph does not take one.
        """
        default = getattr(self.spec, name)
        if chosen is not None and default is None:
            raise InputError(f"{name} is {chosen}, but {of} of this pack takes none: {self.spec.path}. Leave it out.")
        if default is None:
            return {}
        return {name: torch.full((1,), default if chosen is None else chosen).to(self.device)}

    def prepare(self, **shapes: tuple[int, ...]) -> None:
        """Have the engine ready for inputs of these shapes; see :meth:`~trtswap.backends.engine.Engine.prepare`."""
        if self._captures:
            self.engine.prepare(**shapes)


def wanted_stages(pack: Pack, options: RuntimeOptions) -> tuple[StageSpec, ...]:
    """The stages of a pack that are opened: all but those that an option leaves out, or what they take."""
    chosen = (s for s in pack.graphs.values() if s.kind.option is None or getattr(options, s.kind.option))
    return tuple(stage for stage in chosen if options.dense or not stage.points)


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
        pack: str | Path | Pack = DEFAULT_PACK,
        *,
        backend: str = "auto",
        device: str = "auto",
        options: RuntimeOptions | None = None,
    ) -> None:
        self.pack = pack if isinstance(pack, Pack) else Pack.load(find_pack(pack))
        expect("options", options, RuntimeOptions | None, "RuntimeOptions")
        self.options = options or RuntimeOptions()
        if not self.options.dense and self.pack.needs_points:
            raise InputError(
                f"dense is False, but pack {self.pack.name} works with the points of faces, which nothing would "
                "measure then. Leave it out (--landmarks dense)."
            )
        self._birthplace = Birthplace()
        self._opening = wanted_stages(self.pack, self.options)
        self.choice = choose(backend, device, graphs=self._opening, frames=self.options.frames)
        self._threads = threads_of_each(self.options.workers, self.choice, self.options.threads)
        self.engines: Mapping[str, Engine] = MappingProxyType(self._open())
        try:
            self.face_batch = self._face_batch()
            self._prepare()
        except BaseException:
            self.close()
            raise

    @property
    def device(self) -> torch.device:
        return self.choice.device

    def stage(self, name: str, watchers: Sequence[Watcher] = ()) -> Stage:
        """One graph, ready to run; several may be made of the same."""
        self.check_process()
        return Stage(
            self.pack.graphs[name],
            self.engines[name],
            face_batch=self.face_batch,
            captures=self.options.cuda_graphs,
            watchers=watchers,
        )

    def check_process(self) -> None:
        """Raises BackendError in a process that was forked from the one that opened the engines.

        Asked before anything is computed there: PyTorch's threads are missing, too.
        """
        self._birthplace.check()

    def __reduce__(self) -> NoReturn:
        raise InputError(
            "A Runtime, and a Swapper or Session on it, cannot be sent to another process. Open one there; identities "
            "and options can be sent."
        )

    def frames_at_once(self, frame_bytes: int) -> int:
        """How many frames whose planes have so many bytes are searched and swapped at once."""
        return self.options.batch or frames_at_once(frame_bytes, self.device)

    def _open(self) -> dict[str, Engine]:
        """Every graph, side by side, since compiling one leaves cores idle."""
        with ThreadPoolExecutor(min(len(self._opening), cores()), thread_name_prefix="trtswap-open") as pool:
            futures = {spec.name: pool.submit(self._open_one, spec) for spec in self._opening}
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
            options=self._engine_options(spec),
            role="detect" if spec.kind.seeking else "swap",
        )
        try:
            check_engine(spec, engine)
            self._prove(spec, engine)
        except BaseException:
            engine.close()
            raise
        return engine

    def _prove(self, spec: StageSpec, engine: Engine) -> None:
        """Have an engine that was made elsewhere compared with its FP32 graph, where it runs first.

        Raises:
            EngineBuildError: it differs too much.
        """
        if self.choice.backend == "tensorrt":
            from trtswap.engines.proof import prove_once  # noqa: PLC0415 - the builder's, and heavy

            prove_once(self.pack, spec, cast(Any, engine))

    def _engine_options(self, spec: StageSpec) -> BackendOptions | None:
        """How the backend runs a graph.

        Networks that make pictures run in bfloat16 by the torch backend, on a GPU that has it: a checkpoint in float32
        may overflow in float16 (GFPGAN does), and only a calibrated pack says where not. Boxes and identities keep the
        graph's precision.
        """
        kept_as = spec.sha256 if self.options.keep_compiled else None
        options = on_cores(self.choice.backend, self._threads, calls=self.options.workers, kept_as=kept_as)
        if self.choice.backend == "tensorrt":
            return TensorRtOptions(host_code=self.options.host_code)
        if isinstance(options, OnnxRuntimeOptions) and self.device.type == "cuda":
            return replace(options, shapes=self._shapes(spec))
        if self.choice.backend != "torch":
            return options
        halves = spec.converts and spec.kind.half and has_bfloat16(self.device)
        return TorchOptions(half=torch.bfloat16 if halves else None)

    def _shapes(self, spec: StageSpec) -> Shapes:
        """Smallest, best and largest shapes that a graph will be given, as engines of the pack are built for."""
        from trtswap.engines.config import default_config  # noqa: PLC0415 - the builder's

        config = default_config(spec, gpus.find_gpu(self.device).facts.memory_bytes)
        inputs, _ = spec.contract
        shapes = {i.name: [config.shapes(p, i) for p in config.profiles] for i in inputs}
        return {name: spanned(each) for name, each in shapes.items()}

    def _face_batch(self) -> int:
        """How many faces go through the networks at once: as many as there is memory for and every engine takes."""
        limits = {
            name: engine.max_rows
            for name, engine in self.engines.items()
            if engine.max_rows is not None and not self._alone(self.pack.graphs[name])
        }
        asked, most = self.options.face_batch, min(limits.values(), default=None)
        if asked is None:
            fitting = faces_at_once(self.pack.canvas_size, self.device, workers=self.options.workers)
            return fitting if most is None else min(fitting, most)
        if most is not None and asked > most:
            taken = ", ".join(f"{name} {rows}" for name, rows in limits.items())
            raise InputError(
                f"face_batch is {asked}, but the engines were built for fewer faces at once: {taken}. Take {most} or "
                f"fewer, or build them for more: `trtswap build-engines --faces 1,4,{asked}`."
            )
        return asked

    @staticmethod
    def _alone(spec: StageSpec) -> bool:
        """Works on something else than several faces at once."""
        return spec.single or spec.kind.searches

    def _prepare(self) -> None:
        """Have the networks of crops ready for every size of a batch; whole frames come in many more sizes."""
        for name in self.engines:
            # The pack's numbers, not the graph's, which may leave a size open that the pack gives.
            inputs, _ = self.pack.graphs[name].contract
            shapes = {spec.name: spec.shape for spec in inputs}
            if any(isinstance(length, str) for shape in shapes.values() for length in shape[1:]):
                continue
            stage = self.stage(name)
            for rows in (1,) if stage.spec.single else batch_sizes(self.face_batch):
                stage.prepare(**{n: _of_rows(shape, rows) for n, shape in shapes.items()})

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


def _of_rows(shape: tuple[int | str, ...], rows: int) -> tuple[int, ...]:
    """A shape of a contract with so many rows."""
    return tuple(rows if isinstance(length, str) else length for length in shape)

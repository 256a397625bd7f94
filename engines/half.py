"""The pack in half precision that is compiled in place of an FP32 one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory

import trtswap
from trtswap.engines.compiler import BuildCancelled
from trtswap.errors import PackError
from trtswap.model.pack import Pack, StageSpec, sha256_of

TABLE = "calibration.json"


class Graphs:
    """The graphs that are compiled; this one has those of the pack as they are.

    Attributes:
        pack: whose.
        conversion: says how they were made from those of the pack, None for as they are; part of the cache's key.
    """

    def __init__(self, pack: Pack) -> None:
        self.pack = pack
        self.conversion: str | None = None

    def precision(self, stage: str) -> str:
        """Precision that the graph of a stage has or will have."""
        return self.pack.graphs[stage].precision

    def stage(self, name: str) -> StageSpec:
        """The graph of a stage."""
        return self.pack.graphs[name]


class HalfGraphs(Graphs):
    """Graphs in float16, with float32 where the calibration says so; converted when the first one is needed.

    Args:
        pack: its FP32 graphs are converted, others stay.
        folder: exists; the converted pack is written into it.
        table: calibration table; the one inside the pack where None.
        video: clip to measure ranges with, in place of a table.
        stop: asked after each graph whether the conversion is to stop.

    Raises:
        PackError: there is no table.
    """

    def __init__(
        self, pack: Pack, folder: Path, *, table: Path | None, video: Path | None, stop: Callable[[], bool]
    ) -> None:
        super().__init__(pack)
        self._folder, self._video, self._stop = folder, video, stop
        self._table = table or pack.path / TABLE
        if video is None and not self._table.is_file():
            raise PackError(
                f"{self._table} does not exist: without measured ranges nobody knows which parts of "
                f"pack {pack.name} have to stay in FP32. Give a table with --calibration FILE or a clip to measure "
                "them with --video CLIP, or build with --precision fp32, which is slower."
            )
        self.conversion = f"{trtswap.__version__} {sha256_of(video or self._table)}"

    def precision(self, stage: str) -> str:
        return "fp16" if self.pack.graphs[stage].converts else super().precision(stage)

    def stage(self, name: str) -> StageSpec:
        """Raises what :func:`trtswap.calibration.to_half` raises."""
        return self._converted.stages[name] if self.pack.graphs[name].converts else super().stage(name)

    @cached_property
    def _converted(self) -> Pack:
        try:
            from trtswap import calibration  # noqa: PLC0415 - heavy, and an extra
        except ImportError as e:
            raise PackError(
                f'Conversion to FP16 needs the calibration tools: {e}. pip install "trtswap[tensorrt]", or build with '
                "--precision fp32."
            ) from e
        target = self._folder / "half"
        if self._video is None:
            table = calibration.CalibrationTable.load(self._table)
            return calibration.to_half(self.pack, table, target, report=self._check)
        table = calibration.calibrate(self.pack, self._video)
        return calibration.to_half(self.pack, table, target, held_out=self._video, report=self._check)

    def _check(self, _: str) -> None:
        if self._stop():
            raise BuildCancelled(f"pack {self.pack.name}: the conversion to FP16 was stopped.")


@contextmanager
def graphs_of(
    pack: Pack,
    precision: str,
    *,
    table: Path | None = None,
    video: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
    scratch: Path | None = None,
) -> Iterator[Graphs]:
    """The graphs of a pack in a precision; converted ones are gone when the context ends.

    Args:
        pack: whose graphs.
        precision: ``fp16`` or ``fp32``.
        table, video, stop: see :class:`HalfGraphs`.
        scratch: folder for what is gone afterwards; the system's where None.

    Raises:
        PackError: there is no table.
    """
    if precision != "fp16" or not any(stage.converts for stage in pack.stages.values()):
        yield Graphs(pack)
        return
    with TemporaryDirectory(prefix="trtswap-half-", dir=scratch, ignore_cleanup_errors=True) as folder:
        yield HalfGraphs(pack, Path(folder), table=table, video=video, stop=stop)

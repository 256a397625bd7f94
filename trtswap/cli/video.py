"""Swap a video, with a report if one is asked for."""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trtswap.cli.console import count
from trtswap.cli.job import Job, Outcome
from trtswap.cli.progress import duration
from trtswap.cli.quality import judge
from trtswap.cli.runtime import precisions
from trtswap.errors import InputError, WriteError
from trtswap.faces.cast import Who
from trtswap.files import Target, write_whole
from trtswap.report import Recorder, Report, write_report
from trtswap.report.timeline import chrome_trace
from trtswap.session.observers import Observer
from trtswap.swapper import Swapper, SwapResult, expected_frames
from trtswap.video.containers import container_for
from trtswap.video.reader import VideoReader


@dataclass(frozen=True, kw_only=True)
class VideoJob(Job):
    """A video to swap.

    Attributes:
        start, end: seconds of the source to take.
        writing: arguments of :class:`~trtswap.video.writer.VideoWriter`, and who reads.
        report: where to write the report, None for none.
        judge: whether it says how good the result is.
        trace: where to write who worked when, None for nowhere.
        command: what the user typed, for the report.
    """

    start: float | None
    end: float | None
    writing: Mapping[str, Any]
    report: Path | None
    judge: bool
    trace: Path | None
    command: str

    @property
    def targets(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.target, self.report, self.trace) if path is not None)

    def check_source(self) -> int | None:
        names = [path.absolute() for path in self.targets]
        for path, name in zip(self.targets, names, strict=True):
            if names.count(name) > 1:
                raise InputError(f"{path}: is to be two of video, report and trace; expected different files.")
        container_for(self.target)
        with VideoReader(self.source, batch_size=1, limits=self.running.options.limits) as reader:
            return expected_frames(reader.info, self.start, self.end)

    def run(self, swapper: Swapper, who: Who, observers: Sequence[Observer], places: Mapping[Path, Target]) -> Outcome:
        recorder = Recorder()
        started = time.perf_counter()
        result = swapper.swap_video(
            self.source, places[self.target], who, start=self.start, end=self.end,
            profile=self.report is not None, observers=[*observers, recorder] if self.report else observers,
            **self.writing,
        )  # fmt: skip
        seconds = time.perf_counter() - started
        if self.report is not None:
            with self._done():
                self._write_report(places[self.report], swapper, recorder, result, seconds)
        if self.trace is not None:
            with self._done():
                write_whole(places[self.trace], chrome_trace(result.spans))
        return Outcome(
            facts=self._facts(swapper, result, seconds),
            line=self._line(result, seconds),
            warnings=result.warnings,
            loss=None if result.loss is None else str(result.loss),
        )

    @contextmanager
    def _done(self) -> Iterator[None]:
        """The video has its name by now, whatever becomes of what is told about it.

        Raises:
            WriteError: as inside, with that said.
        """
        try:
            yield
        except WriteError as error:
            raise WriteError(f"{self.target} is done, but not what was to be told of it: {error}") from error

    def _write_report(
        self, place: Target, swapper: Swapper, recorder: Recorder, result: SwapResult, seconds: float
    ) -> None:
        page = Report.of(
            swapper, recorder, result, source=self.source, target=self.target, command=self.command, seconds=seconds,
            judged=judge(self.running, self.source, self.target, self.people.sources[0])[0] if self.judge else (),
        )  # fmt: skip
        write_report(page, place)

    def _facts(self, swapper: Swapper, result: SwapResult, seconds: float) -> dict[str, Any]:
        return {
            "input": str(self.source),
            "output": str(self.target),
            "report": None if self.report is None else str(self.report),
            "frames": result.frames,
            "frames_with_faces": sum(n > 0 for n in result.faces_per_frame),
            "faces": sum(result.faces_per_frame),
            "seconds": round(seconds, 3),
            "frames_per_second": round(result.frames / seconds, 3),
            "stage_seconds": {name: round(value, 4) for name, value in result.seconds.items()},
            "pack": {"name": swapper.pack.name, "version": swapper.pack.version},
            "backend": swapper.choice.backend,
            "device": str(swapper.choice.device),
            "precision": precisions(swapper),
            "warnings": list(result.warnings),
            "loss": None if result.loss is None else asdict(result.loss),
        }

    def _line(self, result: SwapResult, seconds: float) -> str:
        counts = result.faces_per_frame
        took = f"{seconds:.1f} s" if seconds < 60 else duration(seconds)
        parts = [
            f"{count(result.frames, 'frame')} in {took} ({result.frames / seconds:.1f} fps)",
            f"{count(sum(counts), 'face')} swapped in {count(sum(n > 0 for n in counts), 'frame')}",
            count(len(result.warnings), "warning"),
        ]
        report = "" if self.report is None else f", report {self.report}"
        return f"{self.target}: {', '.join(parts)}{report}"

"""Copying a clip through reader and writer, as every test here does it."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from trtswap.video.reader import VideoReader
from trtswap.video.writer import VideoWriter, WriteOptions


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    torch.set_num_threads(1)


@dataclass
class Copied:
    """A finished copy: the closed reader and writer, and how many frames passed."""

    path: Path
    reader: VideoReader
    writer: VideoWriter
    frames: int


Copy = Callable[..., Copied]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """``copy(source, "name.mp4", start=..., codec=...)``: decode, change nothing, encode."""

    def run(source: Path, name: str, *, start: float | None = None, end: float | None = None, **options: Any) -> Copied:
        target = tmp_path / name
        options = {"preset": "ultrafast", **options}
        frames = 0
        with (
            VideoReader(source, batch_size=5, start=start, end=end) as reader,
            VideoWriter(
                target, reader.info, options=WriteOptions(**options), source=source, start=start, end=end
            ) as writer,
        ):
            for batch in reader:
                writer.write(batch)
                frames += len(batch.pts)
        return Copied(target, reader, writer, frames)

    return run

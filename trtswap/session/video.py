"""A session between a video's reader and its writer, each part of the work in a thread of its own."""

from collections.abc import Iterator

import torch

from trtswap.backends.device import device_of
from trtswap.backends.runtime import Runtime
from trtswap.pixels.frames import Frames
from trtswap.session.flow import Flow, Role, each, run_in_turn
from trtswap.session.session import Batch, Session
from trtswap.session.stopwatch import Stopwatch
from trtswap.video.download import Download
from trtswap.video.reader import Reader
from trtswap.video.writer import VideoWriter


def run_video(session: Session, reader: Reader, writer: VideoWriter, *, pipelined: bool) -> None:
    """Swap all frames that the reader has; neither it nor the writer is closed.

    Args:
        pipelined: decode, detect, swap, paste and encode at the same time on different batches, a thread each (on a GPU
            a stream each) and as many for swapping as there are workers; without it one batch after the other, all in
            the calling thread.
    """
    watch, device = session.stopwatch, session.runtime.device
    run_roles(
        session.runtime,
        (
            Role("decode", lambda _: _decoded(reader, device, watch)),
            *session_roles(session),
            Role("encode", lambda batches: _encoded(batches, writer, watch)),
        ),
        pipelined=pipelined,
    )


def session_roles(session: Session) -> tuple[Role, ...]:
    """The session's own part of the work: from frames of the stream to the same frames, swapped, on their way back."""
    workers = session.runtime.options.workers
    return (
        Role("detect", lambda frames: _followed(frames, session)),
        each("swap", session.make, workers=workers),
        each("paste", lambda batch: Download.of(session.paste(batch))),
    )


def run_roles(runtime: Runtime, roles: tuple[Role, ...], *, pipelined: bool) -> None:
    """Work until the stream has ended."""
    if pipelined:
        Flow(roles, handover=device_of(runtime.device)).run()
    else:
        run_in_turn(roles)


def _decoded(reader: Reader, device: torch.device, watch: Stopwatch) -> Iterator[Frames]:
    batches = iter(reader)
    while True:
        with watch.stage("decode"):
            frames = next(batches, None)
        if frames is None:
            return
        yield frames.to(device)


def _followed(batches: Iterator[Frames], session: Session) -> Iterator[Batch]:
    for frames in batches:
        yield from session.follow(frames)
    yield from session.follow_rest()


def _encoded(batches: Iterator[Download], writer: VideoWriter, watch: Stopwatch) -> Iterator[None]:
    """Gives out nothing."""
    for batch in batches:
        with watch.stage("encode"):
            writer.write(batch.wait())
    yield from ()

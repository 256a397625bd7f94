"""One progressive frame for each interlaced one (FFmpeg's bwdif); progressive frames pass as they are."""

from collections.abc import Iterator

import av
from av.filter import Graph

# The filter counts time in half units of its input, since it could give one frame per field.
_TICKS_PER_UNIT = 2

# Width and height that bwdif takes.
_LEAST = (3, 4)


class Deinterlacer:
    """Frames in, frames out, in order; it starts to work at the first interlaced frame and then lags by one frame."""

    def __init__(self, stream: av.VideoStream) -> None:
        self._stream = stream
        self._graph: Graph | None = None
        self.deinterlaced = 0

    @staticmethod
    def wants(frame: av.VideoFrame) -> bool:
        """The frame is interlaced, and large enough for the filter."""
        return frame.interlaced_frame and frame.width >= _LEAST[0] and frame.height >= _LEAST[1]

    def push(self, frame: av.VideoFrame) -> Iterator[av.VideoFrame]:
        """Feed one frame, which must have a pts; yields those that are ready."""
        interlaced = self.wants(frame)
        self.deinterlaced += interlaced
        if self._graph is None and not interlaced:
            yield frame
            return
        if self._graph is None:
            self._graph = self._build(frame)
        self._graph.vpush(frame)
        yield from self._ready()

    def flush(self) -> Iterator[av.VideoFrame]:
        """Yields what the filter still holds."""
        if self._graph is not None:
            self._graph.vpush(None)
            yield from self._ready()

    def _build(self, frame: av.VideoFrame) -> Graph:
        graph = Graph()
        source = graph.add_buffer(
            width=frame.width, height=frame.height, format=frame.format, time_base=self._stream.time_base
        )
        deinterlace = graph.add("bwdif", mode="send_frame", parity="auto", deint="interlaced")
        # Pinned, since the filter does not know every format and FFmpeg would convert for it without a word.
        same_format = graph.add("format", frame.format.name)
        graph.link_nodes(source, deinterlace, same_format, graph.add("buffersink")).configure()
        return graph

    def _ready(self) -> Iterator[av.VideoFrame]:
        while self._graph is not None:
            try:
                frame = self._graph.vpull()
            except (av.error.BlockingIOError, av.error.EOFError):
                return
            frame.pts = (frame.pts or 0) // _TICKS_PER_UNIT
            frame.duration //= _TICKS_PER_UNIT
            frame.time_base = self._stream.time_base
            yield frame

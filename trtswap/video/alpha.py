"""Transparency of VP9, which lies beside each picture's packet as a video of its own, and stays as it is.

Matroska keeps it in BlockAdditions (RFC 9559, 5.1.4.1.28.4). Decoders of the pictures do not look at it, so that it is
neither decoded nor encoded: each packet of the result gets what the source's packet of the same time had.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import av
from av.packet import Packet, PacketSideData

from trtswap.video.info import TRANSPARENCY, VideoInfo
from trtswap.video.probe import open_input, video_stream

_KIND: Final = "matroska_block_additional"
_DECODERS, _ENCODER = ("vp9", "libvpx-vp9"), "libvpx-vp9"
_CONTAINERS = ("webm", "matroska")


def carries_alpha(info: VideoInfo, encoder: str, container: str, size: tuple[int, int]) -> bool:
    """Whether a result can hold a source's transparency as it is: the same codec and size, in a file that has a place.

    Args:
        info: of the source.
        encoder: FFmpeg's name of the result's.
        container: FFmpeg's name of the result's format.
        size: (width, height) of the result, pixels.
    """
    same = info.codec in _DECODERS and encoder == _ENCODER and size == (info.width, info.height)
    return TRANSPARENCY in info.not_carried and same and container in _CONTAINERS


class Alpha:
    """The transparency of a source, by the times of its pictures.

    Args:
        path: of the source.
    """

    def __init__(self, path: Path) -> None:
        self._container = open_input(path)
        self._packets = self._read(path)
        self._known: dict[int, tuple[PacketSideData | None, bool]] = {}
        self._reached: int | None = None

    def is_key(self, pts: int) -> bool:
        """Whether the picture at a time of the source starts anew, so that what shows it has to, too."""
        return self._at(pts)[1]

    def attach(self, packet: "Packet[av.VideoStream]", pts: int) -> None:
        """Give a packet the transparency of a time of the source; each time once."""
        data, _ = self._at(pts)
        if data is not None:
            packet.set_sidedata(data)
        self._known.pop(pts, None)

    def close(self) -> None:
        self._container.close()

    def _at(self, pts: int) -> tuple[PacketSideData | None, bool]:
        while self._reached is None or self._reached < pts:
            packet = next(self._packets, None)
            if packet is None or packet.pts is None:
                break
            self._reached = packet.pts
            data = packet.get_sidedata(_KIND) if packet.has_sidedata(_KIND) else None
            self._known[packet.pts] = (data, packet.is_keyframe)
        return self._known.get(pts, (None, False))

    def _read(self, path: Path) -> "Iterator[Packet[av.VideoStream]]":
        """VP9 has no reordering: packets come by their times."""
        stream = video_stream(self._container, path)
        try:
            for packet in self._container.demux(stream):
                if packet.size:
                    yield packet
        except av.error.FFmpegError:
            return  # whoever reads the pictures says so

"""Which streams a file format holds: its muxer is asked, with a stream's first packet, before any work begins."""

import io
from collections.abc import Iterable
from pathlib import Path

import av
from av.packet import Packet
from av.stream import Disposition, Stream

from trtswap.video.probe import open_input

# Codecs that MPEG-TS has a stream type for (ISO/IEC 13818-1 table 2-34, ETSI EN 300 468); FFmpeg's names.
_IN_MPEGTS = frozenset((
    "mpeg1video", "mpeg2video", "mpeg4", "h264", "hevc", "vvc", "cavs", "avs2", "avs3", "dirac", "vc1", "jpeg2000",
    "mp1", "mp2", "mp3", "mp3float", "aac", "aac_latm", "ac3", "eac3", "dts", "dca", "truehd", "opus", "libopus",
    "s302m", "pcm_bluray", "dvb_subtitle", "dvbsub", "dvb_teletext", "hdmv_pgs_subtitle", "pgssub", "arib_caption",
    "klv", "timed_id3", "scte_35",
))  # fmt: skip
# Streams that begin later than this are tried without a packet.
_MOST_PACKETS = 500


def first_packets(path: Path, streams: Iterable[Stream]) -> "dict[int, Packet[Stream]]":
    """The first packet of each stream, by the stream's index, as far as they come early in the file."""
    wanted = {stream.index for stream in streams}
    found: dict[int, Packet[Stream]] = {}
    if not wanted:
        return found
    with open_input(path) as container:
        try:
            for number, packet in enumerate(container.demux([container.streams[index] for index in wanted])):
                if packet.size:
                    found.setdefault(packet.stream_index, packet)
                if found.keys() == wanted or number > _MOST_PACKETS:
                    break
        except av.error.FFmpegError:
            pass  # what was found is of use; whoever reads it next says so
    return found


def refusal(stream: Stream, muxer: str, packet: "Packet[Stream] | None") -> str | None:
    """Why a format does not hold a stream; None if it does.

    Args:
        stream: of an open file.
        muxer: FFmpeg's name of the format.
        packet: the stream's first, if it was found.
    """
    if stream.type == "attachment" and muxer != "matroska":
        return f"{muxer} has no attachments"
    if muxer == "mov" and stream.disposition & Disposition.attached_pic:
        return "QuickTime has no covers"  # likewise
    if muxer == "mpegts" and codec_of(stream) not in _IN_MPEGTS:
        return "MPEG-TS has no number for it"  # the muxer takes anything, and players nothing of that
    try:
        with av.open(io.BytesIO(), "w", format=muxer) as trial:
            target = trial.add_stream_from_template(stream, opaque=True)
            trial.start_encoding()
            if packet is not None and packet.dts is not None:
                packet.stream = target
                trial.mux_one(packet)
    except (av.error.FFmpegError, ValueError) as error:
        return getattr(error, "strerror", None) or str(error)
    return None


def codec_of(stream: Stream) -> str:
    """FFmpeg's name of a stream's codec, or ``unknown``."""
    return stream.codec_context.name if stream.codec_context is not None else "unknown"

"""Everything that trtswap raises on purpose.

Each message says what was given, what was expected and what to do. The library raises; only the command
line turns an error into text and an exit code.
"""


class TrtswapError(Exception):
    """Base of all errors that trtswap raises on purpose."""


class InputError(TrtswapError):
    """An argument has a value, shape or dtype that the called function does not take."""


class LimitError(TrtswapError):
    """A picture is larger than :class:`trtswap.limits.Limits` allow."""


class SourceError(TrtswapError):
    """A source or reference image cannot give an identity: unreadable, no face, or several faces."""


class SessionError(TrtswapError):
    """A session was given work after its end, or after an error."""


class PackError(TrtswapError):
    """A model pack is missing, incomplete, damaged, or breaks the contract of its graphs."""


class BackendError(TrtswapError):
    """A backend is not available here, or an engine failed to load or run."""


class DeviceMemoryError(BackendError):
    """The GPU has not enough free memory for an engine or its buffers."""


class EngineBuildError(BackendError):
    """A graph could not be compiled into an engine, or the engine differs too much from its reference."""


class PlanError(BackendError):
    """A compiled engine is missing, damaged, or was made for another GPU or another TensorRT."""


class VideoError(TrtswapError):
    """A video could not be read or written."""


class ReadError(VideoError):
    """A video cannot be opened or decoded."""


class TruncatedError(ReadError):
    """A video ended before its own header says it should; what was decoded has been delivered."""


class WriteError(VideoError):
    """A file cannot be written or put in its place, a video cannot be encoded or muxed."""


class BusyError(WriteError):
    """Another thread or process is writing the same file or folder at this moment."""


class CheckpointError(TrtswapError):
    """A checkpoint is missing, has another hash or size, or does not fit its network."""


class ExportError(TrtswapError):
    """A network could not be turned into a checked graph."""


class CalibrationError(TrtswapError):
    """Ranges could not be measured, or a calibration table is damaged or of another pack."""


class PrecisionError(TrtswapError):
    """A graph in lower precision differs from the original by more than its pack allows; has the figures."""

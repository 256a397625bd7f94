"""A page about one swap: pictures before and after, faces over time, time per stage, what ran."""

from trtswap.report.page import Report, write_report
from trtswap.report.recorder import Recorder

__all__ = ["Recorder", "Report", "write_report"]

"""A pack as three graphs that take whole frames: find, identify, swap.

Any ONNX runtime executes them; nothing of trtswap has to be there.
"""

from .layout import FORMATS, Layout
from .write import Embedded, embed

__all__ = ["FORMATS", "Embedded", "Layout", "embed"]

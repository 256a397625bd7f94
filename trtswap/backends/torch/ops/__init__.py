"""ONNX operators as PyTorch functions: one small function per operator, found with :func:`find`.

Positional parameters of a function are the operator's inputs, keyword parameters its attributes, with the
names and defaults of the ONNX specification (https://onnx.ai/onnx/operators). What was an attribute in an older
opset and is an input today (axes, pads) is one parameter that both reach.
"""

from trtswap.backends.torch.ops import elementwise, layout, neural, quantize, reduce, resize
from trtswap.backends.torch.ops.table import DTYPES, OPSETS, Operator, find, names

__all__ = [
    "DTYPES",
    "OPSETS",
    "Operator",
    "elementwise",
    "find",
    "layout",
    "names",
    "neural",
    "quantize",
    "reduce",
    "resize",
]

"""Other people's ONNX models as stages of a pack: graphs spliced in front and behind make the contract hold.

How a model wants its pixels is never guessed from its family: whoever wraps it declares it in a :class:`Wrapping`, or
takes what :mod:`trtswap.export.wrap.models` declares of a published one.
"""

from trtswap.export.wrap.declaration import Wrapping
from trtswap.export.wrap.packs import wrap, wrap_pack

__all__ = ["Wrapping", "wrap", "wrap_pack"]

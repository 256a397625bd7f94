"""Every file and folder that trtswap writes: whole or not at all, by one writer at a time, nothing left behind.

:class:`Target` is a file, :class:`TargetFolder` a folder, :func:`write_whole` a file whose content is there already.
They claim the name (:mod:`~trtswap.files.claim`), write beside it under a name that is nobody else's
(:mod:`~trtswap.files.names`), and rename when all is on the disk (:mod:`~trtswap.files.moves`).
"""

from trtswap.files.claim import Claim
from trtswap.files.folder import TargetFolder
from trtswap.files.target import Target, write_whole

__all__ = ["Claim", "Target", "TargetFolder", "write_whole"]

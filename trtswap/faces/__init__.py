"""Faces in frames: found, followed over time, recognised, and given an identity."""

from trtswap.faces.faces import Faces

__all__ = ["Faces"]

"""Faces that are too small to be swapped."""

from trtswap.faces.faces import Faces

# Side of the box, pixels of the displayed frame, below which YuNet's landmarks are off by more than a seventh of the
# distance between the eyes (0.14 of it at 19 px, 0.27 at 15, 0.64 at 10, against 0.07 from 58 px up), so that what is
# pasted no longer lies where the face is.
MIN_FACE = 20.0


def large_enough(faces: Faces, smallest: float = MIN_FACE) -> Faces:
    """The faces whose boxes are at least so large; 0 keeps all.

    A box's size is the side of the square of the same area, so that a face seen from the side counts as from the front.

    Args:
        faces: boxes in pixels of the displayed frame.
        smallest: pixels.
    """
    area = (faces.box[:, 2:] - faces.box[:, :2]).clamp(min=0).prod(1)
    return faces[area >= smallest**2]

"""Parametric 3-D heads, rendered on any torch device, with every truth that a face swap can be measured against.

Lengths are centimetres in the head's frame: the origin lies between the ears at the height of the eyes, x points
to the person's left (the right of the picture), y up, z out of the face. Angles are radians unless a name says
degrees.
"""

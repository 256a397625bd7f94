"""Planes of frames, colour, geometry, and the warps between frames and crops."""

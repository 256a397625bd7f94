"""The pack ``mesh``: a swap of real faces that nothing was trained for but the points of faces.

The source's picture is drawn onto the target's points, in the light that the target is in. :mod:`.graphs` has the two
graphs; the rest is what they are made of.
"""

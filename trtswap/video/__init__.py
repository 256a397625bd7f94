"""Video in and out: ``reader`` and ``writer`` are the entrances, every other module does one job for them.

Nothing is imported here: ``trtswap.frames`` needs ``video.color``, and the reader needs ``trtswap.frames``.
"""

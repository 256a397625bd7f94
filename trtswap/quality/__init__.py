"""How good a swap of real faces is, where there is no truth to compare with: what packages alone can measure.

Needs what ``pip install "trtswap[quality]"`` brings: OpenCV, and dlib's judge of who a face is.
"""

"""Points that a picture is drawn by, and which of them lies opposite to which.

Outlines of the face, eyes, irises, brows, lips and nose, and some of cheeks, forehead and chin. The pairs were found in
the mean of 30 faces, turned to the front: each point's nearest one in the mirror, which is mutual for all 478.
"""

RIGHT = (
    109, 67, 103, 54, 21, 162, 127, 234, 93, 132, 58, 172, 136, 150, 149, 176, 148, 61, 146, 91, 181, 84, 185,
    40, 39, 37, 78, 95, 88, 178, 87, 191, 80, 81, 82, 70, 63, 105, 66, 107, 55, 65, 52, 53, 46, 33, 7, 163, 144,
    145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246, 468, 469, 470, 471, 472, 98, 97, 64, 48, 129,
    220, 115, 45, 50, 205, 187, 123, 117, 101, 36, 207, 214, 192, 135, 108, 69, 104, 71, 68, 32, 208, 171, 140,
)  # fmt: skip
LEFT = (
    338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 291, 375, 321, 405,
    314, 409, 270, 269, 267, 308, 324, 318, 402, 317, 415, 310, 311, 312, 300, 293, 334, 296, 336, 285, 295,
    282, 283, 276, 263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466, 473, 476,
    475, 474, 477, 327, 326, 294, 278, 358, 440, 344, 275, 280, 425, 411, 352, 346, 330, 266, 427, 434, 416,
    364, 337, 299, 333, 301, 298, 262, 428, 396, 369,
)  # fmt: skip
MIDDLE = (
    10, 152, 17, 0, 14, 13, 1, 2, 4, 5, 6, 168, 195, 197, 19, 94, 9, 8, 151, 200, 199, 18, 175,
)  # fmt: skip

CONTROLS = [*RIGHT, *LEFT, *MIDDLE]
MIRRORED = [*range(len(RIGHT), 2 * len(RIGHT)), *range(len(RIGHT)), *range(2 * len(RIGHT), len(CONTROLS))]
"""Of each of ``CONTROLS`` the place, among them, of the one on the other side."""

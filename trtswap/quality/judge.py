"""An independent judge of who a face is: dlib's ResNet (King, 2017; CC0), which no pack was trained with.

Needs the packages ``dlib-bin`` (code under the Boost licence) and ``face_recognition_models`` 0.3.0 (its ResNet and its
predictor of five points are CC0; its predictor of 68 points is for non-commercial use, and is not read).
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


class Judge:
    """Descriptors of faces; those of one person lie near each other.

    Raises:
        ImportError: a package is missing; says which.
    """

    def __init__(self) -> None:
        import dlib  # noqa: PLC0415 - only who judges needs it

        spec = find_spec("face_recognition_models")  # importing it needs what setuptools has no more
        if spec is None or not spec.submodule_search_locations:
            raise ImportError("the judge needs face_recognition_models: pip install face_recognition_models==0.3.0")
        folder = Path(spec.submodule_search_locations[0]) / "models"
        self._dlib: Any = dlib
        self._points = dlib.shape_predictor(str(folder / "shape_predictor_5_face_landmarks.dat"))
        self._net = dlib.face_recognition_model_v1(str(folder / "dlib_face_recognition_resnet_model_v1.dat"))

    def __call__(self, picture: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float64]:
        """Descriptor [128] of a face in an RGB picture [H, W, 3], by its box x1 y1 x2 y2: dlib's own alignment."""
        # dlib's detector frames a face by a square from brow to chin, smaller than those of other detectors.
        centre, side = (box[:2] + box[2:]) / 2, 0.9 * float(np.sqrt(np.prod(box[2:] - box[:2])))
        left, top = (round(float(c) - side / 2) for c in (centre[0], centre[1] + 0.08 * side))
        square = self._dlib.rectangle(left, top, left + round(side), top + round(side))
        picture = np.ascontiguousarray(picture)
        shape = self._points(picture, square)
        return np.asarray(self._net.compute_face_descriptor(picture, shape))

"""The training scripts are no part of the wheel; the repository's root goes last, so that it hides nothing that is."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[2]))

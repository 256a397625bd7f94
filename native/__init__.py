"""Sources of libtrtswap, the C++ library that drives embedded graphs, and its CMake package."""

from pathlib import Path

FOLDER = Path(__file__).parent

"""How good a pack's swaps are, against rendered truth that no training saw. See ``__main__.py``."""

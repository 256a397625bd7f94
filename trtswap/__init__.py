"""trtswap: fast, careful face swapping in video."""

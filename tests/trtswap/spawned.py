"""A service with a worker process: ``spawned.py METHOD PICTURE FRAME``; prints whether both make the same."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import torch

from trtswap import Swapper
from trtswap.pictures.arrays import read_image

OPENED = []


def opened() -> None:
    """In each worker, once."""
    torch.set_num_threads(1)
    OPENED.append(Swapper("avatar", backend="onnxruntime", device="cpu"))


def swapped(who, options, frames):
    return OPENED[0].swap(frames, who, options=options)


if __name__ == "__main__":
    method, face, frame = sys.argv[1:]
    opened()
    (swapper,) = OPENED
    who, frames = swapper.identity(face), read_image(frame)[None].numpy()
    wanted = swapper.swap(frames, who)
    with ProcessPoolExecutor(1, multiprocessing.get_context(method), opened) as workers:
        found = workers.submit(swapped, who, swapper.options, frames).result()
    sys.stdout.write(f"changed {(wanted != frames).any()}, same {(found == wanted).all()}")

"""Open and close videos over and over, in several threads, with a swap in between: nothing may come to a standstill.

``python tests/fuzz/openings.py VIDEO... --openings 20000 --threads 4`` prints how many were opened; a standstill is
seen by who waits for it.
"""

import argparse
import sys
import threading
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from trtswap.options import RuntimeOptions
from trtswap.packs import find_pack
from trtswap.swapper import Swapper
from trtswap.video.reader import VideoReader

SAMPLES = find_pack("avatar") / "samples"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("videos", nargs="+", type=Path)
    parser.add_argument("--openings", type=int, default=20_000)
    parser.add_argument("--threads", type=int, default=4)
    args = parser.parse_args()
    torch.set_num_threads(1)
    numbers, errors = iter(range(args.openings)), list[BaseException]()

    def work() -> None:
        try:
            for number in numbers:
                with VideoReader(args.videos[number % len(args.videos)], batch_size=2) as reader:
                    list(islice(reader, number % 4))  # closed at its beginning, in its middle or at its end
        except BaseException as error:  # noqa: BLE001 - raised below
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(args.threads)]
    for thread in threads:
        thread.start()
    swaps = _swaps_while(threads)
    if errors:
        raise errors[0]
    sys.stdout.write(f"{args.openings} openings, {swaps} swaps\n")


def _swaps_while(threads: list[threading.Thread]) -> int:
    settled = RuntimeOptions(threads=1, frames=4, keep_compiled=False)
    with TemporaryDirectory() as folder, Swapper("avatar", backend="onnxruntime", runtime=settled) as swapper:
        who = swapper.identity(SAMPLES / "source_1.png")
        for done in count(1):
            target = Path(folder) / "out.mp4"
            swapper.swap_video(SAMPLES / "clip.mp4", target, who, end=0.1, preset="ultrafast", overwrite=True)
            if not any(thread.is_alive() for thread in threads):
                return done
            for thread in threads:
                thread.join(5)
    raise AssertionError


if __name__ == "__main__":
    main()

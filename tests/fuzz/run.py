"""Strangers' files by the thousand: ``make fuzz MINUTES=10``.

Prints as JSON how many cases of each kind ended how, and every fault: a crash, a hang, or an error that is no
TrtswapError. Exits with 1 where there was one. Cases are decided by ``--seed`` and their number alone.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from .farm import Found, again, run
from .kinds import KINDS

STEP = 500
# How many cases of a kind for each of the others: videos matter most, and take longest.
SHARE = {"video": 4, "picture": 2, "graph": 1}


def campaign(kinds: list[str], seed: int, *, minutes: float = 1e9, cases: int = 1 << 60) -> Found:
    """Cases of all kinds in turn, until the time is over or each kind has had its share of ``cases``."""
    end, found, begun = time.monotonic() + 60 * minutes, Found(), Counter[str]()
    with tempfile.TemporaryDirectory() as name:
        bases = {kind: seeds(kind, Path(name)) for kind in kinds}
        total = sum(SHARE.get(kind, 1) for kind in kinds)
        while time.monotonic() < end:
            left = {kind: cases * SHARE.get(kind, 1) // total - begun[kind] for kind in kinds}
            if max(left.values()) <= 0:
                break
            for kind in kinds:
                size = min(STEP * SHARE.get(kind, 1), left[kind])
                part = run(kind, range(begun[kind], begun[kind] + size), seed, bases[kind])
                begun[kind] += max(0, size)
                found.outcomes += part.outcomes
                found.faults += part.faults
                found.slowest = max(found.slowest, part.slowest)
                if time.monotonic() > end:
                    break
    return found


def seeds(kind: str, folder: Path) -> list[Path]:
    """The undamaged inputs of a kind."""
    (folder / kind).mkdir()
    return KINDS[kind].seeds(folder / kind)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=1e9)
    parser.add_argument("--cases", type=int, default=1 << 60, help="of all kinds together")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--again", metavar="KIND:NUMBER", help="do one case, and show where it ends")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.again:
        kind, _, number = args.again.partition(":")
        with tempfile.TemporaryDirectory() as name:
            again(kind, int(number), args.seed, seeds(kind, Path(name)))
        return
    found = campaign(args.kinds.split(","), args.seed, minutes=args.minutes, cases=args.cases)
    outcomes = {f"{kind}: {word}": count for (kind, word), count in sorted(found.outcomes.items())}
    faults = [vars(fault) for fault in found.faults]
    report = {
        "cases": found.outcomes.total(),
        "slowest": round(found.slowest, 2),
        "outcomes": outcomes,
        "faults": faults,
    }
    sys.stdout.write(json.dumps(report, indent=1) + "\n")
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()

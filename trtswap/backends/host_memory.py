"""How much memory of the host this process may still take: what is free, within the limits of its control groups."""

import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_MEMBERSHIP = Path("/proc/self/cgroup")
# Where the system tells nothing.
_GUESS = 1 << 32


def free_bytes() -> int:
    """Memory that may be taken now without reaching a limit, in bytes."""
    available = _available()
    return max(0, min([_GUESS if available is None else available, *_left_in_groups()]))


def _available() -> int | None:
    """What the machine has; pages of files count as free, for the kernel gives them up when they are wanted."""
    try:
        lines = Path("/proc/meminfo").read_text("ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration):
        known = hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None


def _left_in_groups() -> Iterator[int]:
    """For each control group that the process is in, and each above it, what its limit leaves.

    See the kernel's Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst.
    """
    try:
        lines = _MEMBERSHIP.read_text("utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _left(_CGROUPS, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            yield from _left(
                _CGROUPS / "memory", path, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            )


def _left(root: Path, path: str, limit: str, usage: str, reclaimable: str) -> Iterator[int]:
    # In a container the path is often the host's, and what is mounted as the root is the container's own group.
    group = root / path.strip("/")
    for folder in dict.fromkeys((group, *group.parents)):
        if folder != root and root not in folder.parents:
            return
        most, used = _number(folder / limit), _number(folder / usage)
        if most is not None and used is not None:
            yield most - used + _statistic(folder / "memory.stat", reclaimable)


def _number(file: Path) -> int | None:
    """None where there is no such file, or it says ``max``."""
    try:
        return int(file.read_text("ascii"))
    except (OSError, ValueError):
        return None


def _statistic(file: Path, name: str) -> int:
    try:
        rows = (line.split() for line in file.read_text("ascii").splitlines())
        return next((int(value) for key, value in rows if key == name), 0)
    except (OSError, ValueError):
        return 0

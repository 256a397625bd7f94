"""Free memory of the host is what the control groups leave, of both versions and of all levels."""

from pathlib import Path

import pytest

from trtswap.backends import host_memory

MIB = 2**20


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GiB free, whose control groups are in a folder of the test."""
    monkeypatch.setattr(host_memory, "_CGROUPS", tmp_path / "cgroup")
    monkeypatch.setattr(host_memory, "_MEMBERSHIP", tmp_path / "self")
    monkeypatch.setattr(host_memory, "_available", lambda: 8 << 30)
    return tmp_path


def write(group: Path, **files: object) -> None:
    group.mkdir(parents=True, exist_ok=True)
    for name, value in files.items():
        (group / name.replace("__", ".")).write_text(f"{value}\n")


def test_without_groups_it_is_the_machines(groups: Path) -> None:
    assert host_memory.free_bytes() == 8 << 30


def test_version_2_takes_the_tightest_level(groups: Path) -> None:
    (groups / "self").write_text("0::/slice/job\n")
    write(groups / "cgroup" / "slice" / "job", memory__max="max", memory__current=100 * MIB)
    write(groups / "cgroup" / "slice", memory__max=512 * MIB, memory__current=200 * MIB)
    assert host_memory.free_bytes() == 312 * MIB
    write(groups / "cgroup" / "slice", memory__stat=f"anon 5\ninactive_file {50 * MIB}")
    assert host_memory.free_bytes() == 362 * MIB  # the kernel gives up what it has read from files


def test_version_1(groups: Path) -> None:
    (groups / "self").write_text("9:cpu:/\n4:memory:/job\n")
    job = groups / "cgroup" / "memory" / "job"
    write(job, memory__limit_in_bytes=256 * MIB, memory__usage_in_bytes=56 * MIB)
    write(job, memory__stat=f"total_inactive_file {6 * MIB}")
    write(groups / "cgroup" / "memory", memory__limit_in_bytes=2**63 - 4096, memory__usage_in_bytes=56 * MIB)
    assert host_memory.free_bytes() == 206 * MIB


def test_in_a_container_the_root_is_its_own_group(groups: Path) -> None:
    """The path is the host's, and not there."""
    (groups / "self").write_text("0::/docker/0123\n")
    write(groups / "cgroup", memory__max=64 * MIB, memory__current=80 * MIB)
    assert host_memory.free_bytes() == 0

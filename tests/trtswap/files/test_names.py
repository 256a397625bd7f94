"""Names of unfinished files: of any target, unique, and never those of a user."""

import os
from pathlib import Path

import pytest

from trtswap.files.names import kept_name, key_in, key_of, kind_in, lock_name, unfinished_name

TARGETS = [
    "out.mp4", "out", ".hidden", "a.b.c.mkv", "x" * 251 + ".mp4", "ä" * 125 + ".mp4", os.fsdecode(b"caf\xe9.mp4"),
    os.fsdecode(b"\xff" * 250), "a\nb.mp4", "x." + "y" * 250, "-", "人.webm", "a.m\x1bp4",
]  # fmt: skip


@pytest.mark.parametrize("target", TARGETS, ids=range(len(TARGETS)))
def test_every_target_has_fresh_names_that_fit_and_are_known(target: str, tmp_path: Path) -> None:
    names = [unfinished_name(target, key_of(target), kind) for kind in ("part", "old")] + [
        unfinished_name(target, key_of(target)) for _ in range(20)
    ]
    assert len(set(names)) == 22
    for name in (*names, lock_name(key_of(target))):
        assert key_in(name) == key_of(target)
        name.encode("utf-8")  # some file systems and libraries take nothing else
        (tmp_path / name).touch(exist_ok=False)
    assert [kind_in(name) for name in names[:3]] == ["part", "old", "part"]


def test_the_suffix_stays() -> None:
    assert unfinished_name("a.b.mp4", key_of("a.b.mp4")).startswith(".a.b.trtswap-")
    assert unfinished_name("a.b.mp4", key_of("a.b.mp4")).endswith(".part.mp4")
    assert unfinished_name("pack", key_of("pack")).endswith(".part")


def test_what_is_kept_is_nothing_that_is_removed() -> None:
    assert kept_name("out.mp4").startswith("out.trtswap-")
    for target in TARGETS:
        assert key_in(kept_name(target)) is None


@pytest.mark.parametrize(
    "name",
    [
        "out.mp4", ".out.part", ".out.trtswap-123.part.mp4", "out.mp4.part", "mine.pth.part", ".trtswap-123.lock",
        f"out.trtswap-{'0' * 16}-{'0' * 12}.part", f".out.trtswap-{'0' * 16}-{'0' * 12}.mp4",
        f".out.trtswap-{'0' * 16}-{'0' * 12}.part.mp4.bak", f".out.trtswap-{'0' * 16}-{'0' * 12}.part~",
        f".trtswap-{'0' * 16}.lock.bak", f".trtswap-{'A' * 16}.lock", f"x.trtswap-{'0' * 16}.lock", ".pack-abcd1234",
    ],
)  # fmt: skip
def test_names_of_users_are_not_taken_for_ours(name: str) -> None:
    assert key_in(name) is None
    assert kind_in(name) is None

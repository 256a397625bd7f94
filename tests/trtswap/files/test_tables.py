"""TOML and JSON of strangers: read within bounds, and whatever is beyond them is one kind of error."""

from pathlib import Path

import pytest

from trtswap.files.tables import MOST_DEPTH, TableError, read_json, read_toml

BAD = {
    "deep arrays.toml": ("a = " + "[" * 5000 + "]" * 5000, "nested"),
    "deep keys.toml": (".".join("a" * 3000) + " = 1", "nested"),
    "deep tables.toml": ("[" + ".".join("a" * (MOST_DEPTH + 1)) + "]", "nested more than 32 deep"),
    "digits.toml": ("a = 1" + "0" * 5000, "digits"),
    "large.toml": (f"a = {10**30}", "more than 64 bits"),
    "infinite.toml": ("a = inf", "number inf"),
    "none.toml": ("a = nan", "number nan"),
    "not.toml": ("{}", "nvalid"),
    "heavy.toml": ("#" * (1 << 20) + "\na = 1", "larger than 1 MiB"),
    "deep.json": ("[" * 100_000 + "]" * 100_000, "nested"),
    "objects.json": ('{"a":' * 50 + "1" + "}" * 50, "nested more than 32 deep"),
    "digits.json": ('{"a": ' + "1" * 5000 + "}", "digits"),
    "large.json": (f'{{"a": {10**400}}}', "64 bits"),
    "infinite.json": ('{"a": 1e999}', "number inf"),
    "constant.json": ('{"a": Infinity}', "no number of JSON"),
    "list.json": ("[1]", "holds no object"),
    "empty.json": ("", "Expecting value"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_refused(name: str, tmp_path: Path) -> None:
    text, words = BAD[name]
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(TableError, match=words):
        (read_toml if path.suffix == ".toml" else read_json)(path)


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "latin1").write_bytes(b'a = "\xe9"')
    for path, words in ((tmp_path / "latin1", "no UTF-8: .* at byte 5"), (tmp_path, "no such file")):
        with pytest.raises(TableError, match=words):
            read_toml(path)


def test_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('a = -9223372036854775808\nb = 1.5\n[c]\nd = ["é"]\n', "utf-8")
    assert read_toml(tmp_path / "a.toml") == {"a": -(2**63), "b": 1.5, "c": {"d": ["é"]}}
    (tmp_path / "a.json").write_text('{"a": [1, null, true]}')
    assert read_json(tmp_path / "a.json") == {"a": [1, None, True]}

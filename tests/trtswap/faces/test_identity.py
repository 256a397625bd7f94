"""Identities on disk, and held against the pack that is to show them."""

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from trtswap import Identity, InputError, SourceError
from trtswap.errors import WriteError
from trtswap.faces.identity import FORMAT
from trtswap.model.pack import Pack
from trtswap.packs import find_pack

LATENT = torch.nn.functional.normalize(torch.linspace(-1, 1, 64), dim=0)


@pytest.fixture(scope="module")
def pack() -> Pack:
    return Pack.load(find_pack("avatar"))


@pytest.fixture
def anna(pack: Pack) -> Identity:
    return Identity(LATENT, ("a.png", "Ünïcode, 人.png"), pack.name, pack.stages["identify"].sha256)


def test_what_is_saved_is_read_back_bit_for_bit(anna: Identity, tmp_path: Path, pack: Pack) -> None:
    anna.save(tmp_path / "anna.safetensors")
    found = Identity.load(str(tmp_path / "anna.safetensors"))
    assert torch.equal(found.latent, anna.latent)
    assert (found.names, found.pack, found.graph) == (anna.names, anna.pack, anna.graph)
    assert list(load_file(tmp_path / "anna.safetensors")) == ["latent"]  # a file like any other of its kind
    found.check(pack)


def test_a_file_is_replaced_whole_or_not_at_all(
    anna: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "anna.safetensors"
    anna.save(path)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        with self.open("wb") as file:
            file.write(data[:20])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as m:
        m.setattr(Path, "write_bytes", full)
        with pytest.raises(WriteError, match=r"anna\.safetensors: cannot be written: No space left on device"):
            Identity(-LATENT).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["anna.safetensors"]
    Identity(-LATENT).save(path)
    assert torch.equal(Identity.load(path).latent, -LATENT)
    with pytest.raises(WriteError, match="there is no folder"):
        anna.save(tmp_path / "nowhere" / "anna.safetensors")


@pytest.mark.parametrize(
    ("tensors", "metadata", "message"),
    [
        ({"latent": LATENT}, None, r"holds no identity: its format is None"),
        ({"latent": LATENT}, {"format": "2"}, r"its format is '2', .*; expected 'trtswap identity 1'"),
        ({"latent": LATENT.half()}, {"format": FORMAT}, r"its latent torch\.float16 \[64\]"),
        ({"latent": LATENT[None]}, {"format": FORMAT}, r"its latent torch\.float32 \[1, 64\]"),
        ({"latent": LATENT / 0}, {"format": FORMAT}, r"numbers that are not finite"),
        ({"latent": LATENT}, {"format": FORMAT, "names": "7"}, r"or no names"),
        ({"latent": LATENT}, {"format": FORMAT, "names": "["}, r"cannot be read as an identity"),
        ({"latent": LATENT}, {"format": FORMAT, "names": "[" * 200_000}, r"cannot be read as an identity"),
        ({"latent": LATENT}, {"format": FORMAT, "names": f"[{'9' * 5000}]"}, r"cannot be read as an identity"),
        ({"weight": LATENT}, {"format": FORMAT}, r"cannot be read as an identity: .*latent"),
    ],
)
def test_other_files_are_no_identities(
    tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None, message: str, tmp_path: Path
) -> None:
    save_file(tensors, tmp_path / "x.safetensors", metadata)
    with pytest.raises(SourceError, match=rf"x\.safetensors .*{message}"):
        Identity.load(tmp_path / "x.safetensors")


@pytest.mark.parametrize("content", [b"", b"PK\3\4", b"\xff" * 64])
def test_damaged_files_are_no_identities(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(content)
    with pytest.raises(SourceError, match="cannot be read as an identity"):
        Identity.load(tmp_path / "x.safetensors")
    with pytest.raises(SourceError, match="cannot be read as an identity"):
        Identity.load(tmp_path / "nothing.safetensors")


def test_another_graphs_identity_is_refused_with_both_names(pack: Pack) -> None:
    other = Identity(LATENT, ("a.png",), "simswap-224", "ab" * 32)
    message = (
        r"identity of a\.png was made by .* pack simswap-224 \(abababababab…\), pack avatar has another \(35ccde95"
    )
    with pytest.raises(InputError, match=message):
        other.check(pack)


def test_a_latent_of_ones_own_making_needs_the_right_length_alone(pack: Pack) -> None:
    Identity(LATENT).check(pack)
    with pytest.raises(InputError, match=r"an identity has a latent of 512 numbers; pack avatar works with 64"):
        Identity(torch.zeros(512)).check(pack)


def test_it_moves_to_another_device_with_all_that_is_known_of_it(anna: Identity) -> None:
    moved = anna.to(torch.device("meta"))
    assert (moved.latent.device.type, anna.latent.device.type) == ("meta", "cpu")
    assert (moved.names, moved.pack, moved.graph) == (anna.names, anna.pack, anna.graph)


@pytest.mark.parametrize("latent", [LATENT[None], LATENT.numpy(), None, LATENT.to("meta")])
def test_what_is_no_row_of_numbers_is_refused(latent: Any, pack: Pack) -> None:
    with pytest.raises(InputError, match=r"an identity has a .* in it, expected one row of float32"):
        Identity(latent).check(pack)


def test_a_pipe_is_no_identity(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SourceError, match="there is no such file"):
        Identity.load(tmp_path / "pipe")

"""The manifest, finding and verifying files, and loading them into networks."""

from dataclasses import replace
from hashlib import sha256

import pytest
import torch
from torch import nn

from trtswap.errors import CheckpointError
from trtswap.export import checkpoints
from trtswap.export.checkpoints import Checkpoint
from trtswap.export.networks.arcface import ArcFace
from trtswap.export.networks.bisenet import BiSeNet
from trtswap.export.networks.gfpgan import GFPGAN
from trtswap.export.networks.simswap import SimSwap


def checkpoint_of(path, **fields):
    """A manifest entry for a file of the test's own."""
    content = path.read_bytes()
    entry = Checkpoint("mine", path.name, sha256(content).hexdigest(), (), "CC0", "state_dict", len(content))
    return replace(entry, **fields)


def saved(path, content, **fields):
    torch.save(content, path)
    return checkpoint_of(path, **fields)


def test_manifest_is_complete_and_consistent():
    entries = checkpoints.manifest()
    wanted = {"yunet_n", "yunet_s", "bisenet", "simswap_arcface", "simswap_224", "simswap_512_beta", "gfpgan_1_4"}
    assert wanted <= set(entries)
    assert len({entry.sha256 for entry in entries.values()}) == len(entries)
    assert len({entry.file for entry in entries.values()}) == len(entries)
    for name, entry in entries.items():
        assert entry.name == name
        assert len(bytes.fromhex(entry.sha256)) == 32
        assert entry.urls or entry.archive
        assert all(url.startswith("https://") for url in entry.urls)
        assert entry.licence
        assert (entry.format == "onnx") == entry.file.endswith(".onnx")
    assert entries["simswap_224"].archive.file == "checkpoints.zip"


@pytest.mark.parametrize("name", ["yunet_n", "yunet_s"])
def test_real_checkpoints_are_what_the_manifest_says(data, name):
    path = checkpoints.find(name, data)
    tensors = checkpoints.load_state_dict(name, path)
    assert len(tensors) == {"yunet_n": 208, "yunet_s": 181}[name]
    assert tensors["backbone.model0.conv1.weight"].shape == (16, 3, 3, 3)


def test_unknown_name_lists_the_known_ones(tmp_path):
    with pytest.raises(CheckpointError, match="'yunet' is unknown; expected one of: yunet_n, "):
        checkpoints.find("yunet", tmp_path)


def test_default_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TRTSWAP_WEIGHTS", raising=False)
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert checkpoints.default_folder() == tmp_path / ".local/share/trtswap/weights"
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert str(checkpoints.default_folder()) == "/data/trtswap/weights"
    monkeypatch.setenv("TRTSWAP_WEIGHTS", "/weights")
    assert str(checkpoints.default_folder()) == "/weights"


def test_file_is_found_under_any_name_and_never_mistaken(tmp_path):
    entry = saved(tmp_path / "right.pth", {"a": torch.ones(3)})
    other = tmp_path / "below" / "renamed.bin"
    other.parent.mkdir()
    (tmp_path / "right.pth").rename(other)
    (tmp_path / "right.pth").write_bytes(b"\0" * entry.size)
    assert checkpoints.find(entry, tmp_path) == other
    with pytest.raises(CheckpointError, match=r"right.pth is not the official file: its sha256 is [0-9a-f]{64}, exp"):
        checkpoints.verify(entry, tmp_path)
    other.unlink()
    with pytest.raises(CheckpointError, match=f"{entry.sha256}. Get it with: trtswap weights pull mine --into"):
        checkpoints.find(entry, tmp_path)


def test_unverified_file_is_not_loaded(tmp_path):
    path = tmp_path / "a.pth"
    entry = saved(path, {"a": torch.ones(3)})
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(CheckpointError, match=f"it has {entry.size + 1:,} bytes, expected {entry.size:,}"):
        checkpoints.load_state_dict(entry, path)
    with pytest.raises(CheckpointError, match="there is no file"):
        checkpoints.load_state_dict(entry, tmp_path / "b.pth")


def test_entry_of_the_file_that_holds_the_tensors(tmp_path):
    path = tmp_path / "a.pth"
    entry = saved(path, {"params_ema": {"a": torch.ones(3)}, "params": {"a": torch.zeros(3)}}, entry="params_ema")
    assert checkpoints.load_state_dict(entry, path)["a"].tolist() == [1, 1, 1]
    with pytest.raises(CheckpointError, match="has no entry 'state_dict'"):
        checkpoints.load_state_dict(replace(entry, entry="state_dict"), path)
    with pytest.raises(CheckpointError, match="'params_ema' is a dict, expected a tensor"):
        checkpoints.load_state_dict(replace(entry, entry=None), path)


class Unknown:
    """Nothing that weights_only loads."""


@pytest.mark.parametrize(
    ("content", "problem"),
    [({"a": Unknown()}, "it holds more than tensors"), ([torch.ones(1)], "holds a list, expected tensors by name")],
)
def test_file_with_anything_but_tensors(tmp_path, content, problem):
    entry = saved(tmp_path / "a.pth", content)
    with pytest.raises(CheckpointError, match=problem):
        checkpoints.load_state_dict(entry, tmp_path / "a.pth")


def test_damaged_file(tmp_path):
    (tmp_path / "a.pth").write_bytes(b"PK\x03\x04 no zip")
    with pytest.raises(CheckpointError, match=r"a.pth: cannot be read as tensors by name"):
        checkpoints.load_state_dict(checkpoint_of(tmp_path / "a.pth"), tmp_path / "a.pth")


def test_ready_made_graph_has_no_tensors_by_name(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"graph")
    with pytest.raises(CheckpointError, match="is an ONNX graph"):
        checkpoints.load_state_dict(checkpoint_of(tmp_path / "a.onnx", format="onnx"), tmp_path / "a.onnx")


def narrow_networks():
    return [
        (BiSeNet(width=0.125), "conv_out16.conv.conv.weight"),
        (ArcFace(8, layers=(1, 1, 1, 1), width=0.125), "layer2.0.se.fc.1.weight"),
        (SimSwap("512-beta", latent=8, width=0.125, blocks=1), "up0.2.running_var"),
        (GFPGAN(8, style=8, mapping_layers=1, narrow=0.125), "stylegan_decoder.noises.noise2"),
    ]


@pytest.mark.parametrize(("network", "key"), narrow_networks(), ids=["bisenet", "arcface", "simswap", "gfpgan"])
def test_missing_and_misshapen_tensors_are_named(network, key):
    tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    value = tensors.pop(key)
    with pytest.raises(CheckpointError, match=f"lacks {key}, which {type(network).__name__} needs"):
        checkpoints.load_into(network, tensors)
    tensors[key] = torch.zeros(*value.shape, 2)
    with pytest.raises(CheckpointError, match=rf"{key} has shape \({value.shape[0]}, .*2\) in the checkpoint, but"):
        checkpoints.load_into(network, tensors)


def test_all_values_arrive():
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    wanted = {key: torch.full_like(tensor, i) for i, (key, tensor) in enumerate(network.state_dict().items())}
    checkpoints.load_into(network, wanted)
    for key, tensor in network.state_dict().items():
        assert torch.equal(tensor, wanted[key])


def test_unexpected_tensors_need_leave():
    network = nn.Linear(1, 1)
    tensors = {**network.state_dict(), **{f"fc.{i}": torch.ones(1) for i in range(7)}}
    with pytest.raises(CheckpointError, match=r"has fc.0, fc.1, fc.2, fc.3, fc.4 and 2 more, which Linear does not"):
        checkpoints.load_into(network, tensors)
    checkpoints.load_into(network, tensors, unexpected=("fc.*",))


def test_512_beta_may_hold_more_than_the_network():
    assert checkpoints.manifest()["simswap_512_beta"].unexpected == ("*",)

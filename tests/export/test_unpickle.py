"""Pickled modules: their tensors come out, their code never runs."""

import os
import pickle
import sys
from types import ModuleType

import pytest
import torch
from torch import nn

from trtswap.errors import CheckpointError
from trtswap.export.unpickle import load_module_state

both_formats = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


class IRBlock(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(2, 3, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(3)
        self.prelu = nn.PReLU()
        self.downsample = None

    def __setstate__(self, state):
        raise AssertionError("the pickle's own classes must not be touched")


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer1 = nn.Sequential(IRBlock(), IRBlock())
        self.fc = nn.Linear(4, 2)
        self.dropout = nn.Dropout()
        self.fc.register_buffer("none", None)


@pytest.fixture
def arcface_models(monkeypatch):
    """The classes above live in ``models.arcface_models`` while they are pickled, and nowhere when they are read."""
    for name in ("models", "models.arcface_models"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    for cls in (IRBlock, ResNet):
        monkeypatch.setattr(cls, "__module__", "models.arcface_models")
        setattr(sys.modules["models.arcface_models"], cls.__name__, cls)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")  # torch.save's
@both_formats
def test_tensors_of_a_pickled_module(tmp_path, arcface_models, monkeypatch, zipped):
    network = ResNet()
    for tensor in network.state_dict().values():
        tensor.copy_(torch.rand(tensor.shape) * 100)
    path = tmp_path / "checkpoint.tar"
    torch.save(network, path, _use_new_zipfile_serialization=zipped)
    monkeypatch.delitem(sys.modules, "models.arcface_models")
    monkeypatch.delitem(sys.modules, "models")

    tensors = load_module_state(path)

    wanted = network.state_dict()
    assert tensors.keys() == wanted.keys()
    assert all(torch.equal(tensors[key], wanted[key]) for key in wanted)
    assert not any(tensor.requires_grad for tensor in tensors.values())


class Malicious:
    """Runs a command when it is unpickled by ordinary means."""

    def __init__(self, function, argument):
        self.call = (function, (argument,))

    def __reduce__(self):
        return self.call


@both_formats
@pytest.mark.parametrize("function", [os.system, eval, __import__], ids=lambda f: f.__name__)
def test_malicious_pickle_is_refused_without_running(tmp_path, zipped, function):
    witness, path = tmp_path / "ran", tmp_path / "checkpoint.tar"
    argument = {"system": f"touch {witness}", "eval": f"open({str(witness)!r}, 'w')", "__import__": "os"}
    evil = Malicious(function, argument[function.__name__])
    module = nn.Linear(1, 1)
    module.evil = evil
    torch.save(module, path, _use_new_zipfile_serialization=zipped)

    with pytest.raises(CheckpointError, match=rf"{function.__name__}, which is not on the allow-list"):
        load_module_state(path)

    assert not witness.exists()
    if function is os.system:  # the trap is a real one
        torch.load(path, weights_only=False)
        assert witness.exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"no pickle at all", "cannot be read as a pickled module"),
        (b"", "cannot be read as a pickled module"),
        (pickle.dumps({"a": 1}), "cannot be read as a pickled module"),
    ],
)
def test_file_that_is_no_checkpoint(tmp_path, content, problem):
    path = tmp_path / "checkpoint.tar"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=problem):
        load_module_state(path)


def test_file_with_tensors_and_no_module(tmp_path):
    torch.save({"a": torch.ones(1)}, tmp_path / "a.tar")
    with pytest.raises(CheckpointError, match="it holds a dict, not a module"):
        load_module_state(tmp_path / "a.tar")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_compiled_program_is_refused(tmp_path):
    class Program(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    torch.jit.save(torch.jit.trace(Program(), torch.ones(1)), tmp_path / "a.tar")
    with pytest.raises(CheckpointError, match="it is a TorchScript program"):
        load_module_state(tmp_path / "a.tar")

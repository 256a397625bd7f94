"""Embedded graphs as a model repository of NVIDIA's Triton Inference Server.

Each graph is a model of Triton's onnxruntime backend, and an ensemble with the pack's name goes from frames to swapped
frames. Fields are those of Triton's ``model_config.proto``. Batches are Triton's own, so that no shape names ``B``.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

BATCH = 8
"""Most frames that go through a graph at once."""
DELAY = 2000
"""How long a request waits for others of its shape, microseconds: less than a tenth of a frame at 50 frames/s."""
TOLD = ("boxes", "landmarks", "scores")
"""What an ensemble says of faces besides the frames."""
_TYPES = {"float32": "FP32", "uint8": "UINT8"}


class _Word(str):
    """A value without quotes: one of an enumeration."""

    __slots__ = ()


def model(pack: str, graph: str) -> str:
    """What Triton calls a graph of a pack."""
    return f"{pack}_{graph}"


def place(pack: str, graph: str) -> str:
    """Where a graph lies in a repository."""
    return str(PurePosixPath(model(pack, graph), "1", "model.onnx"))


def write_configs(about: Mapping[str, Any], folder: Path) -> None:
    """Write the configs of a repository, and the folders of their models' one version.

    Args:
        about: what ``embed.json`` says of graphs whose window is fixed.
        folder: the repository.
    """
    for name, text in configs(about):
        (folder / name / "1").mkdir(parents=True, exist_ok=True)  # that of an ensemble is empty
        (folder / name / "config.pbtxt").write_text(text, encoding="utf-8")


def configs(about: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Of each model its name and its ``config.pbtxt``.

    Args:
        about: what ``embed.json`` says of graphs whose window is fixed.
    """
    pack, graphs = about["pack"]["name"], about["graphs"]
    for name, graph in graphs.items():
        fields = {
            "name": model(pack, name),
            "backend": "onnxruntime",
            "max_batch_size": BATCH,
            "input": list(map(_tensor, graph["inputs"])),
            "output": list(map(_tensor, graph["outputs"])),
            "instance_group": [{"count": 1, "kind": _Word("KIND_AUTO")}],
            "dynamic_batching": {"max_queue_delay_microseconds": DELAY},
        }
        yield model(pack, name), _text(fields)
    yield pack, _text(_ensemble(pack, about["faces"], graphs["find"], graphs["swap"]))


def _ensemble(pack: str, faces: int, find: Mapping[str, Any], swap: Mapping[str, Any]) -> dict[str, Any]:
    """Find, then swap: what is found need not be given."""
    found = {tensor["name"]: tensor for tensor in find["outputs"]}
    given = [tensor for tensor in swap["inputs"] if tensor["name"] not in found]
    passed = [tensor["name"] for tensor in swap["inputs"] if tensor["name"] in found]
    shown = [found[name] for name in dict.fromkeys((*passed, *TOLD))]
    return {
        "name": pack,
        "platform": "ensemble",
        "max_batch_size": BATCH,
        "input": [_tensor(tensor, faces) for tensor in given],
        "output": [*map(_tensor, swap["outputs"]), *(_tensor(found[name]) for name in TOLD)],
        "ensemble_scheduling": {
            "step": [
                _step(model(pack, "find"), find["inputs"], shown),
                _step(model(pack, "swap"), swap["inputs"], swap["outputs"]),
            ]
        },
    }


def _step(name: str, takes: Sequence[Mapping[str, Any]], gives: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A model of an ensemble, whose tensors have the names of the model's."""
    return {
        "model_name": name,
        "model_version": -1,
        "input_map": [{"key": tensor["name"], "value": tensor["name"]} for tensor in takes],
        "output_map": [{"key": tensor["name"], "value": tensor["name"]} for tensor in gives],
    }


def _tensor(tensor: Mapping[str, Any], faces: int | None = None) -> dict[str, Any]:
    """A tensor, without its batch; ``faces`` is how many slots there are, where that is known."""
    sizes = {"F": faces or -1}
    dims = [sizes.get(size, -1) if isinstance(size, str) else size for size in tensor["shape"][1:]]
    return {"name": tensor["name"], "data_type": _Word(f"TYPE_{_TYPES[tensor['type']]}"), "dims": dims}


def _text(fields: Mapping[str, Any], indent: str = "") -> str:
    """Protocol buffers' text format: a line for each field, and for each message that has none in it."""
    lines = list[str]()
    for name, value in fields.items():
        entries = value if _messages(value) else [value]
        lines.extend(f"{indent}{name}{_value(entry, indent)}\n" for entry in entries)
    return "".join(lines)


def _value(value: Any, indent: str) -> str:
    if not isinstance(value, Mapping):
        return f": {value}" if isinstance(value, int | list | _Word) else f': "{value}"'
    if not any(_messages(part) for part in value.values()):
        return " { " + " ".join(f"{name}{_value(part, indent)}" for name, part in value.items()) + " }"
    return f" {{\n{_text(value, indent + '  ')}{indent}}}"


def _messages(value: Any) -> bool:
    return isinstance(value, list) and any(isinstance(entry, Mapping) for entry in value)

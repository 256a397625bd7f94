"""An ONNX graph as a fixed list of PyTorch calls.

The plan knows, before anything runs, where every value lives. Values that decide shapes and positions are
computed on the host from the shapes of tensors, everything else on the device; no value ever comes from the
device to the host, so that nothing waits for a GPU.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from trtswap.backends.torch.ops import Operator

HOST = torch.device("cpu")
ABSENT = 0
"""Slot of an optional input that a node leaves out; it holds None."""


@dataclass(frozen=True)
class Node:
    """One node of a graph with its operator; ``""`` stands for an input or output that is left out."""

    label: str
    operator: Operator
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]

    def bind(self, device: torch.device) -> Callable[..., Any]:
        """The node's function with all but its inputs filled in."""
        extra = {"device": device, "output_count": len(self.outputs)}
        known = {k: v for k, v in extra.items() if k in self.operator.parameters}
        return partial(self.operator.run, **self.attributes, **known)


@dataclass(frozen=True)
class Step:
    """One call: which slots go in, which are filled, and which nobody needs afterwards."""

    label: str
    run: Callable[..., Any]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    dead: tuple[int, ...] = ()
    is_upload: bool = False


class StepError(Exception):
    """A step cannot be planned or failed to run; the message names its node."""


@dataclass(frozen=True)
class Plan:
    """Steps over numbered slots.

    Attributes:
        slots: what the slots hold before the first step: constants, and None elsewhere.
        inputs, outputs: slots of the graph's inputs and outputs by name.
    """

    steps: tuple[Step, ...]
    slots: tuple[Tensor | None, ...]
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]

    def with_half_weights(self, dtype: torch.dtype) -> "Plan":
        """The same plan with the constant weights of its convolutions in another dtype and channels last.

        For autocast, which would otherwise convert them on every run.
        """
        weights = {step.inputs[1] for step in self.steps if step.label.startswith("Conv ") and len(step.inputs) > 1} - {
            slot for step in self.steps for slot in step.outputs
        }
        slots = tuple(_as_weight(value, dtype) if i in weights else value for i, value in enumerate(self.slots))
        return replace(self, slots=slots)

    def run(self, tensors: Mapping[str, Tensor], uploads: dict[int, Tensor] | None = None) -> dict[str, Tensor]:
        """Outputs for given inputs; an output may share memory with an input or a constant.

        Args:
            uploads: what was copied from the host for inputs of the same shapes, by the slot that it fills; missing
                ones are added. With it a run copies nothing from the host.

        Raises:
            StepError: an operator refused its inputs, or ran out of memory.
        """
        slots = list(self.slots)
        for name, slot in self.inputs.items():
            slots[slot] = tensors[name]
        for step in self.steps:
            known = None if uploads is None or not step.is_upload else uploads.get(step.outputs[0])
            results = _call(step, [slots[i] for i in step.inputs]) if known is None else (known,)
            if uploads is not None and step.is_upload:
                uploads[step.outputs[0]] = results[0]
            for slot, result in zip(step.outputs, results, strict=False):
                slots[slot] = result
            for slot in step.dead:
                slots[slot] = None
        return {name: value for name, slot in self.outputs.items() if (value := slots[slot]) is not None}


def _as_weight(value: Tensor | None, dtype: torch.dtype) -> Tensor | None:
    if value is None or not value.is_floating_point():
        return value
    layout = torch.channels_last if value.ndim == 4 else torch.contiguous_format
    return value.to(dtype, memory_format=layout)


def _call(step: Step, inputs: Sequence[Tensor | None]) -> tuple[Tensor, ...]:
    try:
        results = step.run(*inputs)
    except (RuntimeError, ValueError, IndexError, TypeError, KeyError, ArithmeticError) as e:
        shapes = ", ".join("none" if t is None else f"{list(t.shape)} {t.dtype}" for t in inputs)
        raise StepError(f"{step.label} on {shapes}: {e}") from e
    return (results,) if isinstance(results, Tensor) else results


def make_plan(
    nodes: Sequence[Node],
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    constants: Mapping[str, Tensor],
    device: torch.device,
) -> Plan:
    """Plan a graph.

    Args:
        nodes: in an order in which every value is made before it is used.
        inputs, outputs: names of the graph's inputs and outputs.
        constants: initialisers by name, on the CPU.
        device: where the inputs are and the outputs shall be.

    Raises:
        StepError: a shape or position depends on the values of an input.
    """
    constants, nodes = fold(nodes, constants)
    planner = _Planner(constants, device, _needed_on_host(nodes, constants))
    for name in inputs:
        planner.new_slot(name, device)
    for node in nodes:
        planner.add(node)
    slots = {name: planner.slot(name, device) for name in outputs}
    return Plan(
        steps=_with_dead_slots(planner.steps, set(slots.values())),
        slots=tuple(planner.slots),
        inputs={name: planner.slot(name, device) for name in inputs},
        outputs=slots,
    )


def fold(nodes: Sequence[Node], constants: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Node]]:
    """Compute what depends on constants alone, on the CPU; returns all constants and the nodes that are left."""
    known, left = dict(constants), []
    for node in nodes:
        if any(name and name not in known for name in node.inputs):
            left.append(node)
            continue
        step = Step(node.label, node.bind(HOST), (), ())
        known |= zip(node.outputs, _call(step, [known.get(name) for name in node.inputs]), strict=False)
    return known, left


def _needed_on_host(nodes: Sequence[Node], constants: Mapping[str, Tensor]) -> set[str]:
    """Names of values that shapes and positions are computed from."""
    from_shapes: set[str] = set(constants)
    for node in nodes:
        if node.operator.metadata or all(name in from_shapes for name in node.inputs if name):
            from_shapes.update(node.outputs)
    needed: set[str] = set()
    for node in reversed(nodes):
        on_host = bool(needed & set(node.outputs)) and not node.operator.metadata
        for position, name in enumerate(node.inputs):
            if not name or not (on_host or position in node.operator.host):
                continue
            if name not in from_shapes:
                raise StepError(
                    f"{node.label}: its input {name} decides a shape or position and depends on the values of the "
                    "graph's inputs; only shapes may decide that"
                )
            needed.add(name)
    return needed


class _Planner:
    """Gives every value a slot for each place it is needed in."""

    def __init__(self, constants: Mapping[str, Tensor], device: torch.device, on_host: set[str]) -> None:
        self.steps: list[Step] = []
        self.slots: list[Tensor | None] = [None]
        self._constants = constants
        self._device = device
        self._on_host = on_host
        self._places: dict[tuple[str, torch.device], int] = {}

    def new_slot(self, name: str, place: torch.device, value: Tensor | None = None) -> int:
        self.slots.append(value)
        if name:
            self._places[name, place] = len(self.slots) - 1
        return len(self.slots) - 1

    def slot(self, name: str, place: torch.device) -> int:
        """Where a value is, brought to the place if it is not there yet."""
        if not name:
            return ABSENT
        if (name, place) in self._places:
            return self._places[name, place]
        if name in self._constants:
            return self.new_slot(name, place, self._constants[name].to(place))
        if (name, HOST) not in self._places:
            raise StepError(f"value {name} is used before any node makes it")
        source = self._places[name, HOST]
        target = self.new_slot(name, place)
        self.steps.append(
            Step(f"upload of {name}", partial(upload, device=place), (source,), (target,), is_upload=True)
        )
        return target

    def add(self, node: Node) -> None:
        operator = node.operator
        on_host = operator.metadata or any(name in self._on_host for name in node.outputs)
        place = HOST if on_host else self._device
        inputs = []
        for position, name in enumerate(node.inputs):
            reads = self._device_of(name) if operator.metadata else HOST if position in operator.host else place
            inputs.append(self.slot(name, reads))
        outputs = tuple(self.new_slot(name, place) for name in node.outputs)
        self.steps.append(Step(node.label, node.bind(place), tuple(inputs), outputs))

    def _device_of(self, name: str) -> torch.device:
        """Where a value is already, for readers of its shape alone."""
        return self._device if (name, self._device) in self._places else HOST


def upload(value: Tensor, *, device: torch.device) -> Tensor:
    """A host value on the device; a single number is filled in there, which needs no copy that could wait."""
    if value.numel() == 1:
        return torch.full(value.shape, value.item(), dtype=value.dtype, device=device)
    return value.to(device, non_blocking=True)


def _with_dead_slots(steps: Sequence[Step], kept: set[int]) -> tuple[Step, ...]:
    """Every step with the slots that no later step reads; ``kept`` are never dead, nor are constants."""
    made = {slot for step in steps for slot in step.outputs}
    last: dict[int, int] = {}
    for index, step in enumerate(steps):
        last |= dict.fromkeys((*step.inputs, *step.outputs), index)
    dead: dict[int, list[int]] = {}
    for slot, index in last.items():
        if slot in made and slot not in kept:
            dead.setdefault(index, []).append(slot)
    return tuple(replace(step, dead=tuple(dead.get(index, ()))) for index, step in enumerate(steps))

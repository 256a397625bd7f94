"""The bench contract: what is written is strict, complete and consistent."""

import copy
import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).parents[2] / "bench"


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


measure = load("measure")


def test_sides_are_interleaved_after_the_warm_up() -> None:
    calls: list[str] = []
    rows = measure.interleaved({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, repeats=3, warm_up=1)
    assert calls == ["a", "b"] * 4
    assert [len(row["values"]) for row in rows] == [3, 3]
    assert all(row["median"] > 0 for row in rows)


def test_work_may_measure_itself() -> None:
    values = iter([100.0, 1.0, 2.0, 9.0])
    (row,) = measure.interleaved({"a": lambda: next(values)}, repeats=3, warm_up=1, unit="dB")
    assert (row["median"], row["unit"]) == (2.0, "dB")


def test_results_name_the_machine_but_nothing_private() -> None:
    data = measure.result("x", [measure.case("a", "ms", [1.0, 2.0])], repeats=2)
    assert data["machine"]["cores"] >= 1
    assert "torch" in data["machine"]["libraries"]
    assert "hostname" not in json.dumps(data)


@pytest.mark.parametrize(
    "damage",
    [
        lambda d: d.pop("machine"),
        lambda d: d.update(extra=1),
        lambda d: d["cases"][0].pop("unit"),
        lambda d: d["cases"][0].update(median=99.0),
        lambda d: d["cases"][0].update(quartiles=[2.0, 1.0]),
        lambda d: d["cases"][0].update(values=[]),
        lambda d: d["settings"].update(bad=float("nan")),
    ],
)
def test_a_broken_result_is_refused(damage) -> None:  # type: ignore[no-untyped-def]
    data = copy.deepcopy(measure.result("x", [measure.case("a", "ms", [1.0, 2.0, 3.0])]))
    measure.check(data)
    damage(data)
    with pytest.raises(ValueError, match=r"result has|case|Out of range|min"):
        measure.check(data)


@pytest.mark.parametrize("path", sorted((BENCH / "results").glob("*.json")), ids=lambda p: p.name)
def test_committed_results_follow_the_schema(path: Path) -> None:
    measure.check(json.loads(path.read_text(encoding="utf-8")))

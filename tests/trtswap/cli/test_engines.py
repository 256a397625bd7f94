"""``trtswap build-engines``, ``trtswap engines`` and ``trtswap doctor --engines``, on the emulator."""

import io
import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from rich.console import Console

from trtswap.backends.trt.plans import stored_plans
from trtswap.cli.build_progress import BuildDisplay
from trtswap.model.pack import Pack

from ...engines.packs import write_pack
from ...trt_emulator.machine import Machine
from .conftest import Run


@pytest.fixture
def hand(tmp_path: Path) -> Pack:
    return write_pack(tmp_path / "hand")


@pytest.fixture
def build(run: Run, emulator: Machine, hand: Pack) -> Run:
    return lambda *arguments: run("build-engines", hand.path, "--precision", "fp32", *arguments)


def test_build_says_what_it_built_and_why(build: Run) -> None:
    ran = build()
    assert ran.code == 0
    assert "swap: building, because: not built yet; compiler: onnx-parser." in ran.err
    assert "swap: fp32, 0.0 MiB, built in 0 s for Emulated GPU (compute capability 8.9), device memory " in ran.out
    assert " MiB; against FP32: picture_db 120; " in ran.out
    again = build()
    assert again.err == ""
    assert again.out.count("was there already") == 4
    assert build("--quiet").out == ""


def test_options_reach_the_config(build: Run, tmp_path: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text("[swap]\noptimisation_level = 5\n")
    ran = build(
        *("--stage", "swap", "--stage", "detect", "--batch", "1,2,3", "--faces", "2", "--workspace", "64"),
        *("--hardware-compatibility", "ampere-plus", "--version-compatible", "--config", file, "--json"),
    )
    assert [row["stage"] for row in json.loads(ran.out)] == ["swap", "detect"]
    configs = {p.record.stage: p.record.config for p in stored_plans()}
    assert configs["swap"] == {
        "profiles": [{"N": [2, 2, 2]}],
        "workspace_bytes": 64 * 2**20,
        "optimisation_level": 5,
        "hardware_compatibility": "ampere-plus",
        "version_compatible": True,
        "tf32": False,
    }
    assert configs["detect"]["profiles"][0]["B"] == [1, 2, 3]
    assert configs["detect"]["optimisation_level"] == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--faces", "3,2,1"), "expected three numbers that do not fall"),
        (("--optimisation-level", "7"), "less than or equal to 5"),
        (("--compiler", "gcc"), "gcc"),
        (("--calibration", __file__, "--video", __file__), "expected at most one of them"),
    ],
)
def test_wrong_usage(build: Run, arguments: tuple[str, ...], message: str) -> None:
    ran = build(*arguments)
    assert ran.code == 2
    assert message in ran.said


def test_half_precision_without_a_table_says_what_to_do(run: Run, emulator: Machine, hand: Pack) -> None:
    ran = run("build-engines", hand.path)
    assert ran.code == 1
    assert "Give a table with --calibration FILE or a clip to measure them with --video CLIP" in ran.said


def test_without_a_gpu_it_says_so(run: Run, hand: Pack) -> None:
    for arguments in (
        ("build-engines", hand.path, "--library", "tensorrt"),
        ("doctor", "--engines", "--pack", hand.path),
    ):
        ran = run(*arguments)
        assert ran.code == 1
        assert "Error: PyTorch sees no GPU: " in ran.err


def test_verbose_shows_the_library_s_log(build: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[object] = []
    monkeypatch.setattr("logging.basicConfig", lambda **options: asked.append(options["level"]))
    assert build("--stage", "parse", "--verbose").code == 0
    assert asked == [10]


def test_list_remove_and_inspect(run: Run, build: Run, emulator: Machine, tmp_path: Path) -> None:
    assert "No engines in " in run("engines", "list").out
    build()
    rows = json.loads(run("engines", "list", "--json").out)["engines"]
    assert {row["state"] for row in rows} == {"fits"}
    assert {row["pack"] for row in rows} == {"hand"}
    assert "Emulated" in run("engines", "list").out
    key = next(row["key"] for row in rows if row["stage"] == "swap")
    layers = tmp_path / "layers.json"
    assert run("engines", "inspect", key[:8], "--layers", layers).code == 0
    assert json.loads(layers.read_text())["Layers"]
    layers.write_text("mine")
    assert run("engines", "inspect", key[:8], "--layers", layers).code == 1
    assert layers.read_text() == "mine"
    assert run("engines", "inspect", key[:8], "--layers", layers, "--overwrite").code == 0
    assert json.loads(layers.read_text())["Layers"]
    shown = json.loads(run("engines", "inspect", key, "--json").out)
    assert (shown["key"], shown["problem"]) == (key, None)
    plan = next(p for p in stored_plans() if p.record.key == key)
    plan.path.write_bytes(b"x" * plan.record.plan_bytes)
    assert "is damaged or was changed" in run("engines", "inspect", key).said
    plan.path.write_bytes(b"x")
    assert "damaged" in {row["state"][:7] for row in json.loads(run("engines", "list", "--json").out)["engines"]}
    emulator.tensorrt = "11.4.1.1"
    build("--stage", "swap")
    states = [row["state"] for row in json.loads(run("engines", "list", "--json").out)["engines"]]
    assert states.count("stale: it was built with TensorRT 11.4.0.106, this is 11.4.1.1") == 3
    assert run("engines", "remove", "--stale").out.count("removed") == 4
    (left,) = stored_plans()
    assert "removed" in run("engines", "remove", left.record.key).out
    build("--stage", "swap")
    assert run("engines", "remove", "--pack", "other").out == ""
    assert "timing" in run("engines", "remove", "--all").out
    assert stored_plans() == []


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("remove",), 2, "say which: KEY, --pack NAME, --stale or --all"),
        (("remove", "zzz"), 1, "no engine has a key that begins with 'zzz'"),
        (("inspect", ""), 1, "4 engines have a key that begins with ''"),
    ],
)
def test_engines_that_are_not_meant(run: Run, build: Run, arguments: tuple[str, ...], code: int, message: str) -> None:
    build()
    ran = run("engines", *arguments)
    assert ran.code == code
    assert message in ran.said


def test_engines_without_a_gpu(
    run: Run, hand: Pack, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    with monkeypatch.context() as without:
        without.setenv("TRTSWAP_ENGINES", str(hand.path / "none"))
        ran = run("engines", "remove", "--stale")
    assert ran.code == 1
    assert "there is no TensorRT or no GPU here to hold engines against" in ran.said


def test_doctor_compares_and_times(run: Run, emulator: Machine, hand: Pack, tmp_path: Path) -> None:
    stem = tmp_path / "report"
    arguments = ("doctor", "--engines", "--pack", hand.path, "--precision", "fp32", "-o", stem)
    ran = run(*arguments, "--json")
    assert ran.code == 0, ran.err
    report = json.loads(ran.out)["engine_report"]
    assert report == json.loads((tmp_path / "report.json").read_text())["engine_report"]
    assert report["gpu"]["name"] == "Emulated GPU"
    assert [e["stage"] for e in report["engines"]] == ["detect", "identify", "swap", "parse"]
    for engine in report["engines"]:
        assert engine["problem"] is None
        assert engine["built_because"] == "not built yet"
        assert engine["difference"]["finite"] == 1
        assert [t["batch"] for t in engine["timings"]] == ([1, 8] if engine["stage"] == "detect" else [1, 4])
        assert all(0 < t["low_ms"] <= t["median_ms"] <= t["high_ms"] for t in engine["timings"])
        assert engine["captured"] == len(engine["timings"]) == 2
    text = (tmp_path / "report.md").read_text()
    assert "- swap: good, fp32, built now, picture_db 120; 1 rows in " in text
    assert "## TensorRT\n\n- TensorRT: 11.4.0.106\n- TensorRT for RTX: " in text
    ran = run(*arguments)
    assert ran.code == 1
    assert "exists. Give another name with -o" in ran.said
    emulator.faults.add("inexact")
    ran = run(*arguments, "--overwrite")
    assert ran.code == 0
    assert "swap: PROBLEM: the engine of graph swap differs from its FP32 reference: picture_db is" in ran.said


def test_doctor_reports_what_does_not_build(run: Run, emulator: Machine, hand: Pack, tmp_path: Path) -> None:
    emulator.faults.add("build")
    arguments = ("doctor", "--engines", "--pack", hand.path, "--precision", "fp32", "-o", tmp_path / "report", "--json")
    engines = json.loads(run(*arguments).out)["engine_report"]["engines"]
    assert all("built no engine: could not find any implementation" in e["problem"] for e in engines)
    assert len(engines) == 4


def test_doctor_tells_of_engines_and_what_each_pack_would_run_on(
    run: Run, build: Run, emulator: Machine, hand: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTSWAP_PACKS", str(hand.path.parent))
    build()
    facts = json.loads(run("doctor", "--json").out)
    assert facts["tensorrt"] == {"problem": None}
    assert [e["state"] for e in facts["engines"]] == ["fits"] * 4
    reasons = {pack["name"]: pack["auto"]["reason"] for pack in facts["packs"]}
    assert reasons["hand"] == "tensorrt on Emulated GPU: its engines are built."
    assert "no engine of detect, landmarks, identify, swap, parse, occlude, restore for this GPU" in reasons["avatar"]
    said = run("doctor").out
    assert "with it: tensorrt on Emulated GPU" in said
    emulator.tensorrt = "10.3.0.26"
    assert "TensorRT 10.3.0.26 is installed, expected 10.13" in run("doctor").said


def test_a_signal_stops_a_build(build: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The builder notices between two steps; nothing is left."""
    ended: list[int] = []

    def ended_with(code: int) -> None:
        ended.append(code)
        raise SystemExit(code)

    monkeypatch.setattr(os, "_exit", ended_with)
    began = threading.Event()
    real = BuildDisplay.step

    def slow(self: BuildDisplay, name: str, step: int) -> None:
        began.set()
        time.sleep(0.05)
        real(self, name, step)

    monkeypatch.setattr(BuildDisplay, "step", slow)
    main = threading.main_thread().ident
    assert main is not None
    threading.Thread(target=lambda: (began.wait(10), signal.pthread_kill(main, signal.SIGINT))).start()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    started = time.monotonic()
    ran = build()
    for number, handler in before.items():
        signal.signal(number, handler)
    assert ran.code == 130
    assert ended == [130]
    assert "Stopped by SIGINT; no unfinished file was left." in ran.err
    assert time.monotonic() - started < 8
    assert stored_plans() == []


def shown(*, terminal: bool, quiet: bool = False) -> str:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    with BuildDisplay(console, quiet=quiet, stop=lambda: False) as display:
        display.engine("swap", "not built yet")
        display.phase("Building engine", None, 2)
        display.step("Building engine", 0)
        display.phase("Timing tactics", "Building engine", 3)
        display._said = 0
        display.step("Timing tactics", 1)
        display.step("unknown", 1)
        if display._bars is not None:
            display._bars.refresh()
        display.finished("Timing tactics")
        display.finished("Building engine")
        display.finished("unknown")
        assert not display.cancelled()
    return out.getvalue()


def test_progress_is_a_tree_on_a_terminal_and_lines_elsewhere() -> None:
    tree = shown(terminal=True)
    assert "swap: Building engine" in tree
    assert "  Timing tactics" in tree
    assert "2/3" in tree
    assert shown(terminal=False) == (
        "swap: building, because: not built yet.\nswap: Building engine 1/2 > Timing tactics 2/3\n"
    )
    assert shown(terminal=False, quiet=True) == ""

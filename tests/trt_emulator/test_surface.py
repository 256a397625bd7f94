"""The emulator has nothing that the real bindings lack, and trtswap uses nothing but what they have."""

import ast
import enum
import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trtswap

from ..conftest import DATA, unavailable
from . import api, bindings
from .bindings import Surface

ROOT = Path(trtswap.__file__).parent
ENGINES = Path(str(importlib.util.find_spec("trtswap.engines").submodule_search_locations[0]))  # type: ignore[union-attr,index]
EXPORT = Path(str(importlib.util.find_spec("trtswap.export").submodule_search_locations[0]))  # type: ignore[union-attr,index]
OURS = [*sorted((ROOT / "backends" / "trt").glob("*.py")), *sorted(ENGINES.glob("*.py"))]


@pytest.fixture(scope="session", params=[*bindings.WRITTEN, "rtx"])
def surface(request: pytest.FixtureRequest) -> Surface:
    if request.param == "rtx":
        return bindings.of_installed("tensorrt_rtx_bindings")
    folder = DATA.parent / "trt_api"
    if not folder.is_dir():
        unavailable(f"the written-down API of TensorRT is not at {folder}")
    return bindings.from_json(request.param, folder)


def public(space: object) -> Iterator[tuple[str, object]]:
    for name, value in vars(space).items():
        if not name.startswith("_") or name == "__init__":
            yield name, value


def emulated() -> list[type]:
    return [v for _, v in public(api) if inspect.isclass(v) and v.__module__ == api.__name__]


def test_there_is_something_to_compare() -> None:
    names = {kind.__name__ for kind in emulated()}
    assert names >= {"Builder", "Runtime", "OnnxParser", "ICudaEngine", "IExecutionContext", "IBuilderConfig"}
    assert len(OURS) > 8


@pytest.mark.parametrize("kind", emulated(), ids=lambda k: k.__name__)
def test_class_has_only_what_the_real_one_has(kind: type, surface: Surface) -> None:
    if issubclass(kind, enum.Enum):
        assert set(kind.__members__) <= set(surface["enums"][kind.__name__])
        return
    real = surface["classes"][kind.__name__]
    for name, member in public(kind):
        if isinstance(member, type):
            assert issubclass(member, enum.Enum)
            assert all(real[level] == name for level in member.__members__), name
        elif isinstance(member, property):
            assert real[name] == "property", name
        elif real[name] != ["?"]:
            assert inspect.isfunction(member)
            wanted = list(inspect.signature(member).parameters)[1:]
            overloads = [[p[0] for p in bindings.parameters(s)] for s in real[name]]
            assert wanted in overloads, f"{name}{tuple(wanted)}: the real one takes {overloads}"


def chains(tree: ast.AST) -> Iterator[tuple[str, ...]]:
    """``("BuilderFlag", "TF32")`` for every ``trt.BuilderFlag.TF32`` in a source, the longest chains."""
    inner: set[int] = set()
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or id(node) in inner:
            continue
        parts: list[str] = []
        at: ast.expr = node
        while isinstance(at, ast.Attribute):
            parts.append(at.attr)
            inner.add(id(at))
            at = at.value
        if isinstance(at, ast.Name) and at.id == "trt":
            yield tuple(reversed(parts))


@pytest.mark.parametrize("path", OURS, ids=lambda p: p.name)
def test_names_that_are_used_exist(path: Path, surface: Surface) -> None:
    for first, *rest in set(chains(ast.parse(path.read_text("utf-8")))):
        if first in surface["enums"]:
            assert not rest or rest[0] in surface["enums"][first], f"{first}.{rest}"
        elif first in surface["classes"]:
            real = surface["classes"][first]
            if rest[:1] == ["Severity"]:
                assert not rest[1:] or real[rest[1]] == "Severity"
            else:
                assert not rest or rest[0] in real, f"{first}.{rest}"
        else:
            assert first in surface["functions"] or first == "__version__", first


@pytest.fixture(scope="session")
def typed(surface: Surface, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with trtswap's sources and stubs of the real bindings."""
    folder = tmp_path_factory.mktemp("typed")
    (folder / "tensorrt").mkdir()
    (folder / "tensorrt" / "__init__.pyi").write_text(bindings.stubs(surface), "utf-8")
    for source, target in ((ROOT, "trtswap"), (ENGINES, "trtswap/engines"), (EXPORT, "trtswap/export")):
        for path in source.rglob("*.py"):
            copy = folder / target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            # Which library is meant is known when the code runs; here it is the one whose stubs these are.
            text = re.sub(
                r"^( +)trt = [\w.]*library\.trt$", r"\1import tensorrt as trt", path.read_text("utf-8"), flags=re.M
            )
            copy.write_text(text, "utf-8")
    # Other libraries are checked by the project's own run of mypy; here they would only cost time.
    others = "torch numpy onnx onnxruntime av rich typer torch_tensorrt filelock PIL cuda decord nvidia openvino"
    skipped = "".join(
        f"[mypy-{name}.*]\nfollow_imports = skip\nignore_missing_imports = True\n" for name in others.split()
    )
    strict = "strict = True\ndisallow_subclassing_any = False\nwarn_return_any = False\nwarn_unused_ignores = False\n"
    strict += "disallow_any_generics = False\nuntyped_calls_exclude = torch\ndisallow_untyped_decorators = False\n"
    strict += "disable_error_code = overload-cannot-match\n"
    skipped += "[mypy-trtswap.backends.torch.ops.*]\nignore_errors = True\n"
    (folder / "mypy.ini").write_text(f"[mypy]\n{strict}{skipped}", "utf-8")
    return folder


def mypy(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "mypy", "--config-file", "mypy.ini", "--cache-dir", ".cache", *arguments]
    return subprocess.run(command, check=False, cwd=folder, capture_output=True, text=True)


def test_types_are_those_of_the_real_bindings(typed: Path) -> None:
    ours = [path for path in OURS if path.parent == ROOT / "backends" / "trt" and path.stem != "__init__"]
    modules = [f"trtswap.backends.trt.{p.stem}" for p in ours]
    modules += [f"trtswap.engines.{p.stem}" for p in OURS if p not in ours and p.stem != "__init__"]
    ran = mypy(typed, *(word for module in modules for word in ("-m", module)))
    assert ran.returncode == 0, ran.stdout


REMOVED = """
import tensorrt as trt
def f(config: trt.IBuilderConfig, engine: trt.ICudaEngine, context: trt.IExecutionContext) -> None:
    config.build_engine
    context.enqueue_v2
    engine.create_execution_context(1.5)
    trt.BuilderFlag.NO_SUCH
    context.set_input_shape("x", "y")
"""


def test_the_stubs_catch_what_is_wrong(typed: Path) -> None:
    (typed / "wrong.py").write_text(REMOVED, "utf-8")
    ran = mypy(typed, "wrong.py")
    wrong = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error:" in line}
    assert wrong == {4, 5, 6, 7, 8}, ran.stdout


@pytest.mark.parametrize("surface", ["11.4"], indirect=True)
def test_what_tensorrt_11_removed_is_flagged(typed: Path) -> None:
    (typed / "old.py").write_text(
        "import tensorrt as trt\n"
        "a = trt.BuilderFlag.FP16\n"
        "b = trt.NetworkDefinitionCreationFlag.EXPLICIT_BATCH\n"
        "def f(engine: trt.ICudaEngine) -> None:\n    engine.device_memory_size\n",
        "utf-8",
    )
    ran = mypy(typed, "old.py")
    wrong = {int(line.split(":")[1]) for line in ran.stdout.splitlines() if ": error:" in line}
    assert wrong == {2, 3, 5}, ran.stdout

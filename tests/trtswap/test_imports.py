"""The runtime stays light: what importing it may and may not pull in."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import trtswap

ROOT = Path(trtswap.__file__).parent
TOOLS = ("trtswap.export", "trtswap.engines", "trtswap.calibration")
EXTRAS = (
    "onnx", "onnx_graphsurgeon", "onnxscript", "polygraphy", "modelopt", "tensorrt", "tensorrt_bindings",
    "torch_tensorrt", "openvino", "decord", "nvidia.dali", "PyNvVideoCodec",
)  # fmt: skip
ON_USE = ("onnxruntime", "safetensors")
"""Of the runtime's own dependencies, those that are imported when they are used."""

# Modules that exist to use a library; they are imported when an engine is opened.
ALLOWED = {
    ("backends/torch/engine.py", "onnx"),
    ("backends/onnx_file.py", "onnx"),
    ("backends/openvino.py", "openvino"),
    ("backends/trt/engine.py", "tensorrt"),
    ("backends/trt/context.py", "tensorrt"),
    ("backends/trt/library.py", "tensorrt"),
}

SOURCES = sorted(
    p for p in ROOT.rglob("*.py") if p.relative_to(ROOT).parts[0] not in ("export", "engines", "calibration")
)


def is_in(module: str, packages: tuple[str, ...]) -> bool:
    return any(module == package or module.startswith(f"{package}.") for package in packages)


def imported_at_once(tree: ast.Module) -> Iterator[str]:
    """Modules that run on import of the file: not those in functions or behind ``if TYPE_CHECKING``."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom):
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        waiting.extend(ast.iter_child_nodes(node))


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_file_of_the_runtime_imports_tools_or_extras(path: Path) -> None:
    modules = set(imported_at_once(ast.parse(path.read_text(encoding="utf-8"))))
    allowed = {module for file, module in ALLOWED if file == path.relative_to(ROOT).as_posix()}
    unwanted = {m for m in modules if is_in(m, TOOLS + EXTRAS) and m.split(".")[0] not in allowed}
    assert not unwanted


def test_walk_sees_imports_and_only_those_that_run_at_once() -> None:
    source = """
from typing import TYPE_CHECKING
import numpy, onnx.helper
if TYPE_CHECKING:
    import decord
else:
    import polygraphy
try:
    from trtswap import export
except ImportError:
    pass
class A:
    import tensorrt
def later():
    import onnxruntime
"""
    found = set(imported_at_once(ast.parse(source)))
    assert found >= {"numpy", "onnx.helper", "polygraphy", "trtswap.export", "tensorrt"}
    assert not found & {"decord", "onnxruntime"}


MODULES = [
    "trtswap",
    "trtswap.backends",
    "trtswap.model.pack",
    "trtswap.swapper",
    "trtswap.video.reader",
    "trtswap.cli",
]


@pytest.mark.parametrize("module", MODULES)
def test_importing_pulls_in_no_tools_and_no_extras(module: str) -> None:
    script = f"import sys, {module}; print(*sys.modules, sep='\\n')"
    run = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    loaded = run.stdout.split()
    assert module in loaded
    assert not [name for name in loaded if is_in(name, TOOLS + EXTRAS + ON_USE)]

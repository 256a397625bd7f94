"""What the real bindings of TensorRT have: classes, signatures, enums; and type stubs made of that.

TensorRT's were written down from its wheels, into JSON files beside the test data: they do not import without the
library under them, which no package index has. Those of TensorRT for RTX are installed with their library.
"""

import json
import keyword
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

WRITTEN = ("10.16", "11.4")
Surface = dict[str, Any]

# Runs beside the bindings and prints their surface.
_DUMP = r"""
import importlib, json, re, sys

package = sys.argv[1]
trt = importlib.import_module(package)

def signatures(member):
    lines = (member.__doc__ or "").splitlines()
    found = [re.sub(r"^\d+\. ", "", line.strip()) for line in lines]
    found = [re.sub(rf"{package}\.(\w+\.)?(?=[A-Z])", "", line) for line in found]
    return [line for line in found if re.match(r"\w+\(.* -> ", line) and "*args, **kwargs" not in line] or ["?"]

classes, enums, functions = {}, {}, {}
for name, value in vars(trt).items():
    if name.startswith("__"):
        continue
    if isinstance(value, type) and hasattr(value, "__members__"):
        enums[name] = sorted(value.__members__)
    elif isinstance(value, type):
        members = {}
        for member in dir(value):
            if member.startswith("_") and member != "__init__":
                continue
            found = getattr(value, member)
            if isinstance(found, property):
                members[member] = "property"
            elif callable(found) and not isinstance(found, type):
                members[member] = signatures(found)
            else:
                members[member] = type(found).__name__
        classes[name] = members
    elif callable(value):
        functions[name] = signatures(value)
print(json.dumps({"classes": classes, "enums": enums, "functions": functions, "version": trt.__version__}))
"""


def from_json(version: str, folder: Path) -> Surface:
    """The surface as it was written down beside the test data."""
    surface: Surface = json.loads((folder / f"api_{version}.json").read_text("utf-8"))
    return surface


def of_installed(module: str) -> Surface:
    """The surface of bindings that are installed with their library."""
    text = subprocess.check_output([sys.executable, "-P", "-c", _DUMP, module], text=True)
    surface: Surface = json.loads(text)
    return surface


def parameters(signature: str) -> list[tuple[str, str, bool]]:
    """Name, type, and whether there is a default, of each parameter but ``self``."""
    inside = signature[signature.index("(") + 1 : signature.rindex(")")]
    parts, depth, start = [], 0, 0
    for i, character in enumerate(inside):
        depth += (character in "([<") - (character in ")]>")
        if character == "," and depth == 0:
            parts.append(inside[start:i])
            start = i + 1
    found = []
    for part in [p.strip() for p in (*parts, inside[start:]) if p.strip()]:
        name, _, rest = part.partition(":")
        kind, equals, _ = rest.partition("=")
        if name != "self":
            found.append((name.strip(), kind.strip() or "object", bool(equals)))
    return found


def stubs(surface: Surface) -> str:
    """The text of ``tensorrt/__init__.pyi``."""
    lines = [
        "from collections.abc import Sequence, Callable",
        "from typing import Any, Iterator, SupportsFloat, SupportsInt, overload",
        "from typing_extensions import Buffer",
        "import numpy",
        "__version__: str",
    ]
    for name, members in surface["enums"].items():
        lines += _enum(name, members)
    for name, members in surface["classes"].items():
        lines += _class(name, members, surface)
    for name, signatures in surface["functions"].items():
        lines += _function(name, signatures, surface, "", method=False)
    return "\n".join(lines) + "\n"


def _enum(name: str, members: list[str], outer: str = "") -> list[str]:
    indent, kind = ("    ", f"{outer}.{name}") if outer else ("", name)
    lines = [f"{indent}class {name}:", f"{indent}    def __int__(self) -> int: ..."]
    return lines + [f"{indent}    {member}: {kind}" for member in members if member != "None"]


_EXTRA = {
    "Dims": ["    def __iter__(self) -> Iterator[int]: ...", "    def __len__(self) -> int: ...",
             "    def __getitem__(self, index: int) -> int: ..."],
    "IHostMemory": ["    def __buffer__(self, flags: int) -> memoryview: ..."],
}  # fmt: skip


def _class(name: str, members: Mapping[str, Any], surface: Surface) -> list[str]:
    lines = [f"class {name}:", *_EXTRA.get(name, [])]
    if "Severity" in members:
        levels = [member for member, kind in members.items() if kind == "Severity"]
        lines += _enum("Severity", levels, name)
    # Python code is called through these, with plain numbers.
    callback = name in ("IProgressMonitor", "ILogger")
    for member, kind in members.items():
        if member == "Severity" or kind == "Severity":
            continue
        if isinstance(kind, list):
            made = _function(member, kind, surface, "    ", method=True)
            lines += [line.replace("SupportsInt", "int") for line in made] if callback else made
        else:
            lines.append(f"    {member}: Any")
    return [*lines, "    ..."]


def _function(name: str, signatures: list[str], surface: Surface, indent: str, *, method: bool) -> list[str]:
    first = ["self"] if method else []
    known = [s for s in signatures if s != "?"]
    if not known:
        if name == "__init__":
            return []
        return [f"{indent}def {name}({', '.join([*first, '*arguments: Any', '**named: Any'])}) -> Any: ..."]
    lines = []
    for signature in known:
        given = [
            f"{parameter}: {_type(kind, surface, taken=True)}{' = ...' if default else ''}"
            for parameter, kind, default in _ordered(parameters(signature))
        ]
        result = _type(signature.rpartition(" -> ")[2], surface, taken=False)
        decorator = [f"{indent}@overload"] if len(known) > 1 else []
        lines += [*decorator, f"{indent}def {name}({', '.join([*first, *given])}) -> {result}: ..."]
    return lines


def _ordered(given: list[tuple[str, str, bool]]) -> Iterator[tuple[str, str, bool]]:
    """Parameters as Python has them: none without a default after one with a default, and no keywords as names."""
    seen = False
    for name, kind, default in given:
        seen = seen or default
        yield (f"{name}_" if keyword.iskeyword(name) else name), kind, seen


def _type(text: str, surface: Surface, *, taken: bool) -> str:
    """A type of the bindings as mypy knows it; what it cannot know is Any."""
    text = re.sub(r"\b(typing|typing_extensions|collections\.abc)\.", "", text.strip())
    text = re.sub(r"\b(nvinfer1|nvonnxparser)::(v_\d+::)?", "", text).replace("IParserError", "ParserError")
    text = text.replace("numpy.ndarray", "numpy.ndarray[Any, Any]").replace("CapsuleType", "object")
    if "::" in text or "<" in text or "pybind" in text:
        return "Any"
    if taken and text == "Dims":
        return "Dims | Sequence[int]"
    plain = {"int", "str", "bool", "float", "None", "object", "bytes", "list", "tuple", "dict"}
    known = plain | {"SupportsInt", "SupportsFloat", "Sequence", "Callable", "Buffer", "Any", "numpy", "ndarray"}
    names = set(re.findall(r"[A-Za-z_]\w*", text)) - known
    if not all(n in surface["classes"] or n in surface["enums"] or n == "Severity" for n in names):
        return "Any"
    return {
        "list": "list[Any]",
        "tuple": "tuple[Any, ...]",
        "dict": "dict[Any, Any]",
        "Callable": "Callable[..., Any]",
    }.get(text, text)

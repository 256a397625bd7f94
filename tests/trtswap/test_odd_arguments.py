"""Every public function with arguments of wrong types, odd arrays and odd numbers: a TrtswapError, or a result.

2,000 cases in ``make test``, decided by their numbers alone; ``TRTSWAP_ODD_CASES`` asks for more.
"""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import fields
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from trtswap import Identity, Limits, Observer, Pack, Runtime, RuntimeOptions, SwapOptions, Swapper, TrtswapError
from trtswap.pictures.arrays import frames_from_rgb

from ..engines.packs import write_pack
from .video.clips import Clip

CASES = int(os.environ.get("TRTSWAP_ODD_CASES", "2000"))
PARTS = 8


class Unwilling:
    """An array that cannot be had."""

    def __dlpack__(self, **_: Any) -> Any:
        raise MemoryError("no memory")

    def __dlpack_device__(self) -> Any:
        return (1, 0)


class Text(str):
    """A string of another class."""

    __slots__ = ()


def odd_values(folder: Path) -> list[Any]:
    """What people, and their programs by mistake, hand over."""
    rng = np.random.default_rng(0)
    picture = rng.integers(0, 255, (120, 160, 3), np.uint8)
    encoded = BytesIO()
    Image.fromarray(picture).save(encoded, "PNG")
    (folder / "picture.png").write_bytes(encoded.getvalue())
    numbers = [0, 1, -1, 2, 10**30, True, 0.5, -0.0, float("nan"), float("inf"), 1e400, Fraction(1, 3), 3 + 4j]
    numbers += [np.float32(0.5), np.int64(3), np.uint8(255), np.bool_(True), torch.tensor(3), torch.tensor(0.5)]
    texts = [
        "",
        "auto",
        "cpu",
        "cuda",
        "only",
        "largest",
        "\0",
        "ä" * 300,
        "\ud800",
        "a/b",
        ".",
        "/",
        Text("auto"),
        "-1",
    ]
    things = [None, ..., object, object(), Unwilling(), lambda: 1, b"", b"\x89PNG", encoded.getvalue(), bytearray(9)]
    things += [memoryview(b"abc"), [], (), {}, set(), [None], [[]], {"a": 1}, {1: 2}, range(3), iter(()), BytesIO(b"x")]
    things += [folder, folder / "picture.png", str(folder / "picture.png"), folder / "none.png", Path("\0"), Path()]
    arrays = [picture, picture[None], picture[::-1], picture[None, ..., ::-1], picture.astype(np.float32), picture[:0]]
    arrays += [
        np.zeros((0, 0, 3), np.uint8),
        np.zeros(()),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.array(["a", None], object),
    ]
    arrays += [np.zeros((2, 3, 4, 5, 6)), np.ma.masked_equal(picture, 3), np.broadcast_to(picture[:1, :1], (9, 9, 3))]
    arrays += [
        np.zeros((1, 1, 1, 3), np.uint8),
        np.zeros((1, 1, 4000, 3), np.uint8),
        picture.astype(">u2"),
        picture > 3,
    ]
    arrays += [np.rec.array([(1, 2)], dtype=[("a", "u1"), ("b", "u1")]), np.array("2020", "datetime64[D]")]
    tensors = [torch.from_numpy(picture.copy()), torch.zeros(1, 9, 9, 3, dtype=torch.uint8, device="meta")]
    tensors += [torch.zeros(2, 2).to_sparse(), torch.zeros(3, requires_grad=True), torch.full((4,), float("nan"))]
    tensors += [torch.nested.nested_tensor([torch.zeros(2, 3), torch.zeros(4, 3)]), torch.zeros(1, 2, 2, 3).bool()]
    tensors += [
        torch.quantize_per_tensor(torch.zeros(1, 4, 4, 3), 1.0, 0, torch.quint8),
        torch.zeros(3, dtype=torch.cfloat),
    ]
    pictures = [Image.fromarray(picture), Image.new("CMYK", (9, 9)), Image.new("I;16", (9, 9)), Image.new("1", (1, 1))]
    options = [
        SwapOptions(),
        RuntimeOptions(),
        Limits(),
        SwapOptions,
        Identity(torch.ones(3) / 3**0.5),
        Observer,
        Observer(),
    ]
    lists = [[picture, picture], [picture, picture[:9]], [Image.fromarray(picture)], [torch.zeros(3), None], "ab"]
    pairs = [[(Identity(torch.zeros(3)), None)], [(1, 2)], [(1, 2, 3)], {Identity: 3}]
    return [*numbers, *texts, *things, *arrays, *tensors, *pictures, *options, *lists, *pairs]


Call = tuple[Callable[..., Any], Mapping[str, Any]]


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Call]]:
    """Functions by name, with arguments that they take."""
    folder = tmp_path_factory.mktemp("calls")
    hand = write_pack(folder / "hand")
    clip = Clip(pts=tuple(range(0, 3 * 512, 512))).write(folder / "clip.mp4")
    picture = np.random.default_rng(1).integers(0, 255, (120, 160, 3), np.uint8)
    with Swapper(hand, backend="onnxruntime", device="cpu", threads=1) as swapper:
        who = swapper.identity(picture)
        who.save(folder / "who.safetensors")

        def session(who: Any, options: Any, observers: Any, frames: Any) -> None:
            stream = swapper.session(who, options=options, observers=observers)
            stream.push(frames)
            stream.flush()

        def video(**arguments: Any) -> None:
            for _ in swapper.detect_video(**arguments):
                pass

        def a_swapper(**arguments: Any) -> None:
            Swapper(**arguments).close()

        def a_runtime(**arguments: Any) -> None:
            Runtime(**arguments).close()

        def identity(image: Any, another: Any, pick: Any) -> None:
            swapper.identity(image, another, pick=pick)

        common = {"who": who, "options": None, "observers": ()}
        opened = {"pack": hand, "backend": "onnxruntime", "device": "cpu"}
        yield {
            "SwapOptions": (SwapOptions, {f.name: f.default for f in fields(SwapOptions)}),
            "RuntimeOptions": (RuntimeOptions, {f.name: f.default for f in fields(RuntimeOptions) if f.name != "limits"}
                               | {"limits": Limits()}),
            "Limits": (Limits, {f.name: f.default for f in fields(Limits)}),
            "Limits.parse": (Limits.parse, {"settings": ["pixels=3"]}),
            "Pack.load": (Pack.load, {"path": hand.path}),
            "Swapper": (a_swapper, {**opened, "threads": 1, "options": None, "runtime": None}),
            "Runtime": (a_runtime, {**opened, "options": None}),
            "identity": (identity, {"image": picture, "another": picture, "pick": "only"}),
            "session": (session, {**common, "frames": frames_from_rgb(picture[None])}),
            "detect": (swapper.detect, {"frames": picture[None]}),
            "swap": (swapper.swap, {**common, "frames": picture[None], "out": None}),
            "detect_video": (video, {"source": clip, "start": None, "end": None, "options": None}),
            "swap_video": (
                swapper.swap_video,
                {
                    **common, "source": clip, "target": folder / "out.mp4", "start": None, "end": None,
                    "profile": False, "pipelined": True, "reader": "pyav", "codec": "auto", "crf": 18,
                    "preset": "ultrafast", "encoder_options": None, "copy_streams": True, "overwrite": True,
                },
            ),
            "Identity.load": (Identity.load, {"path": folder / "who.safetensors"}),
            "Identity.save": (who.save, {"path": folder / "again.safetensors"}),
            "Identity.check": (who.check, {"pack": hand}),
            "Identity.to": (who.to, {"device": "cpu"}),
        }  # fmt: skip


@pytest.mark.parametrize("part", range(PARTS))
def test_arguments_of_any_kind(
    part: int, calls: dict[str, Call], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a target may be called anything
    values = odd_values(tmp_path)
    for function, arguments in calls.values():  # they are what each function takes
        if part == 0:
            function(**arguments)
    wrong = {}
    for number in range(part, CASES, PARTS):
        rng = random.Random(number)
        name = rng.choice(list(calls))
        function, good = calls[name]
        odd = {key: rng.choice(values) for key in rng.sample(list(good), min(len(good), rng.choice((1, 1, 1, 2, 3))))}
        try:
            with suppress(TrtswapError):
                function(**{**good, **odd})
        except Exception as e:  # noqa: BLE001 - any other is what is looked for
            said = {key: f"{type(value).__name__} {value!r}"[:60] for key, value in odd.items()}
            wrong[number] = f"{name}({said}): {type(e).__name__}: {str(e)[:100]}"
    assert not wrong, "\n".join(f"{number}: {what}" for number, what in wrong.items())

"""Times of kernels on disk: kept, merged, and passed over where they do not fit."""

import json
import logging
import threading
from pathlib import Path

import pytest

from trtswap.backends import device as gpus
from trtswap.backends.trt.plans import Place

from ..trt_emulator.machine import Machine

pytestmark = pytest.mark.usefixtures("emulator")
PLACE = Place("tensorrt", "11.4.0.106", "Emulated GPU", ("8.9",))


def config(*entries: str, version: str | None = None) -> object:
    """A builder's configuration that has measured some kernels."""
    import tensorrt as trt

    from trtswap.backends.trt.library import find_library, make_logger

    with gpus.find_gpu().current():
        made = trt.Builder(make_logger(find_library("tensorrt"))).create_builder_config()
    cache = made.create_timing_cache(b"")
    cache._entries |= dict.fromkeys(entries, 1.0)
    made.set_timing_cache(cache, ignore_mismatch=False)
    return made


def cache(folder: Path) -> object:
    from trtswap.engines.timing_cache import TimingCache

    return TimingCache(folder, PLACE)


def entries(folder: Path) -> set[str]:
    return set(json.loads(cache(folder).path.read_text())["entries"])  # type: ignore[attr-defined]


def test_what_was_measured_is_known_to_the_next_build(tmp_path: Path) -> None:
    cache(tmp_path).keep(config("a", "b"))  # type: ignore[attr-defined]
    cache(tmp_path).keep(config("c"))  # type: ignore[attr-defined]
    assert entries(tmp_path) == {"a", "b", "c"}
    fresh = config()
    cache(tmp_path).attach(fresh)  # type: ignore[attr-defined]
    assert set(fresh.get_timing_cache()._entries) == {"a", "b", "c"}  # type: ignore[attr-defined]
    assert cache(tmp_path).path.name == "Emulated-GPU-8.9-11.4.0.106.cache"  # type: ignore[attr-defined]


@pytest.mark.parametrize("damage", [b"\x00garbage", b'{"header": "10.0/Other GPU", "entries": {"x": 1.0}}'])
def test_a_file_that_does_not_fit_is_passed_over_and_replaced(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    kept = cache(tmp_path)
    kept.path.parent.mkdir(parents=True)  # type: ignore[attr-defined]
    kept.path.write_bytes(damage)  # type: ignore[attr-defined]
    fresh = config()
    with caplog.at_level(logging.WARNING):
        kept.attach(fresh)  # type: ignore[attr-defined]
    assert "is damaged or of another GPU or TensorRT; kernels are measured anew" in caplog.text
    assert fresh.get_timing_cache()._entries == {}  # type: ignore[attr-defined]
    kept.keep(config("a"))  # type: ignore[attr-defined]
    assert entries(tmp_path) == {"a"}


def test_times_of_another_place_are_not_mixed_in(
    tmp_path: Path, emulator: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    old = config("a")
    emulator.tensorrt = "10.16.1.11"
    with caplog.at_level(logging.WARNING):
        cache(tmp_path).keep(old)  # type: ignore[attr-defined]
    assert "do not fit" in caplog.text
    assert not cache(tmp_path).path.is_file()  # type: ignore[attr-defined]


def test_a_build_without_a_cache_keeps_nothing(tmp_path: Path) -> None:
    import tensorrt as trt

    from trtswap.backends.trt.library import find_library, make_logger

    with gpus.find_gpu().current():
        cache(tmp_path).keep(trt.Builder(make_logger(find_library("tensorrt"))).create_builder_config())  # type: ignore[attr-defined]
    assert not cache(tmp_path).path.is_file()  # type: ignore[attr-defined]


def test_many_at_once_lose_nothing(tmp_path: Path) -> None:
    work = [threading.Thread(target=cache(tmp_path).keep, args=(config(str(i)),)) for i in range(12)]  # type: ignore[attr-defined]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert entries(tmp_path) == {str(i) for i in range(12)}

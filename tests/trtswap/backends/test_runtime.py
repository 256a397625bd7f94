"""The runtime takes its face batch from the engines that it has opened."""

import pytest

from trtswap.backends import device as gpus
from trtswap.backends.runtime import Runtime
from trtswap.errors import InputError
from trtswap.model.pack import Pack
from trtswap.options import RuntimeOptions

from ...engines.packs import write_pack
from ...trt_emulator.machine import Machine


@pytest.fixture
def built(tmp_path_factory: pytest.TempPathFactory, emulator: Machine) -> Pack:
    """A pack with engines for three faces at once."""
    from trtswap.engines.build import Options, build_engines
    from trtswap.engines.config import Overrides

    pack = write_pack(tmp_path_factory.mktemp("packs") / "hand")
    overrides = Overrides.none().also(faces="1,2,3", batch="1,1,2")
    build_engines(pack, gpus.find_gpu(), Options(precision="fp32", overrides=overrides))
    return pack


def test_no_more_faces_than_the_engines_take(built: Pack) -> None:
    with Runtime(built, backend="tensorrt") as runtime:
        assert runtime.face_batch == 3
        assert runtime.engines["detect"].max_rows == 2
        assert runtime.engines["swap"].captured == 3  # type: ignore[attr-defined]  # of 1, 2 and 3 faces
    with Runtime(built, backend="tensorrt", options=RuntimeOptions(face_batch=2)) as runtime:
        assert runtime.face_batch == 2


def test_more_faces_than_the_engines_take_are_refused_at_opening(built: Pack) -> None:
    with pytest.raises(InputError, match=r"face_batch is 8, but the engines .*identify 3, swap 3, parse 3\. Take 3 or"):
        Runtime(built, backend="tensorrt", options=RuntimeOptions(face_batch=8))

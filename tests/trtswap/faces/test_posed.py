"""A video as a source: the frames that show its person best."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from trtswap import SourceError, Swapper
from trtswap.faces.posed import NEAR, POSES
from trtswap.packs import find_pack
from trtswap.pictures.arrays import read_image

CLIP = find_pack("avatar") / "samples" / "clip.mp4"


@pytest.fixture(scope="module")
def swapper() -> Iterator[Swapper]:
    with Swapper("mesh", backend="onnxruntime", device="cpu") as opened:
        yield opened


def test_frames_of_several_poses_are_chosen(swapper: Swapper) -> None:
    found = swapper.identity(CLIP, pick="largest")
    assert 3 <= len(found.names) <= len(POSES)
    assert all(name.startswith(f"{CLIP}, frame ") for name in found.names)
    assert found.poses is not None
    assert found.poses[0].norm() < NEAR + 3  # from the front; measured again in another crop
    assert torch.cdist(found.poses, found.poses).fill_diagonal_(99).amin() > 5
    assert not found.doubts
    assert len(found.source) == len(found.names)


def still(path: Path, picture: np.ndarray) -> Path:
    """A video of six frames that are all the same."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream("mpeg4", rate=25, options={"q": "2"})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for number in range(6):
            frame = av.VideoFrame.from_ndarray(picture, "rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return path


NOBODY = r"none of 6 frames shows one face alone, sharp, from the front and with open eyes"


def test_of_several_faces_one_has_to_be_named(swapper: Swapper, tmp_path: Path) -> None:
    face = np.asarray(read_image(CLIP.with_name("source_1.png")))
    two = still(tmp_path / "two.mp4", np.concatenate([face, face[::2, ::2].repeat(2, 0).repeat(2, 1)], 1))
    with pytest.raises(SourceError, match=NOBODY):
        swapper.identity(two)
    assert len(swapper.identity(two, pick="largest").names) == 1


def test_a_video_without_a_face_is_refused(swapper: Swapper, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=NOBODY):
        swapper.identity(still(tmp_path / "gray.mp4", np.full((192, 320, 3), 128, np.uint8)))

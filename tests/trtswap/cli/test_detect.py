"""``trtswap detect``: documents and tables."""

import json
from pathlib import Path
from typing import Any

import pytest

from trtswap.swapper import Swapper

from .conftest import Run


@pytest.fixture
def detect(run: Run, paste_pack: Path) -> Run:
    return lambda *arguments: run("detect", "--pack", paste_pack, *arguments)


def document(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


def test_one_document(detect: Run, clips: Path, paste_pack: Path) -> None:
    found = document(detect(clips / "one.mp4", "--json"))
    assert (found["input"], found["width"], found["height"]) == (str(clips / "one.mp4"), 640, 360)
    assert found["pack"]["name"] == "paste"
    assert (found["warnings"], found["loss"]) == ([], None)
    assert [frame["index"] for frame in found["frames"]] == list(range(10))
    assert [frame["pts_seconds"] for frame in found["frames"]] == pytest.approx([i / 25 for i in range(10)])
    assert {face["track"] for frame in found["frames"] for face in frame["faces"]} == {0}
    with Swapper(paste_pack) as swapper:
        expected = [faces for _, faces in swapper.detect_video(clips / "one.mp4")]
    rows = [face for frame in found["frames"] for face in frame["faces"]]
    assert [row["box"] for row in rows] == [pytest.approx(b, abs=1e-3) for f in expected for b in f.box.tolist()]
    assert [row["landmarks"][2] for row in rows] == [
        pytest.approx(points, abs=1e-3) for f in expected for points in f.landmarks[:, 2].tolist()
    ]


def test_the_landmarks_are_those_of_a_face(detect: Run, clips: Path) -> None:
    for frame in document(detect(clips / "one.mp4", "--json"))["frames"]:
        (face,) = frame["faces"]
        x1, y1, x2, y2 = face["box"]
        right_eye, left_eye, nose, right_mouth, left_mouth = face["landmarks"]
        assert x1 < right_eye[0] < nose[0] < left_eye[0] < x2
        assert y1 < right_eye[1] < nose[1] < right_mouth[1] < y2
        assert right_mouth[0] < left_mouth[0]
        assert 0.6 < face["score"] <= 1


def test_a_range(detect: Run, clips: Path) -> None:
    frames = document(detect(clips / "one.mp4", "--json", "--start", "0.08", "--end", "0.2"))["frames"]
    assert [frame["pts_seconds"] for frame in frames] == pytest.approx([0.08, 0.12, 0.16])


def test_nobody(detect: Run, clips: Path) -> None:
    found = document(detect(clips / "gray.mp4", "--json"))
    assert [frame["faces"] for frame in found["frames"]] == [[]] * 6


def test_threshold(detect: Run, clips: Path) -> None:
    found = document(detect(clips / "one.mp4", "--json", "--detect-threshold", "0.999"))
    assert not any(frame["faces"] for frame in found["frames"])


def test_table(detect: Run, clips: Path) -> None:
    ran = detect(clips / "one.mp4")
    assert ran.code == 0
    assert ran.out.startswith(f"{clips / 'one.mp4'}, 640x360: 10 frames; 1 face in 10 frames")
    row = next(line for line in ran.out.splitlines() if line.startswith("│"))
    assert [cell.strip() for cell in row.split("│")[1:5]] == ["0", "0.00 s", "0.36 s", "10"]


def test_table_of_nobody(detect: Run, clips: Path) -> None:
    assert detect(clips / "gray.mp4").out == f"{clips / 'gray.mp4'}, 320x192: 6 frames; 0 faces in 6 frames\n"


def test_picture(detect: Run, pictures: Path) -> None:
    found = document(detect(pictures / "two.png", "--json"))
    (frame,) = found["frames"]
    left, right = sorted(frame["faces"], key=lambda face: face["box"][0])
    assert right["box"][0] - left["box"][0] == pytest.approx(found["width"] / 2, abs=3)
    assert {left["track"], right["track"]} == {0, 1}


@pytest.mark.parametrize(("options", "code"), [((), 1), (("--keep-going",), 0)])
def test_cut_off(detect: Run, clips: Path, tmp_path: Path, options: tuple[str, ...], code: int) -> None:
    whole = (clips / "long.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 6 // 10])
    ran = detect(tmp_path / "cut.mp4", "--json", *options)
    assert ran.code == code
    assert f"{tmp_path / 'cut.mp4'}: the video ends at" in ran.err
    found = json.loads(ran.out)
    assert 5 < len(found["frames"]) < 30
    assert found["loss"]["delivered_frames"] == len(found["frames"])
    assert found["loss"]["expected_seconds"] == pytest.approx(1.2)


@pytest.mark.parametrize("content", [None, b"", b"a letter"])
def test_no_video(detect: Run, tmp_path: Path, content: bytes | None) -> None:
    source = tmp_path / "clip.mp4"
    if content is not None:
        source.write_bytes(content)
    ran = detect(source, "--json")
    assert (ran.code, ran.out) == (1, "")
    assert str(source) in ran.err


def test_what_the_points_say(detect: Run, pictures: Path) -> None:
    (frame,) = document(detect(pictures / "face.png", "--json", "--dense"))["frames"]
    dense = frame["faces"][0]["dense"]
    assert set(dense) == {"score", "yaw", "pitch", "roll", "mouth", "eyes", "gaze", "points"}
    assert len(dense["points"]) == 478
    assert {len(point) for point in dense["points"]} == {3}
    assert abs(dense["yaw"]) < 15
    assert dense["score"] > 0.9
    (frame,) = document(detect(pictures / "face.png", "--json", "--dense", "--landmarks", "five"))["frames"]
    assert frame["faces"][0]["dense"] is not None  # who asks for them gets them
    (frame,) = document(detect(pictures / "face.png", "--json", "--landmarks", "five"))["frames"]
    assert "dense" not in frame["faces"][0]


def test_points_belong_to_a_document(detect: Run, pictures: Path) -> None:
    ran = detect(pictures / "face.png", "--dense")
    assert ran.code == 2
    assert "--dense adds to what --json prints; expected both." in ran.err

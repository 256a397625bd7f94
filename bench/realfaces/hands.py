"""Hands before faces, with the truth about them: photographed ones put into a clip, and the avatar's own."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from export.avatar.renderer import clip as demo
from export.avatar.renderer.noise import Noise
from export.avatar.renderer.props import without_props
from export.avatar.renderer.render import Renderer
from trtswap.canvas.parse import CLASSES, FACE
from trtswap.packs import find_pack
from trtswap.quality.clip import Clip
from trtswap.video.reader import VideoReader

Picture = NDArray[np.uint8]
Alpha = NDArray[np.float32]

WIDTH = 0.9  # of a hand, widths of the face
PATH = ((-0.9, 0.9), (0.1, 0.35), (0.45, -0.1), (0.9, 0.9))  # of a hand's middle from the face's, widths of the face
HIDING = slice(83, 116, 3)  # frames of the demo clip in which a hand crosses the face; each takes seconds to render


@dataclass(frozen=True)
class Covered:
    """Frames of a clip with hands.

    Attributes:
        frames: uint8 RGB [H, W, 3] each.
        hands: how much of each pixel a hand hides, 0..1.
        bare: the frames without a hand; empty where nobody has them.
        faces: bool [H, W] each, what is face and not hair; empty where nobody knows.
    """

    frames: list[Picture]
    hands: list[Alpha]
    bare: list[Picture]
    faces: list[NDArray[np.bool_]]


def cut_out(file: Path) -> NDArray[np.float32]:
    """A hand photographed before an even wall, as RGBA [H, W, 4], 0..1, upright, cut to the hand.

    Raises:
        SystemExit: no hand is found.
    """
    picture = cv2.imread(str(file))
    if picture is None:
        raise SystemExit(f"{file}: no picture that can be read.")
    colours = cv2.cvtColor(picture, cv2.COLOR_BGR2LAB).astype(np.float32)
    wall = np.median(colours[: len(colours) // 8].reshape(-1, 3), 0)
    warm = colours[..., 1] - wall[1] + 0.5 * (colours[..., 2] - wall[2])
    guess = np.select([warm > 14, warm > 9, warm > 3], [cv2.GC_FGD, cv2.GC_PR_FGD, cv2.GC_PR_BGD], cv2.GC_BGD)
    guess = guess.astype(np.uint8)
    if not (guess == cv2.GC_FGD).any():
        raise SystemExit(f"{file}: expected a hand before an even wall that is less warm.")
    models = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.grabCut(picture, guess, None, *models, 5, cv2.GC_INIT_WITH_MASK)
    inside = ((guess == cv2.GC_FGD) | (guess == cv2.GC_PR_FGD)).astype(np.uint8)
    outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    hand = cv2.drawContours(np.zeros_like(inside), [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    alpha = cv2.GaussianBlur(cv2.erode(hand, np.ones((3, 3))).astype(np.float32), (0, 0), 1.2)
    rows, columns = (np.flatnonzero(hand.any(axis)) for axis in (1, 0))
    rgba = np.dstack([picture[..., ::-1].astype(np.float32) / 255, alpha])
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def photographed(clip: Clip, hands: Sequence[NDArray[np.float32]]) -> Covered:
    """A clip in which one hand after the other crosses the face: from the left, over mouth and eye, to the right."""
    frames, alphas = list[Picture](), list[Alpha]()
    each = max(1, len(clip.times) // len(hands))
    for number, frame in enumerate(clip.frames):
        which, at = divmod(number, each)
        hand = hands[min(which, len(hands) - 1)]
        box = clip.faces.box[number].numpy()
        where = np.array([np.interp(at / each, np.linspace(0, 1, len(PATH)), axis) for axis in zip(*PATH, strict=True)])
        made, alpha = _put(frame, hand, box, where, turn=30.0 * (0.5 - at / each))
        frames.append(made)
        alphas.append(alpha)
    return Covered(frames, alphas, clip.frames, [])


def _put(
    frame: Picture, hand: NDArray[np.float32], box: NDArray[np.float32], where: NDArray[np.float64], *, turn: float
) -> tuple[Picture, Alpha]:
    """A frame with a hand in it, as bright as the face."""
    height, width = hand.shape[:2]
    side = float(box[2] - box[0])
    middle = (box[:2] + box[2:]) / 2 + side * where
    move = cv2.getRotationMatrix2D((width / 2, height / 3), turn, WIDTH * side / width)
    move[:, 2] += middle - (width / 2, height / 3)
    arm = cv2.copyMakeBorder(hand, 0, height, 0, 0, cv2.BORDER_REPLICATE)  # goes on below
    rgb, alpha = hand[..., :3], hand[..., 3:]
    x0, y0, x1, y1 = box.round().astype(int).clip(0)
    face = frame[(y0 + y1) // 2 : y1, x0:x1].reshape(-1, 3).mean(0) / 255
    tone = (rgb * alpha).sum((0, 1)) / alpha.sum()
    drawn = cv2.warpAffine(arm, move, frame.shape[1::-1], flags=cv2.INTER_AREA)
    shown, hidden = (drawn[..., :3] * (face.mean() / tone.mean())).clip(0, 1), drawn[..., 3:]
    mixed = frame * (1 - hidden) + 255 * shown * hidden
    return mixed.round().astype(np.uint8), hidden[..., 0]


def drawn(folder: Path) -> Covered:
    """The part of the demo clip in which a hand crosses the avatar's face; its pixels are kept in a folder."""
    file = folder / "avatar_hand.npz"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        hands, faces = zip(*(_hand_of(n) for n in range(*HIDING.indices(demo.FRAMES))), strict=True)
        np.savez_compressed(file, hands=np.stack(hands), faces=np.stack(faces))
    with VideoReader(find_pack("avatar") / "samples" / "clip.mp4", batch_size=8) as reader:
        frames = [part.rgb(i).numpy() for part in reader for i in range(len(part))]
    truth = np.load(file)
    return Covered(frames[HIDING], list(truth["hands"].astype(np.float32)), [], list(truth["faces"]))


def _hand_of(frame: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Where a hand hides the avatar's head in a frame of the demo clip, and where its face is seen: bool [H, W]."""
    left, top, width, height = demo.FRONT
    scene = demo.front_scene(demo.MAIN)[frame : frame + 1]
    renderer = Renderer(Noise(), height=height, width=width, samples=1)
    bare = replace(scene, props=without_props(scene.props))
    nothing = CLASSES.index("background")
    with_hand, without = (renderer.render(s).labels[0] for s in (scene, bare))
    found = torch.zeros(2, demo.HEIGHT, demo.WIDTH, dtype=torch.bool)
    found[0, top : top + height, left : left + width] = (with_hand == nothing) & (without != nothing)
    found[1, top : top + height, left : left + width] = torch.isin(with_hand.long(), torch.tensor(FACE))
    hand, face = found.numpy()
    return hand, face

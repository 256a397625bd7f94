"""Pictures are reproducible, and what is said about them is what is seen in them."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch

from export.avatar.renderer.camera import PIVOT, Camera
from export.avatar.renderer.expression import rotation
from export.avatar.renderer.identity import sample_identity
from export.avatar.renderer.labels import LABEL
from export.avatar.renderer.march import Rays, march
from export.avatar.renderer.primitives import ellipsoid, sphere
from export.avatar.renderer.props import without_props
from export.avatar.renderer.render import Avatars, Renderer
from export.avatar.renderer.scene import Scene, sample_scene
from trtswap.errors import InputError


def plain(scene: Scene, **pose: float) -> Scene:
    """The scene with a bare, straight face that looks at the camera, mouth closed and eyes open."""
    still = {name: torch.zeros_like(value) for name, value in scene.expression.items()}
    straight = {name: torch.full_like(value, pose.get(name, 0.0)) for name, value in scene.pose.items()}
    return replace(scene, expression=still, pose=straight, props=without_props(scene.props))


def test_the_same_seed_gives_the_same_picture_alone_and_in_company(
    renderer: Renderer, scene: Scene, avatars: Avatars
) -> None:
    alone = renderer.render(scene[2:3])
    for name in ("images", "boxes", "landmarks", "labels"):
        assert torch.equal(getattr(alone, name), getattr(avatars, name)[2:3]), name


def test_pieces_of_several_scenes_give_the_same_pictures(renderer: Renderer, scene: Scene, avatars: Avatars) -> None:
    together = replace(renderer, piece=4).render(scene)
    # Vectorised tails round differently in the last bit, which can turn a pixel at an edge.
    assert float((together.images - avatars.images).abs().mean()) < 1e-4
    assert float((together.labels != avatars.labels).float().mean()) < 1e-3
    assert torch.allclose(together.landmarks, avatars.landmarks, atol=1e-3)


def test_pictures_are_display_values_with_contrast(avatars: Avatars) -> None:
    assert avatars.images.dtype == torch.float32
    assert float(avatars.images.min()) >= 0
    assert float(avatars.images.max()) <= 1
    assert bool((avatars.images.flatten(1).std(1) > 0.05).all())


def test_convention_projection_agrees_with_opencv() -> None:
    scene = sample_scene([3])
    camera = Camera(scene.view, rotation(scene.pose), 200, 300)
    points = torch.randn(1, 20, 3, generator=torch.Generator().manual_seed(1)) * 6
    # OpenCV's camera looks along +z with y down; ours along -z with y up.
    flip = np.diag([1.0, -1.0, -1.0])
    turn = flip @ camera.turn[0].double().numpy()
    shift = np.array([0, 0, float(scene.view["distance"])]) - turn @ np.array(PIVOT)
    focal = float(camera.focal)
    cx = (0.5 + float(scene.view["shift_x"])) * 300 - 0.5
    cy = (0.5 + float(scene.view["shift_y"])) * 200 - 0.5
    matrix = np.array([[focal, 0, cx], [0, focal, cy], [0, 0, 1]])
    expected, _ = cv2.projectPoints(points[0].double().numpy(), cv2.Rodrigues(turn)[0], shift, matrix, None)
    assert np.allclose(camera.project(points)[0].numpy(), expected[:, 0], atol=1e-2)


def test_rays_go_through_the_pixels_that_their_points_project_to() -> None:
    scene = sample_scene([3])
    camera = Camera(scene.view, rotation(scene.pose), 200, 300)
    x, y = torch.tensor([0.0, 20.5, 299.0]), torch.tensor([10.0, 100.25, 199.0])
    points = Rays(camera.origin(), camera.rays(x, y)).at(torch.full((1, 3), 70.0)).stacked()
    assert torch.allclose(camera.project(points)[0], torch.stack([x, y], -1), atol=1e-2)


@pytest.mark.parametrize(
    ("pose", "axis", "sign"), [("yaw_degrees", 0, 1), ("pitch_degrees", 1, -1)], ids=["left is right", "up is up"]
)
def test_convention_turns(pose: str, axis: int, sign: int) -> None:
    turned = rotation(
        {k: torch.tensor([[20.0 * (k == pose)]]) for k in ("yaw_degrees", "pitch_degrees", "roll_degrees")}
    )
    nose = turned[0] @ torch.tensor([0.0, 0.0, 1.0])
    down = torch.stack([nose[0], -nose[1]])  # picture coordinates
    assert float(down[axis]) * sign > 0.3


def test_rays_stop_on_a_sphere_where_the_closed_form_says() -> None:
    aim = torch.linspace(-0.3, 0.3, 61)
    directions = torch.nn.functional.normalize(torch.stack([aim, 0 * aim, -torch.ones(61)], -1), dim=-1)[None]
    start = torch.zeros(1, 61)
    alive = torch.ones(1, 61, dtype=torch.bool)
    t, met = march(
        lambda p: sphere(p, 0.0, 0.0, 0.0, 2.0), Rays(torch.tensor([[0.0, 0.0, 10.0]]), directions), start, alive,
        cone=torch.tensor([[1e-5]]), far=torch.tensor([[20.0]]), steps=200,
    )  # fmt: skip
    along = -directions[0, :, 2] * 10
    inside = along**2 - 96
    assert torch.equal(met[0], inside > 0)
    assert torch.allclose(t[met], (along - inside.clamp(min=0).sqrt())[met[0]], atol=0.02)


def test_an_ellipsoid_of_equal_radii_is_a_sphere() -> None:
    p = Rays(torch.zeros(1, 3), torch.randn(1, 50, 3, generator=torch.Generator().manual_seed(0))).at(
        torch.full((1, 50), 3.0)
    )
    assert torch.allclose(ellipsoid(p, (0.5, 0.0, 1.0), (2.0, 2.0, 2.0)), sphere(p, 0.5, 0.0, 1.0, 2.0), atol=1e-4)


@pytest.mark.parametrize("yaw", [-25.0, 0.0, 25.0])
def test_landmarks_lie_on_what_they_name(renderer: Renderer, scene: Scene, yaw: float) -> None:
    avatars = renderer.render(plain(scene, yaw_degrees=yaw))
    for labels, points in zip(avatars.labels, avatars.landmarks, strict=True):
        x, y = points.round().long().unbind(-1)
        for i, name in ((0, "right eye"), (1, "left eye"), (2, "nose")):
            assert int(labels[y[i], x[i]]) == LABEL[name], name
        lips = (labels == LABEL["upper lip"]) | (labels == LABEL["lower lip"])
        across = lips.any(0).nonzero()[:, 0]
        # The corner on the far side hides behind the lips of a turned head.
        assert abs(float(across.min() - points[3, 0])) < 4
        assert abs(float(across.max() - points[4, 0])) < 4


def test_right_and_left_are_the_persons_own(renderer: Renderer, scene: Scene) -> None:
    labels = renderer.render(plain(scene)).labels
    for part in ("eye", "brow"):
        for one in labels:
            right, left = (
                (one == LABEL[f"{side} {part}"]).nonzero()[:, 1].float().mean() for side in ("right", "left")
            )
            assert right < left


def test_faces_lie_in_their_boxes(renderer: Renderer, scene: Scene) -> None:
    avatars = renderer.render(plain(scene))
    inner = [LABEL[n] for n in ("left eye", "right eye", "left brow", "right brow", "nose", "upper lip", "lower lip")]
    for labels, box in zip(avatars.labels, avatars.boxes, strict=True):
        y, x = torch.isin(labels, torch.tensor(inner, dtype=torch.uint8)).nonzero().unbind(-1)
        assert box[0] < x.min() < x.max() < box[2]
        assert box[1] < y.min() < y.max() < box[3]
        skin = (labels == LABEL["skin"]).nonzero()
        assert abs(float(box[3] - skin[:, 0].max())) < 0.1 * float(box[3] - box[1])


def test_teeth_are_seen_when_the_mouth_opens(renderer: Renderer, scene: Scene) -> None:
    shut = plain(scene)
    wide = replace(shut, expression=shut.expression | {"jaw_open": torch.ones(len(scene), 1)})
    closed, opened = (renderer.render(s) for s in (shut, wide))
    count = [(a.labels == LABEL["mouth"]).sum((1, 2)) for a in (closed, opened)]
    assert bool((count[1] > count[0] + 20).all())
    for image, labels in zip(opened.images, opened.labels, strict=True):
        mouth = image[:, labels == LABEL["mouth"]].mean(0)
        assert float(mouth.max() - mouth.min()) > 0.15, "teeth are bright before a dark throat"


def test_shut_lids_hide_the_eyes(renderer: Renderer, scene: Scene) -> None:
    shut = plain(scene)
    lids = {side: torch.ones(len(scene), 1) for side in ("lid_left", "lid_right")}
    eyes = [LABEL["left eye"], LABEL["right eye"]]
    for before, after in zip(
        *(renderer.render(s).labels for s in (shut, replace(shut, expression=shut.expression | lids))), strict=True
    ):
        seen = [int(torch.isin(v, torch.tensor(eyes, dtype=torch.uint8)).sum()) for v in (before, after)]
        assert seen[1] < 0.35 * seen[0]


def test_another_identity_leaves_pose_and_background_alone(renderer: Renderer, scene: Scene, avatars: Avatars) -> None:
    other = renderer.render(scene.with_identity(sample_identity(range(900, 904))))
    behind = (avatars.labels == 0) & (other.labels == 0)
    # Light and grain belong to the scene. Hands have the person's own skin, so they are left out.
    bare = (scene.props["hand"][:, 0] == 0)[:, None, None] & behind
    edge = torch.nn.functional.max_pool2d((~bare).float()[:, None], 5, 1, 2)[:, 0] > 0
    difference = (other.images - avatars.images).abs().amax(1)
    assert float(difference[~edge].max()) < 1e-5
    face = (avatars.labels == LABEL["skin"]) & (other.labels == LABEL["skin"])
    assert float(difference[face].mean()) > 0.03
    size = (avatars.landmarks[:, 1] - avatars.landmarks[:, 0]).norm(dim=-1)
    assert bool(((other.landmarks - avatars.landmarks).norm(dim=-1).amax(1) < 0.45 * size).all())


def test_every_class_occurs(renderer: Renderer) -> None:
    avatars = replace(renderer, height=64, width=64, piece=8).render(sample_scene(range(40)))
    seen = set(avatars.labels.unique().tolist())
    assert seen == set(range(19))


def test_a_size_that_does_not_divide_into_cones_is_refused(renderer: Renderer) -> None:
    with pytest.raises(InputError, match="multiples of 4 samples"):
        replace(renderer, height=130)

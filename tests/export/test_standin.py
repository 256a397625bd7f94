"""The stand-in graphs against NumPy and against what they promise to people."""

import cv2
import numpy as np
import pytest
import torch

from trtswap.export.standin import FixedLabels, Paste, Thumbnail, Unchanged, drawn_faces, face_labels, face_oval
from trtswap.pixels.geometry import TEMPLATES

TEMPLATE = "arcface_112_v1"
SKIN, L_EYE, R_EYE, NOSE, MOUTH = 1, 4, 5, 10, 11


def picture(seed: int, size: int = 112) -> torch.Tensor:
    coarse = torch.rand(1, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0.05, 0.95)


def test_a_latent_has_unit_length_and_the_product_of_two_is_their_correlation() -> None:
    one, other = picture(0), picture(1)
    a, b = (Thumbnail(112)(x)[0].numpy() for x in (one, other))
    centred = [(x - x.mean((2, 3), keepdim=True)).flatten().double().numpy() for x in (one, other)]
    assert np.linalg.norm(a) == pytest.approx(1, abs=1e-6)
    assert a @ b == pytest.approx(
        centred[0] @ centred[1] / np.linalg.norm(centred[0]) / np.linalg.norm(centred[1]), abs=1e-5
    )


def test_a_face_pasted_onto_itself_is_itself() -> None:
    face = picture(2)
    swapped = Paste(112, 112, TEMPLATE)(face, Thumbnail(112)(face))
    torch.testing.assert_close(swapped, face, atol=2e-4, rtol=0)


def test_the_pasted_face_has_the_targets_light() -> None:
    """A target that is dark on the left and lies on white gives a face that is dark on the left, without white."""
    ramp = torch.linspace(0.1, 0.7, 224).expand(1, 3, 224, 224)
    oval = face_oval(224, TEMPLATE)
    face = oval > oval.max() / 50
    target = torch.where(face, ramp + 0.02 * picture(4, 224), torch.ones(()))
    freckles = torch.rand(1, 3, 112, 112, generator=torch.Generator().manual_seed(0))
    swapped = Paste(112, 224, TEMPLATE)(target, Thumbnail(112)(freckles))[0].mean(0)
    thirds = [face & (torch.arange(224) // 75 == i) for i in range(3)]
    found, wanted = ([float(x[third].mean()) for third in thirds] for x in (swapped, target[0].mean(0)))
    assert found[0] < found[1] < found[2]
    assert found[2] - found[0] > 0.5 * (wanted[2] - wanted[0])
    assert found[2] < wanted[2] + 0.05


def test_the_pasted_details_are_the_sources() -> None:
    source, target = picture(5), torch.full((1, 3, 224, 224), 0.5)
    target += 0.05 * torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    swapped = Paste(112, 224, TEMPLATE)(target, Thumbnail(112)(source))[0].numpy()
    enlarged = torch.nn.functional.interpolate(source, (224, 224), mode="bilinear")[0].numpy()
    fine = [x - cv2.blur(x.transpose(1, 2, 0), (65, 65)).transpose(2, 0, 1) for x in (swapped, enlarged)]
    assert np.corrcoef(*(x[:, 48:-48, 48:-48].ravel() for x in fine))[0, 1] > 0.9


def test_a_flat_target_gives_a_flat_picture_and_no_nan() -> None:
    swapped = Paste(112, 224, TEMPLATE)(torch.full((2, 3, 224, 224), 0.25), Thumbnail(112)(picture(7)).expand(2, -1))
    torch.testing.assert_close(swapped, torch.full((2, 3, 224, 224), 0.25), atol=1e-3, rtol=0)
    assert Paste(112, 112, TEMPLATE)(picture(1), torch.zeros(1, 3 * 112 * 112)).isfinite().all()


@pytest.mark.parametrize("size", [256, 512])
def test_labels_are_where_the_template_has_the_landmarks(size: int) -> None:
    labels = face_labels(size, "ffhq_512")
    points = TEMPLATES["ffhq_512"].scaled(size)
    at = [int(labels[int(y.round()), int(x.round())]) for x, y in points]
    assert at[:3] == [R_EYE, L_EYE, NOSE]
    mouth = points[3:].mean(0).round().int()
    assert labels[mouth[1], mouth[0]] == MOUTH
    assert set(labels.unique().tolist()) == {0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 17}
    assert labels[0, 0] == 0
    symmetric = labels[:, labels.shape[1] // 2 - size // 4 : labels.shape[1] // 2 + size // 4] == SKIN
    assert (symmetric == symmetric.flip(1)).float().mean() > 0.97


def test_labels_are_the_same_for_every_face() -> None:
    labels = FixedLabels(256, "ffhq_512")(torch.rand(3, 3, 256, 256))
    assert labels.dtype == torch.uint8
    assert labels.shape == (3, 256, 256)
    assert (labels == face_labels(256, "ffhq_512")).all()


def test_unchanged_is_exact() -> None:
    faces = torch.rand(2, 3, 8, 8)
    assert torch.equal(Unchanged()(faces, torch.rand(2, 5)), faces)


def test_a_detector_takes_the_drawn_faces_for_faces(data: object) -> None:
    """OpenCV's detector with YuNet's own graph finds both faces of each picture."""
    import cv2

    images = drawn_faces((2, 3, 320, 256), torch.Generator().manual_seed(0))
    detector = cv2.FaceDetectorYN.create(f"{data}/yunet_s_640_640.onnx", "", (256, 320), 0.5)
    for image in (images * 255).byte().permute(0, 2, 3, 1).flip(3).contiguous().numpy():
        assert len(detector.detect(image)[1]) == 2

"""Scenes: everything that a picture is made from, drawn from seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch

from .backdrop import sample_backdrop
from .body import sample_clothes
from .camera import sample_view
from .expression import sample_expression, sample_pose
from .identity import HAIR, sample_identity
from .light import sample_light
from .parameters import Values, moved, pick
from .props import sample_props


@dataclass(frozen=True)
class Scene:
    """B scenes, as named values float32 [B, 1] in groups that are drawn from independent streams."""

    identity: Values
    expression: Values
    pose: Values
    view: Values
    light: Values
    backdrop: Values
    clothes: Values
    props: Values

    def __len__(self) -> int:
        return len(next(iter(self.identity.values())))

    def __getitem__(self, rows: slice) -> "Scene":
        return Scene(**{f.name: pick(getattr(self, f.name), rows) for f in fields(self)})

    def to(self, device: torch.device | str) -> "Scene":
        return Scene(**{f.name: moved(getattr(self, f.name), device) for f in fields(self)})

    def with_identity(self, identity: Values, *, keep_hair: bool = False) -> "Scene":
        """The same scenes with other people.

        Args:
            keep_hair: hair stays the scene's own, as it does in a face swap, which changes only the face.
        """
        if keep_hair:
            identity = identity | {p.name: self.identity[p.name] for p in HAIR}
        return replace(self, identity=identity)


def sample_scene(
    seeds: Sequence[int], *, identity_seeds: Sequence[int] | None = None, max_yaw_degrees: float = 45.0
) -> Scene:
    """Scenes of the seeds.

    Args:
        seeds: one for each scene, 0 or more.
        identity_seeds: who is in them, if not the identities of the same seeds.
        max_yaw_degrees: heads turn between minus and plus this.
    """
    return Scene(
        identity=sample_identity(seeds if identity_seeds is None else identity_seeds),
        expression=sample_expression(seeds),
        pose=sample_pose(seeds, max_yaw_degrees=max_yaw_degrees),
        view=sample_view(seeds),
        light=sample_light(seeds),
        backdrop=sample_backdrop(seeds),
        clothes=sample_clothes(seeds),
        props=sample_props(seeds),
    )

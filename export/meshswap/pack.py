"""What the pack mesh is made of, and the pack that comes with trtswap.

``python -m trtswap.export.meshswap.pack trtswap/packs/mesh`` writes that anew: with the detector of the pack avatar,
since it may be given away. ``trtswap export mesh`` makes the same pack with YuNet.
"""

import shutil
import sys
from dataclasses import replace
from pathlib import Path

from trtswap.calibration import FILE, calibrate
from trtswap.export.build import PACK_VERSION, Provenance, Weights, export_stage
from trtswap.export.recipes import RECIPES
from trtswap.export.writer import PackWriter
from trtswap.files import Target
from trtswap.model.pack import Pack
from trtswap.packs import find_pack, sample_sources


def write_shipped(target: Path) -> None:
    """Write the pack that comes with trtswap, with the first sample of the pack avatar, and calibrated on its clip."""
    avatar, recipe, made = Pack.load(find_pack("avatar")), RECIPES["mesh"], Provenance()
    with PackWriter(target, overwrite=True) as writer:
        writer.copy(replace(avatar.stages["detect"], made_for=""))  # photographs: see docs/performance.md
        for stage in recipe.stages:
            if stage.spec.name != "detect":
                export_stage(stage, Weights(None), made, writer)
        writer.finish(
            name=recipe.name,
            version=PACK_VERSION,
            licence=made.licence(),
            description=recipe.description,
            weights={},
        )
    (target / "samples").mkdir()
    shutil.copy(sample_sources("avatar")[0], target / "samples")
    table = calibrate(Pack.load(target), avatar.path / "samples" / "clip.mp4")
    with Target(target / FILE, overwrite=False) as place:
        table.save(place)


if __name__ == "__main__":
    write_shipped(Path(sys.argv[1]))

"""Coverage-guided fuzzing of the readers of our own formats, by Atheris, which is no part of the tests' requirements:

``pip install atheris; python -P -c "import sys; sys.path.append('.'); from tests.fuzz.guided import main; main()"
sidecar -max_total_time=60``. Kinds: pack, sidecar, calibration, settings, identity. What it prints is libFuzzer's.
"""

import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from random import Random

READERS = ("trtswap.files.tables", "trtswap.model.pack", "trtswap.backends.trt.plans", "trtswap.calibration.table",
           "trtswap.engines.config", "trtswap.faces.identity", "tomllib._parser", "json.decoder")  # fmt: skip


def main() -> None:
    import atheris

    with atheris.instrument_imports(include=list(READERS)):
        from trtswap.errors import TrtswapError

        from .kinds import KINDS
        from .run import seeds

    kind = KINDS[sys.argv.pop(1)]
    folder = Path(tempfile.mkdtemp(prefix="trtswap-guided-"))
    bases = seeds(kind.name, folder)
    corpus = folder / "corpus"
    corpus.mkdir()
    for base in bases:
        (corpus / base.name).write_bytes(base.read_bytes())
    place = folder / "case"
    place.mkdir()

    def once(data: bytes) -> None:
        path = place / bases[0].name
        path.write_bytes(data)
        with suppress(TrtswapError):
            kind.use(path, Random(0))

    atheris.Setup([*sys.argv, str(corpus)], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()

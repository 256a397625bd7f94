"""Who is swapped for whom, as the command line says it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from trtswap.errors import SourceError
from trtswap.faces.cast import Who
from trtswap.faces.identity import Identity
from trtswap.packs import sample_sources
from trtswap.swapper import Swapper


@dataclass(frozen=True)
class People:
    """Pictures of the people in a run.

    Attributes:
        sources: pictures of one person, averaged.
        references: only faces like one of these get the source.
        pairs: (reference, source) of each further person.
        pick: which face of a source's picture is meant.
        reference_pick: the same of a reference's.
        sample: nobody was given, so ``sources`` holds a sample that came with the pack.
    """

    sources: tuple[Path, ...]
    references: tuple[Path, ...]
    pairs: tuple[tuple[Path, Path], ...]
    pick: str | int
    reference_pick: str | int
    sample: bool = False

    def or_sample(self, pack: str) -> "People":
        """The same people; where nobody is given, the first sample source of the pack, if it has one.

        Raises:
            PackError: there is no such pack.
        """
        if self.sources or self.pairs or self.references:
            return self
        return replace(self, sources=sample_sources(pack)[:1], sample=True)

    def check(self) -> None:
        """Find what can be found before anything is loaded.

        Raises:
            typer.BadParameter: nobody is given, or the options contradict each other.
            SourceError: a picture does not exist.
        """
        if self.references and not self.sources:
            raise typer.BadParameter("--reference says whom to replace; by whom has to be said with -s FACE.png.")
        if not self.sources and not self.pairs:
            raise typer.BadParameter(
                "give a picture of the face to show: -s FACE.png (or --map REFERENCE=SOURCE); this pack has no sample."
            )
        if self.sources and self.pairs and not self.references:
            raise typer.BadParameter(
                "-s gives its face to everybody, --map only to whom it names; add --reference PICTURE to say who gets "
                "the face of -s."
            )
        for picture in self.pictures():
            if not picture.is_file():
                raise SourceError(f"{picture}: no such file; expected a picture of a face.")

    def pictures(self) -> Iterator[Path]:
        yield from (*self.sources, *self.references)
        for pair in self.pairs:
            yield from pair

    def who(self, swapper: Swapper) -> Who:
        """Look at the pictures.

        Raises:
            SourceError: a picture has no face or several; names the picture.
        """
        pairs = [(self._reference(swapper, reference), swapper.identity(source, pick=self.pick))
                 for reference, source in self.pairs]  # fmt: skip
        if not self.sources:
            return pairs
        shown = swapper.identity(*self.sources, pick=self.pick)
        if not self.references:
            return shown
        return [*pairs, *((self._reference(swapper, reference), shown) for reference in self.references)]

    def _reference(self, swapper: Swapper, picture: Path) -> Identity:
        return swapper.identity(picture, pick=self.reference_pick)

"""Getting official checkpoints onto the disk: from the network, from a folder, out of an archive; always verified."""

import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from trtswap.errors import BusyError, CheckpointError
from trtswap.export.checkpoints import Archive, Checkpoint, description, resolve, search
from trtswap.export.download import DownloadError, Progress, download
from trtswap.files import Claim
from trtswap.files.moves import names_to_disk, put_new, to_disk
from trtswap.model.pack import sha256_of


def pull(
    checkpoint: str | Checkpoint,
    into: Path,
    *,
    source: Path | None = None,
    mirror: str | None = None,
    accept_licence: bool = False,
    progress: Progress = lambda done, total: None,
) -> Path:
    """Get a checkpoint into a folder; nothing is done when the folder has it.

    Args:
        into: the folder, made if need be. An unfinished file is kept in it as ``NAME.part`` and completed next time.
        source: a folder with the file or its archive, under any name; then nothing is downloaded.
        mirror: address of a folder that has the file under its name in the manifest, tried before the others.
        accept_licence: whoever asks has read ``Checkpoint.licence`` and accepts it.
        progress: called with bytes done and bytes in all (None where unknown).

    Returns:
        where the file is.

    Raises:
        BusyError: another thread or process is getting this checkpoint into this folder.
        CheckpointError: the licence is not accepted, no source has the file, or the folder cannot be written.
    """
    entry = resolve(checkpoint)
    target, part = into / entry.file, into / f"{entry.file}.part"
    if present := search(entry, into):
        forget(target, part)
        return present
    if target.exists():
        raise CheckpointError(f"{target} is not the official file: {entry.mismatch(target)}. Move it away.")
    if not accept_licence:
        raise CheckpointError(
            f"checkpoint {entry.name} comes under this licence: {entry.licence}. Read it; --accept-license accepts it."
        )
    with writing(into):
        into.mkdir(parents=True, exist_ok=True)
        with Claim(target):
            if present := search(entry, into):  # somebody else's, finished meanwhile
                return present
            if source is not None:
                copy_from(source, entry, part)
            else:
                fetch(entry, part, mirror=mirror, progress=progress)
            to_disk(part)
            put_new(part, target)
            names_to_disk(into)
            archive_part(part).unlink(missing_ok=True)
    return target


def archive_part(part: Path) -> Path:
    """Where the archive of a checkpoint comes while it is fetched; no two checkpoints share it."""
    return part.with_suffix(".archive.part")


def forget(target: Path, part: Path) -> None:
    """Remove unfinished downloads of a checkpoint that is there, unless somebody is at it."""
    parts = [path for path in (part, archive_part(part)) if path.exists()]
    if parts:
        with suppress(BusyError, OSError), Claim(target):
            for path in parts:
                path.unlink(missing_ok=True)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turns failures of the file system into a CheckpointError."""
    try:
        yield
    except OSError as error:
        raise CheckpointError(f"{folder}: {error}. Choose another folder with --into, or free space.") from error


def copy_from(source: Path, entry: Checkpoint, part: Path) -> None:
    """Copy a checkpoint out of a folder, or out of its archive in that folder."""
    if path := search(entry, source):
        shutil.copyfile(path, part)
        require(entry, part)
        return
    if entry.archive is not None and (source / entry.archive.file).is_file():
        extract(source / entry.archive.file, entry.archive, entry, part)
        return
    raise CheckpointError(f"{source} has no file that is checkpoint {entry.name}: {description(entry)}")


def fetch(entry: Checkpoint, part: Path, *, mirror: str | None, progress: Progress) -> None:
    """Download a checkpoint from the first address that gives the right file, and from its archive at last."""
    addresses = [f"{mirror.rstrip('/')}/{entry.file}"] if mirror else []
    failures = []
    for url in [*addresses, *entry.urls]:
        try:
            return fetch_verified(url, part, entry.size, entry.sha256, progress)
        except DownloadError as error:
            failures.append(str(error))
    if entry.archive is not None and "://" not in entry.archive.url:
        failures.append(
            f"it lies in {entry.archive.file}, which has to be got by other means: its folder is for --from"
        )
    elif entry.archive is not None:
        zipped = archive_part(part)
        try:
            fetch_verified(entry.archive.url, zipped, None, entry.archive.sha256, progress)
            extract(zipped, entry.archive, entry, part)
            return zipped.unlink()
        except DownloadError as error:
            failures.append(str(error))
    raise CheckpointError(
        f"checkpoint {entry.name} could not be downloaded:\n  "
        + "\n  ".join(failures)
        + f"\nGet {entry.file} by other "
        "means and pass its folder with --from DIR, or set TRTSWAP_WEIGHTS_MIRROR to the address of a mirror."
    )


def fetch_verified(url: str, part: Path, size: int | None, sha256: str, progress: Progress) -> None:
    """Download one address and check the hash; a file that was only completed gets a second chance from its start."""
    resumed = part.exists()
    download(url, part, size=size, progress=progress)
    digest = sha256_of(part)
    if digest == sha256:
        return
    part.unlink()
    if resumed:
        return fetch_verified(url, part, size, sha256, progress)
    raise DownloadError(f"{url}: the file's sha256 is {digest}, expected {sha256}")


def extract(path: Path, archive: Archive, entry: Checkpoint, part: Path) -> None:
    """Check an archive's hash, and unpack the member that is the checkpoint."""
    digest = sha256_of(path)
    if digest != archive.sha256:
        raise CheckpointError(f"{path}: its sha256 is {digest}, expected {archive.sha256}. Get it again.")
    try:
        with zipfile.ZipFile(path) as zipped:
            size = zipped.getinfo(archive.member).file_size
            if entry.size is not None and size != entry.size:
                raise CheckpointError(f"{path}: {archive.member} has {size:,} bytes, expected {entry.size:,}")
            with zipped.open(archive.member) as member, part.open("wb") as file:
                shutil.copyfileobj(member, file)
    except (zipfile.BadZipFile, KeyError, EOFError, NotImplementedError, RuntimeError, zlib.error) as error:
        raise CheckpointError(f"{path}: cannot take out {archive.member}: {error}") from error
    require(entry, part)


def require(entry: Checkpoint, path: Path) -> None:
    """Delete a file that is not the checkpoint, and say what it is."""
    if problem := entry.mismatch(path):
        path.unlink()
        raise CheckpointError(f"checkpoint {entry.name}: not the official file: {problem}. Get it again.")

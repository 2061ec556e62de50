"""Object files by their content in a folder, so that all workers of a machine compile each source once."""

from __future__ import annotations

import os
from collections.abc import Iterator, MutableMapping
from pathlib import Path


class ObjectFiles(MutableMapping[str, bytes]):
    """A dictionary whose values are files; a reader sees a whole one or none."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __getitem__(self, name: str) -> bytes:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, data: bytes) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        temporary = self._folder / f".{name}.{os.getpid()}.part"
        try:
            temporary.write_bytes(data)
            temporary.replace(self._folder / name)
        finally:
            temporary.unlink(missing_ok=True)

    def __delitem__(self, name: str) -> None:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            raise KeyError(name) from None

    def __iter__(self) -> Iterator[str]:
        return (path.name for path in self._folder.glob("[!.]*"))

    def __len__(self) -> int:
        return sum(1 for _ in self)

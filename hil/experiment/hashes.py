"""Hashes of the code that a stage depends on, and the commit."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import json
import subprocess
from pathlib import Path
from typing import Any

import hil
from hil.resources import resource

_PACKAGE = Path(hil.__file__).parent
_SOURCES = (".py", ".c", ".h", ".S", ".s", ".ld")


def code_sha256(*parts: str) -> str:
    """
    Hash of source files.

    Args:
        *parts: Below ``hil/``, such as ``"quant"`` or ``"fixed.py"``; ``"firmware/"`` with a slash at its end is the
            tree of C sources.
    """
    digest = hashlib.sha256()
    for part in sorted(parts):
        root = resource(part.rstrip("/")) if part.endswith("/") else _PACKAGE / part
        files = [root] if root.is_file() else sorted(p for p in root.rglob("*") if p.suffix in _SOURCES)
        for path in files:
            digest.update(f"{part}\0{path.relative_to(root).as_posix()}\0".encode())
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def values_sha256(value: Any) -> str:
    """Hash of the values of a dataclass, or of those in a dictionary."""
    if isinstance(value, dict):
        table = {name: dataclasses.asdict(item) for name, item in value.items()}
    else:
        table = dataclasses.asdict(value)
    return hashlib.sha256(json.dumps(table, sort_keys=True, default=str).encode()).hexdigest()


def version(package: str) -> str:
    """Version of an installed package, or ``"none"``."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def commit() -> str:
    """
    The checkout's commit, ``-dirty`` if tracked files differ from it.

    An installed package names the commit it was built from; ``"none"`` if that was no checkout.
    """
    if not (_PACKAGE.parent / ".git").exists():
        built_from = _PACKAGE / "_resources" / "commit.txt"
        return (built_from.read_text().strip() if built_from.is_file() else "") or "none"
    command = ["git", "-C", str(_PACKAGE.parent), "describe", "--always", "--abbrev=40", "--dirty", "--match="]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return "none"
    return done.stdout.strip() or "none"

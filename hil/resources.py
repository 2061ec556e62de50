"""Files that travel with the package: firmware sources, rig files, model folders."""

from __future__ import annotations

from pathlib import Path

from hil.errors import UsageError

_PACKAGE = Path(__file__).parent


def resource(name: str) -> Path:
    """
    Folder ``firmware``, ``rigs`` or ``models``: inside the wheel, or the checkout's own.

    Raises:
        UsageError: The installation lacks it.
    """
    for folder in (_PACKAGE / "_resources" / name, _PACKAGE.parent / name):
        if folder.is_dir():
            return folder
    raise UsageError(f"this installation lacks its {name!r} folder: install the package again")

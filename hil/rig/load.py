"""Rigs by name or by file."""

from __future__ import annotations

from pathlib import Path

from hil.config import load_toml
from hil.errors import RigNotFound, suggest
from hil.resources import resource
from hil.rig.base import Rig, RigFile
from hil.rig.emulator import EmulatorRig


def rig_files() -> dict[str, Path]:
    """The rigs that are known by name: ``rigs/`` of the current folder, then those shipped."""
    folders = (resource("rigs"), Path("rigs"))
    return {path.stem: path for folder in folders for path in sorted(folder.glob("*.toml"))}


def load_rig_file(name_or_path: str | Path) -> RigFile:
    """
    Read a rig's description.

    Args:
        name_or_path: ``"emulator"``, or a file ending in ``.toml``.

    Raises:
        RigNotFound: No rig has that name; the known ones are listed, the nearest suggested.
        UsageError: The file is wrong.
    """
    name = str(name_or_path)
    if name.endswith(".toml"):
        return load_toml(Path(name), RigFile)
    known = rig_files()
    if name not in known:
        raise RigNotFound(
            name, f"no such rig{suggest(name, known)}. Known: {', '.join(sorted(known))}; or give a .toml file"
        )
    return load_toml(known[name], RigFile)


def load_rig(name_or_path: str | Path, *, fast_load: bool = False, chip_erase: bool = False) -> Rig:
    """
    The rig of that name or file, not yet started.

    Args:
        name_or_path: As for `load_rig_file`.
        fast_load: Write the program into the emulated chip's memory directly, not through pyOCD.
        chip_erase: Erase all of the chip before it is flashed, also if it is protected.

    Raises:
        RigNotFound, UsageError: As `load_rig_file`.
    """
    file = load_rig_file(name_or_path)
    return EmulatorRig(file, f"--rig {name_or_path}", fast_load=fast_load, chip_erase=chip_erase)


def model_of(file: RigFile) -> Rig:
    """The emulated chip that stands for a rig: its chip, its wiring, a serial number of its own."""
    model = RigFile(f"{file.name}-model", "emulator", chip=file.chip, board=file.board, timeout_s=10.0)
    return EmulatorRig(model, f"the model of {file.name}", fast_load=True)

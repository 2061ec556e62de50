"""Rigs by name or by file, and what stands in for one that is not there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from hil.config import load_toml
from hil.errors import RigNotFound, UsageError, suggest
from hil.resources import resource
from hil.rig.base import Rig, Target
from hil.rig.board import BoardRig
from hil.rig.emulator import EmulatorRig
from hil.rig.file import RigFile
from hil.rig.find import NotHere, find_board
from hil.rig.renode import RenodeRig, find_renode

TEMPLATE = "template"
"""The annotated file, which is no rig."""


@dataclass(frozen=True)
class RigRequest:
    """
    A rig as the user asks for it.

    Attributes:
        name: As for `load_rig_file`.
        fallback: Another rig may stand in, as its file says.
        trace: In Renode, price the executed instructions; other rigs count cycles anyway.
    """

    name: str
    fallback: bool = True
    trace: bool = False

    def __str__(self) -> str:
        return self.name


def rig_files() -> dict[str, Path]:
    """The rigs that are known by name: ``rigs/`` of the current folder, then those shipped."""
    folders = (resource("rigs"), Path("rigs"))
    files = (path for folder in folders for path in sorted(folder.glob("*.toml")))
    return {path.stem: path for path in files if path.stem != TEMPLATE}


def load_rig_file(name_or_path: str | Path | RigRequest) -> RigFile:
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
        return _read(Path(name))
    known = rig_files()
    if name not in known:
        raise RigNotFound(
            name, f"no such rig{suggest(name, known)}. Known: {', '.join(sorted(known))}; or give a .toml file"
        )
    return _read(known[name])


def _read(path: Path) -> RigFile:
    file = load_toml(path, RigFile)
    known = rig_files()
    for name in file.fallback:
        if name not in known:
            raise UsageError(f"{path}: fallback = {name!r}: no such rig{suggest(name, known)}")
    return file


def load_rig(
    name_or_path: str | Path | RigRequest,
    *,
    fallback: bool = True,
    fast_load: bool = False,
    chip_erase: bool = False,
) -> Rig:
    """
    The rig of that name or file, or the first of its fallbacks that is there; not yet started.

    What stands in gets the chip and the wiring of the rig that was asked for, so that the very same program runs.
    `Rig.name`, `Rig.tier` and `Rig.reason` say which rig it is, and why those before it were passed over.

    Args:
        name_or_path: As for `load_rig_file`.
        fallback: False: an error instead, as with ``fallback = []`` in the file.
        fast_load: Write the program into the emulated chip's memory directly, not through pyOCD.
        chip_erase: Erase all of the chip before it is flashed, also if it is protected.

    Raises:
        RigNotFound: Neither it nor one of its fallbacks is there; or as `load_rig_file`.
        UsageError: As `load_rig_file`.
        SeveralMatch: More than one attached board fits.
    """
    trace = isinstance(name_or_path, RigRequest) and name_or_path.trace
    if isinstance(name_or_path, RigRequest):
        fallback = fallback and name_or_path.fallback
    asked = load_rig_file(name_or_path)
    asked_as = asked.candidates()[0]
    stand_ins = asked.fallback if fallback else ()
    passed: list[str] = []
    for file in (asked, *(load_rig_file(name) for name in stand_ins)):
        mine = file if file is asked else file.standing_in_for(asked.as_variant(asked_as))
        reason = "; ".join([f"--rig {name_or_path}", *passed])
        try:
            return _make(mine, reason, fast_load=fast_load, chip_erase=chip_erase, trace=trace)
        except NotHere as why:
            passed.append(f"{file.name}: {why}")
    raise RigNotFound(asked.name, _nothing_is_here(asked, passed, fallback))


def target_of(name_or_path: str | Path | RigRequest) -> Target:
    """
    What a program for that rig is built for.  Only a file with several boards needs to look for what is attached.

    Raises:
        HilError: As `load_rig`.
    """
    file = load_rig_file(name_or_path)
    return load_rig(name_or_path) if file.variants else file


def model_of(rig: Rig | RigFile) -> Rig:
    """The emulated chip that stands for a rig: its chip, its wiring, a serial number of its own."""
    model = RigFile(f"{rig.name}-model", "emulator", chip=rig.chip, board=rig.wiring, timeout_s=10.0)
    return EmulatorRig(model, f"the model of {rig.name}", fast_load=True)


def predictor_of(rig: Rig) -> Rig | None:
    """The rig that says what cycles a board should take, None where there is no board."""
    return model_of(rig) if isinstance(rig, BoardRig) else None


def _nothing_is_here(asked: RigFile, passed: list[str], fallback: bool) -> str:
    if len(passed) > 1:
        return f"nothing is there to run on ({'; '.join(passed)}). See `hil rigs`."
    why = passed[0].partition(": ")[2]
    if asked.fallback and not fallback:
        others = " and ".join(asked.fallback)
        return f"{why}, and --no-fallback keeps {others} from standing in. Attach it; see `hil rigs`."
    return f"{why}, and its file names no fallback. Attach it; see `hil rigs`."


def _make(file: RigFile, reason: str, *, fast_load: bool, chip_erase: bool, trace: bool) -> Rig:
    """Raises `NotHere`."""
    if file.kind == "emulator":
        return EmulatorRig(file, reason, fast_load=fast_load, chip_erase=chip_erase)
    if file.kind == "renode":
        executable = find_renode()
        if executable is None:
            raise NotHere("renode not found")
        return RenodeRig(file, executable, reason, trace=trace)
    return BoardRig(file, find_board(file), reason, chip_erase=chip_erase)


def more_rigs(rig: Rig, count: int) -> list[Rig]:
    """
    Further rigs that equal one, not yet started.

    Raises:
        UsageError: ``count`` is not 0 and there is only one of it.
    """
    if count > 0 and not isinstance(rig, EmulatorRig):
        raise UsageError(
            f"{rig.name}: a single board, which takes one sequence after the other. Leave out --jobs, or use "
            f"--rig emulator"
        )
    return [rig.another() for _ in range(count)] if isinstance(rig, EmulatorRig) else []

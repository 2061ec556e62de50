"""Bringing a board back: reset, connect under reset, power-cycle, and quarantine if nothing helps."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from hil.chips import Chip
from hil.emulator import elf_segments
from hil.errors import (
    ChipProtected,
    FlashError,
    FlashLocked,
    HilError,
    ProbeLost,
    Quarantined,
    RigError,
    RigNotFound,
    ToolError,
)
from hil.probe.flash import Flashed, Pack, flash_through_pyocd
from hil.probe.restart import restart_through_pyocd
from hil.probe.survey import Looking, survey
from hil.rig.file import Hooks, Stages
from hil.rig.locks import file_name, lock_folder

_FLASH_BYTES_PER_S = 2048
_HOPELESS = (FlashLocked, ChipProtected)
"""What no reset changes."""
_LOOK_AGAIN_S = 1.0


@dataclass(frozen=True)
class Order:
    """
    What to put where, and what the bench has for a board that does not answer.

    Attributes:
        rig: Name for errors.
        elf: The program.
        uid: The probe's whole id.
        chip: What is behind it.
        chip_erase, pack: As for `hil.probe.flash.flash_through_pyocd`.
        stages: Deadlines.
        hooks: Commands of the bench.
        under_reset: Connect while the core is in reset.
    """

    rig: str
    elf: Path
    uid: str
    chip: Chip
    chip_erase: bool
    pack: Pack | None
    stages: Stages
    hooks: Hooks
    under_reset: bool = False


Rung = tuple[str, Callable[[Order], Order]]
"""What is done, in words, and the function that does it; it returns how to flash afterwards."""


def flash_or_recover(order: Order) -> tuple[Flashed, tuple[str, ...]]:
    """
    Flash; where that fails, climb the ladder one rung after the other and flash again after each.

    Returns:
        What was done, and notes about what it took.

    Raises:
        FlashError, RigNotFound: As `hil.probe.flash.flash_through_pyocd`, with what was tried.  A board whose flash
            or core stays bad after all of it is put into quarantine.
        ToolError: pyOCD is not installed.
    """
    try:
        return _flash(order), ()
    except _HOPELESS:
        raise
    except (FlashError, RigNotFound) as error:
        return _recover(order, error)


def _recover(order: Order, first: RigError) -> tuple[Flashed, tuple[str, ...]]:
    tried: list[str] = []
    last: HilError = first
    for words, act in _rungs(order, first):
        try:
            flashed = _flash(act(order))
        except _HOPELESS:
            raise
        except (RigError, ToolError) as error:
            tried.append(f"{words}: {_short(error, order.rig)}")
            last = error
        else:
            return flashed, (f"recovered: {_short(first, order.rig)}; then {words}, and it was flashed",)
    if not tried:
        raise first
    if _is_bad(order, first, last):
        quarantine(order.uid, _short(last, order.rig), tried)
        tried.append("put into quarantine")
    last.args = (f"{last} Tried: {'; '.join(tried)}.",)
    raise last


def _rungs(order: Order, first: RigError) -> Iterator[Rung]:
    """A probe that is gone can only be brought back by its power."""
    if not _probe_is_gone(first):
        yield "reset through the probe", _reset
        yield "connect under reset", lambda o: replace(o, under_reset=True)
    if order.hooks.power_cycle:
        yield "power-cycle", _power_cycle


def _probe_is_gone(error: HilError) -> bool:
    return isinstance(error, ProbeLost) or (isinstance(error, RigNotFound) and "no debug probe" in str(error))


def _is_bad(order: Order, first: HilError, last: HilError) -> bool:
    """
    A chip that answers and cannot be written is bad; one that does not answer may only lack its supply, unless the
    bench can switch that and has.
    """
    if _probe_is_gone(first) or _probe_is_gone(last):
        return False
    return not isinstance(last, RigNotFound) or bool(order.hooks.power_cycle)


def _flash(order: Order) -> Flashed:
    size = sum(len(data) for _, data in elf_segments(order.elf))
    return flash_through_pyocd(
        order.elf,
        order.uid,
        order.chip,
        rig=order.rig,
        chip_erase=order.chip_erase,
        under_reset=order.under_reset,
        pack=order.pack,
        deadline_s=order.stages.flash_s + size / _FLASH_BYTES_PER_S,
    )


def _reset(order: Order) -> Order:
    restart_through_pyocd(order.uid, order.chip, order.rig, order.stages.recover_s)
    return order


def _power_cycle(order: Order) -> Order:
    """Run the bench's hook, then wait until the probe is back.  Raises `RigError`."""
    run_hook(order.rig, order.uid, order.hooks.power_cycle, order.stages.hook_s)
    deadline = time.monotonic() + order.stages.recover_s
    while True:
        with suppress(ToolError):
            if any(probe.uid.lower() == order.uid.lower() for probe in survey([Looking(order.uid)])):
                return order
        if time.monotonic() >= deadline:
            raise RigError(order.rig, f"the probe did not come back within {order.stages.recover_s:g} s")
        time.sleep(_LOOK_AGAIN_S)


def run_hook(rig: str, uid: str, command: str, deadline_s: float) -> None:
    """Run a command of the bench's by the shell.  Raises `RigError` if it fails or does not end."""
    env = {**os.environ, "HIL_RIG": rig, "HIL_PROBE": uid}
    process = subprocess.Popen(
        command,
        shell=True,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=deadline_s)
    except subprocess.TimeoutExpired:
        raise RigError(rig, f"the hook `{command}` did not end within {deadline_s:g} s") from None
    finally:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, 9)
        process.wait()
        if process.stdout:
            process.stdout.close()
    if process.returncode:
        raise RigError(rig, f"the hook `{command}` ended with {process.returncode}: {said.strip()[-200:]}")


def _short(error: HilError, rig: str) -> str:
    """Its first sentence, without the rig's name."""
    return str(error).removeprefix(f"{rig}: ").split(". ")[0].rstrip(".")


# Quarantine


def _quarantine_file(uid: str) -> Path:
    return lock_folder() / f"quarantine-{file_name(uid.lower())}.json"


def quarantine(uid: str, why: str, tried: list[str]) -> None:
    """Keep a board from every later run, until `release`."""
    path = _quarantine_file(uid)
    part = path.with_suffix(f".{os.getpid()}.part")
    since = time.strftime("%Y-%m-%d %H:%M")
    part.write_text(json.dumps({"uid": uid, "since": since, "why": why, "tried": tried}) + "\n", encoding="utf-8")
    part.replace(path)


def check_quarantine(rig: str, uid: str) -> None:
    """Raises `Quarantined` if the board is."""
    try:
        known = json.loads(_quarantine_file(uid).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError):
        known = {}
    raise Quarantined(rig, uid, known.get("since", "?"), known.get("why", "unknown"), known.get("tried", ["?"]))


def release(uid: str) -> bool:
    """Let a board back in; whether it was in quarantine."""
    try:
        _quarantine_file(uid).unlink()
    except FileNotFoundError:
        return False
    return True

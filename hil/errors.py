"""
What can go wrong, sorted by who has to act.

* HilError
  - UsageError         your call or your file is wrong: change it
    - ArtefactError    a model file is missing, corrupt or too new
    - FitError         the model does not fit the chip
  - ToolError          a compiler or an emulator failed: read its log
  - RigError           the bench is wrong: look at cables, probe, power
    - RigNotFound
    - PortLost
    - PortBusy
    - RigBusy          another run has the board
    - SeveralMatch     more than one board fits the rig's file
    - Quarantined      the board could not be recovered
    - LinkTimeout
      - GarbledLine
    - WrongSpeed
    - FlashError
      - FlashDiffers   written, and reads back different
      - FlashLocked    the region is locked
      - ChipProtected  the security bit is set
      - PowerLost      the target stopped answering in mid-work
      - ProbeLost      the debug probe went away in mid-work
  - DeviceError        the firmware answered, and the answer is wrong
    - ProtocolError
    - WrongFirmware
    - DeviceRefusal
    - FirmwareFault
    - FirmwareHung
    - UnexpectedReset

Only a DeviceError is evidence about the firmware.  A run that ends in any
other error is void: it neither passes nor fails.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path


class HilError(Exception):
    """Base of every error this package raises on purpose."""


class UsageError(HilError, ValueError):
    """The caller or an input file is wrong."""


class ArtefactError(UsageError):
    """
    A model file cannot be used.

    Attributes:
        path: The file, or None for bytes that came from elsewhere.
    """

    def __init__(self, path: Path | str | None, what: str):
        self.path = path
        super().__init__(f"{path}: {what}" if path else what)


class FitError(UsageError):
    """
    The program is larger than the memory of the chip.

    Attributes:
        memory: ``"flash"`` or ``"ram"``.
        needed_bytes: What the program takes.
        available_bytes: What the chip has.
        sections: Bytes by section or symbol, largest first.
    """

    def __init__(self, memory: str, needed_bytes: int, available_bytes: int, sections: Mapping[str, int]):
        self.memory = memory
        self.needed_bytes = needed_bytes
        self.available_bytes = available_bytes
        self.sections = dict(sections)
        parts = ", ".join(f"{name} {size}" for name, size in sorted(sections.items(), key=lambda s: -s[1])[:6])
        super().__init__(
            f"the program needs {needed_bytes} bytes of {memory}, the chip has {available_bytes} "
            f"({parts}). Use fewer units or inputs, or a chip with more {memory}."
        )


class ToolError(HilError):
    """
    A program that this package runs has failed.

    Attributes:
        command: What was run.
        log: What it printed.
    """

    def __init__(self, what: str, command: Iterable[str] = (), log: str = ""):
        self.command = list(command)
        self.log = log
        shown = f"\n$ {' '.join(self.command)}\n{log.rstrip()}" if self.command else ""
        super().__init__(what + shown)


class RigError(HilError):
    """
    The bench is wrong.

    Attributes:
        rig: Name of the rig, as in ``rigs/<name>.toml``.
    """

    def __init__(self, rig: str, what: str):
        self.rig = rig
        super().__init__(f"{rig}: {what}")


class RigNotFound(RigError):
    """No such rig, or nothing attached that it describes."""


class PortLost(RigError):
    """The serial port went away while it was in use (cable pulled, emulator ended)."""

    def __init__(self, rig: str, doing: str):
        super().__init__(
            rig, f"the serial port vanished while {doing}. Check the cable and power, then run the command again."
        )


class PortBusy(RigError):
    """
    Another program holds the serial port.

    Attributes:
        holder: Which one, "" if this user may not see it.
    """

    def __init__(self, rig: str, port: str, holder: str = ""):
        self.holder = holder
        super().__init__(rig, f"{port} is in use by {holder or 'another program'}. Close it, then try again.")


class RigBusy(RigError):
    """Another run has the board: ``holder``, in words."""

    def __init__(self, rig: str, what: str, holder: str):
        self.holder = holder
        super().__init__(rig, f"{what} is in use by {holder}. Wait for it to end, or end it; nothing was touched.")


class SeveralMatch(RigError):
    """More than one probe or port fits a rig's file: ``candidates``."""

    def __init__(self, rig: str, what: str, candidates: Iterable[str], todo: str):
        self.candidates = list(candidates)
        super().__init__(rig, f"{len(self.candidates)} {what}: {'; '.join(self.candidates)}. {todo}")


class Quarantined(RigError):
    """
    A board that could not be recovered is kept out of use.

    Attributes:
        probe: Id of its probe.
        tried: What was done to recover it.
    """

    def __init__(self, rig: str, probe: str, since: str, why: str, tried: Iterable[str]):
        self.probe, self.tried = probe, list(tried)
        super().__init__(
            rig,
            f"the board behind probe {probe} is in quarantine since {since}: {why} "
            f"(tried: {'; '.join(self.tried)}). Look at it, then let it back in: `hil doctor {rig} --release`.",
        )


class FlashError(RigError):
    """The program could not be written, or reads back different."""


class FlashDiffers(FlashError):
    """
    What was written reads back different.

    Attributes:
        address: Of the first byte that differs.
        expected, got: That byte.
        bytes: How many differ.
    """

    def __init__(self, rig: str, address: int, expected: int, got: int, differing: int, total: int):
        self.address, self.expected, self.got, self.bytes = address, expected, got, differing
        super().__init__(
            rig,
            f"verification: {address:#010x} reads {got:#04x}, written was {expected:#04x} "
            f"(first of {differing} different bytes in {total}). The flash or the connection is bad: "
            f"flash again; if the same address differs again, use another chip.",
        )


class FlashLocked(FlashError):
    """
    A region of the flash is locked.

    Attributes:
        address: Where the program should have gone.
    """

    def __init__(self, rig: str, address: int):
        self.address = address
        super().__init__(
            rig,
            f"the flash at {address:#010x} is locked against writing (a region lock or the boot section, both in "
            f"the NVM user row). Clear its LOCK and BOOTPROT bits, reset the chip, then flash again.",
        )


class ChipProtected(FlashError):
    """The security bit keeps the debugger out."""

    def __init__(self, rig: str):
        super().__init__(
            rig,
            "the chip is protected by its security bit: nothing in it can be read or written. "
            "Erase all of it, which removes the protection: the same command with --chip-erase.",
        )


class PowerLost(FlashError):
    """The target stopped answering in the middle of the work."""

    def __init__(self, rig: str, doing: str):
        super().__init__(
            rig,
            f"the target stopped answering while {doing}: its power failed or its cable came off. "
            f"What its flash holds now is incomplete. Check supply and cable, then flash again.",
        )


class ProbeLost(FlashError):
    """The debug probe went away in mid-work."""

    def __init__(self, rig: str, doing: str):
        super().__init__(
            rig,
            f"the debug probe vanished while {doing}. What the chip's flash holds now is incomplete. "
            f"Check the probe's USB cable, then flash again.",
        )


class LinkTimeout(RigError):
    """
    The device stayed silent.

    Attributes:
        waited_s: How long the host waited, in seconds.
        tail: The last bytes that did arrive, oldest first.
        asked: How often it was asked for.
        bad_frames: Damaged frames that came since the port was opened.
    """

    def __init__(self, rig: str, waiting_for: str, waited_s: float, tail: bytes):
        self.waited_s = waited_s
        self.tail = tail
        self.asked, self.bad_frames = 1, 0
        got = f"last {len(tail)} bytes: {tail.hex(' ')}" if tail else "no byte arrived"
        super().__init__(
            rig,
            f"no {waiting_for} frame within {waited_s:g} s ({got}). "
            f"Check power and baud rate, then run `hil doctor {rig}`.",
        )

    def counted(self, asked: int, bad_frames: int) -> LinkTimeout:
        """This error, with how often the host asked in vain, and how much that came was damaged."""
        self.asked, self.bad_frames = asked, bad_frames
        self.args = (f"{self} It was asked {asked} times; damaged frames so far: {bad_frames}.",)
        return self


class WrongSpeed(RigError):
    """
    The device answers at another line speed than the one it was asked at.

    Attributes:
        asked, found: Both in baud.
    """

    def __init__(self, rig: str, asked: int, found: int, mended: bool):
        self.asked, self.found = asked, found
        now = f"It has been set to {asked}: run the command again" if mended else "Reset it, then run the command again"
        super().__init__(rig, f"no answer at {asked} baud, but at {found}: an earlier run was cut off there. {now}.")


class GarbledLine(LinkTimeout):
    """
    Bytes arrived while the host waited, and none of them made a frame: most often a wrong line speed.

    Attributes:
        bytes_seen: How many.
    """

    def __init__(self, rig: str, waiting_for: str, waited_s: float, tail: bytes, bytes_seen: int, baud: int):
        super().__init__(rig, waiting_for, waited_s, tail)
        self.bytes_seen = bytes_seen
        self.args = (
            f"{rig}: no {waiting_for} frame within {waited_s:g} s, and no good frame in the {bytes_seen} bytes that "
            f"came (last: {tail.hex(' ')}). Is {baud} baud the device's speed? If so check ground wire and cable.",
        )


class DeviceError(HilError):
    """The firmware answered, and the answer is wrong."""


class ProtocolError(DeviceError):
    """The firmware sent a frame that the protocol does not allow here."""


class WrongFirmware(DeviceError):
    """
    Another program answers than the one expected.

    Attributes:
        field: Which part of HELLO differs (``protocol``, ``build_id``, ``artefact_hash``).
        expected, got: Its values, as text.
    """

    def __init__(self, rig: str, field: str, expected: str, got: str):
        self.field, self.expected, self.got = field, expected, got
        super().__init__(
            f"{rig}: the firmware that answers has {field} {got}, expected {expected}. "
            f"Flash it again: `hil flash MODEL --rig {rig}`."
        )


class DeviceRefusal(DeviceError):
    """
    The firmware answered a request with an ERROR frame.

    Attributes:
        code: The error code's name (``hil.link.schema.ErrorCode``).
        detail: The number that came with it.
    """

    def __init__(self, rig: str, request: str, code: str, detail: int):
        self.code, self.detail = code, detail
        super().__init__(f"{rig}: the firmware refused {request}: {code} ({detail})")


class FirmwareFault(DeviceError):
    """
    The firmware ended in its HardFault handler, or the core locked up.

    Attributes:
        registers: Stacked registers by name (``r0`` ... ``r3``, ``r12``, ``lr``, ``pc``, ``xpsr``, ``sp``).
    """

    def __init__(self, rig: str, registers: Mapping[str, int], where: str = ""):
        self.registers = dict(registers)
        shown = " ".join(f"{name}={value:08x}" for name, value in self.registers.items())
        super().__init__(f"{rig}: HardFault{' in ' + where if where else ''}: {shown}")


class FirmwareHung(DeviceError):
    """The core runs, in function and line ``where``, and the firmware answers nothing."""

    def __init__(self, rig: str, where: str, interrupts_off: bool):
        self.where = where
        how = " with interrupts off" if interrupts_off else ""
        super().__init__(f"{rig}: the firmware hangs in {where}{how}: the core runs, and nothing is answered.")


class UnexpectedReset(DeviceError):
    """
    The firmware started again although nobody had asked for it.

    Attributes:
        cause: PM.RCAUSE (1 power-on, 2 and 4 brown-out, 16 external, 32 watchdog, 64 system request).
    """

    def __init__(self, rig: str, cause: int):
        self.cause = cause
        super().__init__(
            f"{rig}: the firmware was reset in mid-run (PM.RCAUSE {cause:#04x}). "
            f"Check the supply and the reset line, then run the command again."
        )


def suggest(word: str, known: Iterable[str]) -> str:
    """``"; did you mean 'hidden'?"`` for the nearest known word, or ``""``."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""

"""Flash a program through pyOCD and any probe, board or emulator alike, and prove that it is there."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from hil.chips import FLASH_BASE, Chip
from hil.emulator import elf_segments
from hil.errors import (
    ChipProtected,
    FitError,
    FlashDiffers,
    FlashError,
    FlashLocked,
    HilError,
    PowerLost,
    ProbeLost,
    RigNotFound,
    ToolError,
    UsageError,
)
from hil.probe.algorithm import LOCKED, RESULTS
from hil.probe.folder import find
from hil.probe.process import Child, tell

BASE_DEADLINE_S = 60.0
_COUNTERS_S = 2.0
"""For an emulated board to say how far it is."""
DEADLINE_BYTES_PER_S = 2048
"""A slow probe: 16 ms for each row of 256 bytes is 16 KB/s."""

Progress = Callable[[int, int, str], None]
"""Called with bytes done, bytes in all, and what is being done."""


@dataclass(frozen=True)
class Pack:
    """
    A vendor's CMSIS pack, whose description of the chip and flash algorithm replace this package's.

    Attributes:
        path: The .pack file.
        sha256: Of its bytes, 64 hexadecimal digits.
    """

    path: Path
    sha256: str

    def check(self) -> None:
        """Raises `UsageError` if the file is missing or another one."""
        try:
            found = hashlib.sha256(self.path.read_bytes()).hexdigest()
        except OSError as error:
            raise UsageError(f"{self.path}: the pack cannot be read ({error.strerror})") from error
        if found != self.sha256.lower():
            raise UsageError(f"{self.path}: its SHA-256 is {found}, expected {self.sha256}. Get the right file.")


@dataclass(frozen=True)
class Flashed:
    """
    What was done.

    Attributes:
        bytes: Of the program.
        written: False: the chip held exactly this program already and was only reset.
        erased: The whole chip was erased first.
        seconds: Wall time, all included.
        cycles: CPU cycles that an emulated chip has run meanwhile; None on silicon.
        serial: Of the chip behind the probe, 32 hexadecimal digits.
        chip_seconds: Virtual time that has passed on an emulated chip, as silicon would take; None on silicon.
    """

    bytes: int
    written: bool
    erased: bool
    seconds: float
    cycles: int | None
    chip_seconds: float | None
    serial: str = ""

    @property
    def how(self) -> str:
        """In words, the same every time: without wall time."""
        if not self.written:
            return "the program was there already: read back through pyOCD and compared, not written again"
        how = f"written through pyOCD{' after a chip erase' if self.erased else ''}, read back and compared"
        if self.cycles is None:
            return how
        return f"{how} ({self.cycles} cycles, {self.chip_seconds:.2f} s of the chip's time)"

    def __str__(self) -> str:
        return f"{self.bytes} bytes in {self.seconds:.2f} s: {self.how}"


def flash_through_pyocd(
    elf: Path,
    uid: str,
    chip: Chip,
    *,
    rig: str,
    chip_erase: bool = False,
    under_reset: bool = False,
    pack: Pack | None = None,
    frequency_hz: int = 4_000_000,
    deadline_s: float | None = None,
    progress: Progress | None = None,
) -> Flashed:
    """
    Put a program on a chip and start it.  pyOCD runs in a process of its own that is ended at a deadline.

    Args:
        elf: The program.
        uid: The probe's whole id.
        chip: What is behind it.
        rig: Name for errors.
        chip_erase: Erase everything first, also if the chip is protected.
        under_reset: Connect while the core is in reset, for programs that take the debug pins.
        pack: Instead of this package's own target.
        frequency_hz: Of SWCLK.
        deadline_s: For everything; None: a minute and half a second for each kilobyte.
        progress: Told how far it is.

    Raises:
        UsageError: The program is no ELF or does not fit (`FitError`), or the pack is another one.
        ToolError: pyOCD is not installed, or failed for a reason of its own.
        RigNotFound: No probe of that id is attached, or no chip answers behind it.
        FlashDiffers, FlashLocked, ChipProtected, PowerLost: As they say.
        FlashError: The chip's flash controller or the deadline.
    """
    find_pyocd()
    if pack:
        pack.check()
    segments = _segments(elf, chip)
    size = sum(len(data) for _, data in segments)
    order = {
        "uid": uid,
        "target": chip.name,
        "segments": [[address, data.hex()] for address, data in segments],
        "chip_erase": chip_erase,
        "under_reset": under_reset,
        "pack": str(pack.path.resolve()) if pack else None,
        "frequency_hz": frequency_hz,
    }
    began, before = monotonic(), _counters(uid)
    result = _run(order, rig, began + (deadline_s or BASE_DEADLINE_S + size / DEADLINE_BYTES_PER_S), size, progress)
    after = _counters(uid)
    known = before is not None and after is not None
    return Flashed(
        bytes=size,
        written=bool(result["written"]),
        erased=chip_erase,
        seconds=monotonic() - began,
        cycles=after["spent_cycles"] - before["spent_cycles"] if known else None,  # type: ignore[index]
        chip_seconds=after["seconds"] - before["seconds"] if known else None,  # type: ignore[index]
        serial=str(result.get("serial", "")),
    )


def find_pyocd() -> str:
    """pyOCD's version.  Raises `ToolError` if it is not installed."""
    if importlib.util.find_spec("pyocd") is None:
        raise ToolError(
            "pyOCD, which flashes, is not installed: run `pip install 'hil[bench]'`. "
            "The emulated chip can do without: --fast-load."
        )
    return importlib.metadata.version("pyocd")


def _segments(elf: Path, chip: Chip) -> list[tuple[int, bytes]]:
    segments = elf_segments(elf)
    end = FLASH_BASE + chip.flash_bytes
    for address, data in segments:
        if not FLASH_BASE <= address < end:
            raise UsageError(f"{elf}: a segment of {len(data)} bytes at {address:#010x} is not in the flash")
        if address + len(data) > end:
            raise FitError("flash", address + len(data), chip.flash_bytes, {f"at {address:#010x}": len(data)})
    return segments


def _counters(uid: str) -> dict[str, Any] | None:
    with suppress(HilError):
        found = find(uid)
        return tell(found, what="state", timeout_s=_COUNTERS_S) if found else None
    return None


def _run(order: dict[str, Any], rig: str, deadline: float, size: int, progress: Progress | None) -> dict[str, Any]:
    doing, result = "connecting", None
    with tempfile.TemporaryDirectory(prefix="hil-flash-") as folder:  # nothing there that pyOCD would load
        child = Child("hil.probe.plugin.child", order, cwd=Path(folder))
        try:
            for said in child.said(deadline):
                if "done" in said or "failed" in said:
                    result = said
                elif "doing" in said:
                    doing = said["doing"]
                    if progress is not None:
                        progress(int(said["fraction"] * size), size, doing)
        except TimeoutError:
            raise FlashError(
                rig, f"still {doing} when its time was up. Check the probe's cable, power-cycle the board, try again."
            ) from None
        finally:
            child.kill()
    if result is None:
        raise ToolError(f"pyOCD ended without a word while {doing}", log=child.log)
    if "failed" in result:
        raise _error(result, rig, doing, child.log)
    return dict(result["done"])


def _error(said: dict[str, Any], rig: str, doing: str, log: str) -> HilError:
    kind, text = said["failed"], said.get("text", "")
    if kind == "no_probe":
        attached = ", ".join(said["attached"]) or "none"
        return RigNotFound(
            rig, f"no debug probe has the id {said['uid']!r} (attached: {attached}). Check its cable; see `pyocd list`."
        )
    if kind == "no_target":
        return RigNotFound(rig, f"the probe is there, but no chip answers ({text}). Check power and the SWD cable.")
    if kind == "busy":
        return FlashError(rig, f"the probe cannot be opened ({text}). Close what else debugs the board.")
    if kind == "protected":
        return ChipProtected(rig)
    if kind == "probe_lost":
        return ProbeLost(rig, doing)
    if kind == "power":
        return PowerLost(rig, doing)
    if kind == "differs":
        return FlashDiffers(rig, said["address"], said["expected"], said["got"], said["count"], said["total"])
    if kind == "algorithm":
        if said["code"] == LOCKED:
            return FlashLocked(rig, said["address"])
        where = f" at {said['address']:#010x}" if said["address"] is not None else ""
        return FlashError(rig, f"{doing}{where}: {RESULTS.get(said['code'], text)}. Reset the board and try again.")
    return ToolError(f"{rig}: pyOCD failed while {doing}: {text}", log=log)

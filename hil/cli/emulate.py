"""`hil emulate`: an emulated board for other programs."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from hil.probe import Announcement, BoardPlan, serve
from hil.rig import load_rig_file


def emulate_board(rig: str, *, probe: bool, serial: str | None, link: Path | None, elf: Path | None) -> None:
    """
    Serve the board of a rig file until SIGINT or SIGTERM.

    Raises:
        RigNotFound, UsageError: As `hil.rig.load_rig_file` and `hil.probe.serve`.
        RigError: A probe of that id is running.
    """
    file = load_rig_file(rig)
    plan = BoardPlan(
        chip=file.chip,
        serial=serial or file.serial,
        sercom=file.board.sercom,
        link=str(link) if link else None,
        elf=str(elf) if elf else None,
        probe=probe,
    )
    serve(plan, lambda made: _show(plan, made))


def _show(plan: BoardPlan, made: Announcement) -> None:
    console = Console(soft_wrap=True, highlight=False)
    console.print(f"emulated {plan.chip}, serial number {plan.serial}")
    console.print(f"serial port  {made.port}")
    if plan.probe:
        console.print(f"debug probe  {made.uid}  (pyocd list; pyocd gdbserver --uid {made.uid})")
    console.print("Ctrl-C ends it.")

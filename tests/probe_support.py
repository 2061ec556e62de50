"""What the tests of the debug probe share: a program to debug, a debugger's memory, and pyOCD's own command line."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from pathlib import Path

import hil
from hil.chips import CHIPS
from hil.firmware.compiler import Compiler, find_compiler, run_tool
from hil.firmware.sources import linker_script
from hil.probe.client import ProbeClient
from hil.probe.folder import FOLDER_VARIABLE, find
from hil.resources import resource

PROGRAM = Path(__file__).with_name("probe_program.c")
J18A = CHIPS["atsamd21j18a"]
SERIALS = tuple(f"{n:032x}" for n in (0xA1, 0xA2, 0xA3))
ENTRY_POINT = "[pyocd.probe]\nhil = hil.probe.plugin.entry:EmulatedBoards\n"


def compile_program(folder: Path, compiler: Compiler | None = None) -> Path:
    """`PROGRAM` with debug information, not optimized, so that each compiler's lines are the source's."""
    compiler = compiler or find_compiler()
    template = (resource("firmware") / "port/samd21/samd21.ld").read_bytes()
    script = linker_script(template.replace(b"*(.debug_* ", b"*("), J18A.flash_bytes, J18A.ram_bytes)
    (folder / "p.ld").write_bytes(script)
    (folder / PROGRAM.name).write_bytes(PROGRAM.read_bytes())
    run_tool(compiler.compile_command(PROGRAM.name, "p.o", "0", ["-g"]), "compiling", folder)
    command = compiler.link_command(["p.o"], "p.ld", "program.elf", "2")
    run_tool([part for part in command if "gc-sections" not in part], "linking", folder)
    return folder / "program.elf"


class Debugger:
    """Memory through the debug port, as an adapter sees it."""

    def __init__(self, uid: str) -> None:
        self.client = ProbeClient(find(uid))
        self.client.write_dp(0x0, 0x1E)
        self.client.write_dp(0x4, 0x50000000)
        self.client.write_dp(0x8, 0)

    def __enter__(self) -> Debugger:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def read(self, address: int, size: int = 4) -> int:
        self._select(address, size)
        return self.client.read_ap(0xC)[0] >> 8 * (address & 3 & -size) & ((1 << 8 * size) - 1)

    def write(self, address: int, value: int, size: int = 4) -> None:
        self._select(address, size)
        self.client.write_ap(0xC, [value << 8 * (address & 3 & -size)])

    def _select(self, address: int, size: int) -> None:
        self.client.write_ap(0x0, [0x03000040 | {1: 0, 2: 1, 4: 2}[size]])
        self.client.write_ap(0x4, [address])


def environment(folder: Path) -> dict[str, str]:
    """For pyOCD's command line: this package, its entry point, and a folder of probes for this test alone."""
    paths = [str(Path(hil.__file__).parents[1])]
    if not any(e.name == "hil" for e in importlib.metadata.entry_points(group="pyocd.probe")):
        info = folder / "site" / "hil_in_a_checkout-0.dist-info"
        info.mkdir(parents=True, exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: hil-in-a-checkout\nVersion: 0\n")
        (info / "entry_points.txt").write_text(ENTRY_POINT)
        paths.append(str(info.parent))
    paths += filter(None, [os.environ.get("PYTHONPATH")])
    probes = os.environ[FOLDER_VARIABLE]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), FOLDER_VARIABLE: probes, "COLUMNS": "200"}


def pyocd(folder: Path, *arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    """pyOCD's own command line, in an empty project folder."""
    project = folder / "project"
    project.mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "pyocd", *arguments],
        cwd=project,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
    )

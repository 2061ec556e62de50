"""Build the test programs with arm-none-eabi-gcc, or the compiler inside the ziglang wheel."""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
_FOLDER = Path(tempfile.gettempdir()) / "hil-emulator-tests"
GCC = shutil.which("arm-none-eabi-gcc")


def _command(sources: list[Path], out: Path, flags: tuple[str, ...], compiler: str) -> list[str]:
    common = ["-mthumb", "-g", "-ffreestanding", "-I", str(HERE), "-Wall", *flags]
    script = str(HERE / "flash.ld")
    if compiler == "gcc":
        link = ["-mcpu=cortex-m0plus", "-nostartfiles", f"-T{script}", "-Wl,--no-warn-rwx-segments"]
        return [str(GCC), *common, *link, *map(str, sources), "-o", str(out), "-lm", "-lc", "-lgcc"]
    zig = [sys.executable, "-m", "ziglang", "build-exe", "-target", "thumb-freestanding-eabi", "-mcpu=cortex_m0plus"]
    return [
        *zig,
        "-fcompiler-rt",
        "-fno-strip",
        "--script",
        script,
        "-cflags",
        *common,
        "--",
        *map(str, sources),
        f"-femit-bin={out}",
        "--cache-dir",
        str(_FOLDER / "zig"),
        "--global-cache-dir",
        str(_FOLDER / "zig"),
    ]


@functools.cache
def build(*names: str, flags: tuple[str, ...] = ("-O2",), compiler: str = "gcc" if GCC else "zig") -> bytes:
    """The ELF made of ``start.c`` and the named sources beside this file."""
    sources = [HERE / name for name in ("start.c", *names)]
    contents = b"".join(p.read_bytes() for p in sorted(HERE.iterdir()) if p.suffix in (".c", ".h", ".ld"))
    key = hashlib.sha256(repr((names, flags, compiler)).encode() + contents).hexdigest()[:20]
    out = _FOLDER / f"{key}.elf"
    if not out.exists():
        _FOLDER.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=_FOLDER) as folder:
            made = Path(folder) / "program.elf"
            done = subprocess.run(_command(sources, made, flags, compiler), capture_output=True, text=True, cwd=folder)
            assert done.returncode == 0, done.stdout + done.stderr
            made.replace(out)
    return out.read_bytes()


def symbol(elf: bytes, name: str) -> int:
    """Address of a symbol."""
    import io

    from elftools.elf.elffile import ELFFile

    table = ELFFile(io.BytesIO(elf)).get_section_by_name(".symtab")
    (found,) = table.get_symbol_by_name(name)
    return int(found["st_value"])

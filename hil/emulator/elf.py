"""What an ELF file puts where."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

from elftools.elf.elffile import ELFFile

from hil.errors import UsageError


def _segments(data: bytes) -> Iterator[tuple[int, bytes]]:
    elf = ELFFile(io.BytesIO(data))
    if elf["e_machine"] != "EM_ARM" or elf.elfclass != 32 or not elf.little_endian:
        raise UsageError("not a little-endian 32-bit Arm program")
    for segment in elf.iter_segments("PT_LOAD"):
        if segment["p_filesz"]:
            contents = segment.data()
            if len(contents) != segment["p_filesz"]:
                raise UsageError("the file is truncated")
            yield int(segment["p_paddr"]), contents


def elf_segments(source: Path | str | bytes) -> list[tuple[int, bytes]]:
    """
    Load address (LMA) and contents of each loadable segment of an ELF file.

    Raises:
        UsageError: It cannot be read or is no program for this chip's core.
    """
    name = "ELF" if isinstance(source, bytes) else str(source)
    try:
        data = source if isinstance(source, bytes) else Path(source).read_bytes()
        segments = list(_segments(data))
    except UsageError as error:
        raise UsageError(f"{name}: {error}. Build it with `hil build`.") from None
    except OSError as error:
        raise UsageError(f"{name}: cannot be read ({error.strerror})") from error
    except Exception as error:  # pyelftools raises whatever its parser trips over
        raise UsageError(f"{name}: not an ELF file ({type(error).__name__}). Build it with `hil build`.") from error
    if not segments:
        raise UsageError(f"{name}: nothing to load in it")
    return segments

"""A CMSIS pack as vendors make them, around this project's own flash algorithm."""

from __future__ import annotations

import zipfile
from pathlib import Path

from hil.firmware.compiler import find_compiler, run_tool
from hil.resources import resource

DEVICE = """
#include <stdint.h>
struct sector { uint32_t size, start; };
struct device {
    uint16_t version; char name[128]; uint16_t type; uint32_t start, size, page, reserved; uint8_t empty, pad[3];
    uint32_t program_ms, erase_ms; struct sector sectors[2];
};
extern const struct device FlashDevice;
__attribute__((section("DevDscr"), used)) const struct device FlashDevice = {
    0x101, "vendor's flash", 1, 0, 0x40000, 256, 0, 0xFF, {0}, 100, 100, {{256, 0}, {0xFFFFFFFF, 0xFFFFFFFF}}};
"""

SCRIPT = """
SECTIONS {
  PrgCode 0 : { KEEP(*(.text.Init .text.UnInit .text.EraseChip .text.EraseSector .text.ProgramPage)) *(.text*) }
  PrgData : ALIGN(4) { *(.bss*) }
  DevDscr : { KEEP(*(DevDscr)) }
  /DISCARD/ : { *(.ARM.*) *(.comment) }
}
"""

DESCRIPTION = """<?xml version="1.0"?>
<package schemaVersion="1.7.7">
 <vendor>Vendor</vendor><name>Pack</name>
 <releases><release version="1.0.0">first</release></releases>
 <devices><family Dfamily="SAMD21" Dvendor="Vendor:1">
  <device Dname="ATSAMD21J18A">
   <processor Dcore="Cortex-M0+" DcoreVersion="r0p1" Dfpu="0" Dmpu="0" Dendian="Little-endian" Dclock="48000000"/>
   <memory name="IROM1" access="rx" start="0x00000000" size="0x40000" startup="1" default="1"/>
   <memory name="IRAM1" access="rwx" start="0x20000000" size="0x8000" default="1"/>
   <debug __dp="0" __ap="0"/>
   <algorithm name="flash.flm" start="0x00000000" size="0x40000" RAMstart="0x20000000" RAMsize="0x4000" default="1"/>
  </device>
 </family></devices>
</package>
"""


def make_pack(folder: Path) -> Path:
    """With a position-independent algorithm in a .flm file, and a description of the J18A."""
    compiler = find_compiler("zig")
    for name in ("flash_algorithm.c", "flash_algorithm.h"):
        (folder / name).write_bytes((resource("firmware") / "flash_algorithm" / name).read_bytes())
    (folder / "device.c").write_text(DEVICE)
    (folder / "flm.ld").write_text(SCRIPT)
    for source in ("flash_algorithm.c", "device.c"):
        command = compiler.compile_command(source, f"{source}.o", "s", ["-fropi", "-frwpi"])
        run_tool(command, "compiling", folder)
    command = compiler.link_command(["flash_algorithm.c.o", "device.c.o"], "flm.ld", "flash.flm", "s")
    dropped = {"--gc-sections": [], "-fentry=reset_handler": ["-fentry=Init"]}
    run_tool([word for part in command for word in dropped.get(part, [part])], "linking", folder)
    path = folder / "vendor.pack"
    with zipfile.ZipFile(path, "w") as pack:
        pack.writestr("Vendor.Pack.pdsc", DESCRIPTION)
        pack.write(folder / "flash.flm", "flash.flm")
    return path

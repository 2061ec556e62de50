"""Generated C and the ``firmware`` folder to an ELF file, and its sizes."""

from hil.firmware.build import compile_firmware
from hil.firmware.cmsis_dsp import Library, cmsis_dsp
from hil.firmware.compiler import Compiler, find_compiler
from hil.firmware.host import compile_host_app, compile_host_library
from hil.firmware.image import Firmware, load_firmware, part_bytes

__all__ = [
    "Compiler",
    "Firmware",
    "Library",
    "cmsis_dsp",
    "compile_firmware",
    "compile_host_app",
    "compile_host_library",
    "find_compiler",
    "load_firmware",
    "part_bytes",
]

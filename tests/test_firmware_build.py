import dataclasses
import hashlib
import json
import shutil
import struct
import subprocess
import sys

import pytest
from conftest import make_artefact
from elftools.elf.elffile import ELFFile
from firmware_support import ARTEFACT_HASH, MODEL_C, SOURCES

from hil.chips import CHIPS, Board, chip
from hil.codegen import emit_c
from hil.errors import FitError, ToolError, UsageError
from hil.firmware import compile_firmware, find_compiler, load_firmware
from hil.firmware.compiler import FORCE
from hil.firmware.sources import STACK_BYTES

J18A = chip("atsamd21j18a")
COMPILERS = ["zig", *(["gcc"] if shutil.which("arm-none-eabi-gcc") else [])]
"""The wheel is always there; the package is where it is installed."""


def build(out, sources=SOURCES, *, compiler=COMPILERS[-1], target=J18A, board=None, optimize="s"):
    return compile_firmware(
        sources, chip=target, board=board or Board(), compiler=find_compiler(compiler), optimize=optimize, out=out
    )


def with_array(declaration, use):
    """MODEL_C with an array that the program uses."""
    model = MODEL_C.replace("sums[i] = 0;", f"sums[i] = {use};")
    return {"model.c": model.replace('"app/model.h"', '"app/model.h"\n#include "big.h"'), "big.h": declaration}


CONSTANTS_300_KB = with_array("static const int32_t big[75000] = {1};\n", "big[calls]")
VARIABLES_40_KB = with_array("static int32_t big[10000];\n", "big[calls]++")


@pytest.fixture(scope="module", params=COMPILERS)
def firmware(request, tmp_path_factory):
    return build(tmp_path_factory.mktemp(request.param), compiler=request.param, optimize="2")


@pytest.fixture
def elf(firmware):
    with firmware.elf.open("rb") as stream:
        yield ELFFile(stream)


def symbol(elf, name):
    (found,) = elf.get_section_by_name(".symtab").get_symbol_by_name(name)
    return found


def test_sizes_add_up(firmware):
    """Flash holds code, constants and initial data; RAM holds data and the stack."""
    s = firmware.sections
    flash = s[".text"] + s[".rodata"] + s.get(".data", 0)

    assert flash <= firmware.flash_bytes < flash + 16
    assert firmware.ram_bytes == s.get(".data", 0) + s[".bss"]
    assert firmware.stack_size == s[".stack"] == STACK_BYTES
    assert firmware.symbols["model_artefact_hash"] == 32
    assert firmware.symbols["model_build_id"] == 16
    assert sum(firmware.symbols.values()) <= sum(s.values())


def test_program_leaves_half_of_a_small_chip_to_the_model(firmware):
    """With the stack and a receive ring for streamed requests, less than half of the 16 KB of a 17A chip."""
    assert firmware.ram_bytes + firmware.stack_size < 8 << 10


def test_program_carries_its_own_identity(firmware, elf):
    """Build id and artefact hash lie in the program as they are in the manifest."""
    found = symbol(elf, "model_build_id")
    section = elf.get_section(found["st_shndx"])
    at = found["st_value"] - section["sh_addr"]
    assert section.data()[at : at + 16].hex() == firmware.build_id
    assert firmware.artefact_hash == ARTEFACT_HASH.hex()
    assert firmware.elf_sha256 == hashlib.sha256(firmware.elf.read_bytes()).hexdigest()


def test_vector_table_begins_with_stack_and_reset(elf):
    """At address 0: the end of the stack, then Thumb addresses of handlers."""
    table = struct.unpack("<44I", elf.get_section_by_name(".text").data()[: 4 * 44])
    assert elf.get_section_by_name(".text")["sh_addr"] == 0
    assert table[0] == 0x20000000 + STACK_BYTES
    assert table[1] == symbol(elf, "reset_handler")["st_value"]
    assert table[3] == symbol(elf, "fault_handler")["st_value"]
    assert table[15] == symbol(elf, "systick_handler")["st_value"]
    assert all(address & 1 for address in table[1:] if address)


@pytest.mark.parametrize("sercom", [0, 5])
def test_only_the_boards_uart_has_a_handler(tmp_path, sercom):
    """Every other interrupt ends in the fault handler."""
    board = dataclasses.replace(Board(), sercom=sercom)
    with build(tmp_path, board=board).elf.open("rb") as stream:
        elf = ELFFile(stream)
        table = struct.unpack("<44I", elf.get_section_by_name(".text").data()[: 4 * 44])
        fault = symbol(elf, "fault_handler")["st_value"]
    handled = [i - 16 for i, address in enumerate(table) if i >= 16 and address != fault]
    assert handled == [9 + sercom]


def test_program_uses_armv6m_only(elf):
    """No instruction of a larger core: the build attributes name v6S-M."""
    assert b"\x06\x0c" in elf.get_section_by_name(".ARM.attributes").data()  # Tag_CPU_arch, v6S-M


def test_locate_names_the_function_at_an_address(firmware, elf):
    """From its first to its last byte; between functions there is none."""
    step = symbol(elf, "model_step")
    start, size = step["st_value"] & ~1, step["st_size"]
    assert [firmware.locate(a) for a in (start, start + size - 1)] == ["model_step"] * 2
    assert firmware.locate(start + size) != "model_step"
    assert firmware.locate(0xFFFFFFF0) == ""


@pytest.mark.parametrize("compiler", COMPILERS)
def test_equal_inputs_give_equal_bytes_wherever_they_are_built(tmp_path, compiler):
    """In another folder, with a longer name, in another process with another working directory."""
    first = build(tmp_path / "a", compiler=compiler)
    second = build(tmp_path / "some" / "where" / "else entirely", compiler=compiler)
    assert first.elf.read_bytes() == second.elf.read_bytes()

    code = (
        "import sys; from pathlib import Path; sys.path[:0] = eval(sys.argv[2]); import test_firmware_build as t;"
        f"t.build(Path(sys.argv[1]), compiler={compiler!r})"
    )
    other = tmp_path / "other"
    subprocess.run([sys.executable, "-c", code, str(other), repr(sys.path)], cwd=tmp_path, check=True)
    assert first.elf.read_bytes() == (other / "firmware.elf").read_bytes()
    assert str(tmp_path).encode() not in first.elf.read_bytes()


def test_a_second_build_does_nothing(tmp_path):
    """The file stays untouched, and the same description comes back."""
    first = build(tmp_path)
    before = first.elf.stat().st_mtime_ns
    calls = []
    again = compile_firmware(
        SOURCES,
        chip=J18A,
        board=Board(),
        compiler=find_compiler(COMPILERS[-1]),
        optimize="s",
        out=tmp_path,
        progress=lambda done, count: calls.append((done, count)),
    )
    assert again == first
    assert (calls, first.elf.stat().st_mtime_ns) == ([], before)


def test_a_damaged_program_is_built_again(tmp_path):
    """A manifest alone proves nothing."""
    first = build(tmp_path)
    first.elf.write_bytes(b"")
    assert build(tmp_path).elf_sha256 == first.elf_sha256 == hashlib.sha256(first.elf.read_bytes()).hexdigest()


def test_every_input_changes_the_build_id(tmp_path):
    """Sources, chip, board and optimization."""
    ids = [
        build(tmp_path).build_id,
        build(tmp_path, {"model.c": MODEL_C + "/* */\n"}).build_id,
        build(tmp_path, target=chip("atsamd21g18a")).build_id,
        build(tmp_path, board=Board(clock="xosc32k")).build_id,
        build(tmp_path, board=Board(rx_pad=3)).build_id,
        build(tmp_path, optimize="2").build_id,
    ]
    assert len(set(ids)) == len(ids)


def test_progress_counts_files(tmp_path):
    """From 1 to the number of compiled files."""
    calls = []
    compile_firmware(
        SOURCES,
        chip=J18A,
        board=Board(),
        compiler=find_compiler(COMPILERS[-1]),
        optimize="s",
        out=tmp_path,
        progress=lambda done, count: calls.append((done, count)),
    )
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))]


@pytest.mark.parametrize("name", ["atsamd21e17a", "atsamd21g18a"])
def test_large_and_small_chips_can_be_built_for(tmp_path, name):
    """128 KB and 256 KB of flash."""
    assert build(tmp_path, target=chip(name)).chip == CHIPS[name]


# What does not fit


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_program_larger_than_flash_is_refused_by_section(tmp_path, compiler):
    """Constants of 300 KB do not fit 256 KB; the message names .rodata first, and nothing is written."""
    with pytest.raises(FitError, match=r"bytes of flash, the chip has 262144 \(\.rodata 30\d+, \.text") as caught:
        build(tmp_path, CONSTANTS_300_KB, compiler=compiler)
    assert caught.value.memory == "flash"
    assert caught.value.needed_bytes > 300_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compiler", COMPILERS)
def test_data_larger_than_ram_is_refused_by_section(tmp_path, compiler):
    """40 KB of variables do not fit 32 KB; the message names .bss first."""
    with pytest.raises(FitError, match=r"bytes of ram, the chip has 32768 \(\.bss 4\d+, \.stack 2048") as caught:
        build(tmp_path, VARIABLES_40_KB, compiler=compiler)
    assert caught.value.memory == "ram"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("memory", ["flash", "ram"])
def test_the_last_byte_of_a_memory_can_be_used(tmp_path, compiler, memory):
    """A chip of exactly the program's size takes it; 8 bytes less and it does not fit."""
    made = build(tmp_path, compiler=compiler)
    needed = made.flash_bytes if memory == "flash" else made.ram_bytes + made.stack_size
    exact = dataclasses.replace(J18A, **{f"{memory}_bytes": (needed + 7) // 8 * 8})
    small = dataclasses.replace(J18A, **{f"{memory}_bytes": (needed + 7) // 8 * 8 - 8})

    assert build(tmp_path, compiler=compiler, target=exact).flash_bytes == made.flash_bytes
    with pytest.raises(FitError) as caught:
        build(tmp_path, compiler=compiler, target=small)
    assert caught.value.memory == memory
    assert caught.value.available_bytes < caught.value.needed_bytes <= needed + 8


def test_a_refused_program_leaves_the_one_before_it(tmp_path):
    """The old ELF file and its manifest stay as they were."""
    before = build(tmp_path)
    with pytest.raises(FitError):
        build(tmp_path, VARIABLES_40_KB)
    assert load_firmware(tmp_path) == before


# What does not compile


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_compiler_error_carries_the_compilers_words(tmp_path, compiler):
    """The file, the log and the command."""
    with pytest.raises(ToolError, match=r"compiling generated/model\.c failed") as caught:
        build(tmp_path, {"model.c": "int x = undeclared;\n"}, compiler=compiler)
    assert "undeclared" in caught.value.log
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_warning_is_an_error(tmp_path, compiler):
    """-Wconversion."""
    with pytest.raises(ToolError, match="conversion"):
        build(tmp_path, {"model.c": MODEL_C.replace("h_q15[i] = 0;", "h_q15[i] = calls;")}, compiler=compiler)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_an_incomplete_model_does_not_link(tmp_path, compiler):
    """The linker's words name what is missing."""
    with pytest.raises(ToolError, match=r"linking failed[\s\S]*model_states"):
        build(
            tmp_path,
            {"model.c": MODEL_C.replace("const uint16_t model_states = 2;", "")},
            compiler=compiler,
        )


@pytest.mark.parametrize("name", ["../model.c", "a b.c", "model.o", "model", "", "build_id.c", ".c"])
def test_generated_sources_have_plain_names(tmp_path, name):
    """They stay inside their folder."""
    with pytest.raises(UsageError, match="cannot be the name"):
        build(tmp_path, {name: ""})


@pytest.mark.parametrize(
    ("wiring", "message"),
    [
        ({"sercom": 6}, "SERCOM 0 to 5"),
        ({"sercom": -1}, "SERCOM 0 to 5"),
        ({"tx": "22"}, "'PA22'"),
        ({"rx": "PA32"}, "'PA22'"),
        ({"tx": "PC00"}, "'PA22'"),
        ({"mux": "B"}, "'C' or 'D'"),
        ({"tx_pad": 1}, "0 or 2"),
        ({"rx_pad": 4}, "0 or 1"),
        ({"rx_pad": 0}, "share"),
        ({"rx": "PA22"}, "share"),
        ({"clock": "rc"}, "'open-loop' or 'xosc32k'"),
    ],
)
def test_impossible_wiring_is_refused(tmp_path, wiring, message):
    """The message says what is possible."""
    with pytest.raises(UsageError, match=message):
        build(tmp_path, board=dataclasses.replace(Board(), **wiring))


def test_a_small_chip_has_fewer_uarts(tmp_path):
    """The E variants have SERCOM 0 to 3."""
    with pytest.raises(UsageError, match="atsamd21e17a has SERCOM 0 to 3"):
        build(tmp_path, target=chip("atsamd21e17a"), board=Board(sercom=4))


def test_optimize_is_checked(tmp_path):
    """Levels that exist."""
    with pytest.raises(UsageError, match="'2', '3', 's'"):
        build(tmp_path, optimize="fast")


# Which compiler


@pytest.mark.parametrize("name", COMPILERS)
def test_the_environment_chooses_the_compiler(monkeypatch, name):
    """HIL_CC_ARM."""
    monkeypatch.setenv(FORCE, name)
    assert find_compiler().name == name
    assert find_compiler().version


def test_a_compiler_asked_for_comes_before_the_environment(monkeypatch):
    """An argument is nearer than a variable."""
    monkeypatch.setenv(FORCE, "gcc")
    assert find_compiler("zig").name == "zig"


def test_without_arm_none_eabi_gcc_the_wheel_is_used(monkeypatch, tmp_path):
    """No system package is required; gcc asked for is an error that says how to get it."""
    monkeypatch.delenv(FORCE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_compiler().name == "zig"
    with pytest.raises(ToolError, match="gcc-arm-none-eabi"):
        find_compiler("gcc")


def test_an_unknown_compiler_is_a_usage_error(monkeypatch):
    """With the nearest known name, and where it came from."""
    with pytest.raises(UsageError, match="did you mean 'gcc'"):
        find_compiler("gc")
    monkeypatch.setenv(FORCE, "zg")
    with pytest.raises(UsageError, match=f"{FORCE}.*did you mean 'zig'"):
        find_compiler()


# Reading what was built


def test_a_manifest_reads_back_as_it_was_written(firmware):
    """From the file or its folder."""
    assert load_firmware(firmware.elf.parent) == load_firmware(firmware.elf.with_name("firmware.json")) == firmware


def test_what_cannot_be_read_says_how_to_make_it(tmp_path):
    """Missing manifest, damaged manifest, missing program, changed program, other version."""
    with pytest.raises(UsageError, match="hil build"):
        load_firmware(tmp_path / "firmware.json")
    made = build(tmp_path)
    manifest = tmp_path / "firmware.json"
    good = manifest.read_text()

    for text in (good[:-20], "[]", good.replace('"elf"', '"elv"'), good.replace("atsamd21j18a", "atsamd99")):
        manifest.write_text(text)
        with pytest.raises(UsageError):
            load_firmware(manifest)
    manifest.write_text(json.dumps(json.loads(good) | {"version": 99}))
    with pytest.raises(UsageError, match="another version"):
        load_firmware(manifest)
    manifest.write_text(good)
    made.elf.write_bytes(made.elf.read_bytes() + b"\0")
    with pytest.raises(UsageError, match="changed since it was built"):
        load_firmware(manifest)
    made.elf.unlink()
    with pytest.raises(UsageError, match=r"firmware\.elf: no such file"):
        load_firmware(manifest)


@pytest.mark.parametrize("compiler", COMPILERS)
def test_no_folder_of_this_machine_is_in_the_program(tmp_path, compiler):
    """Debug information of C and assembly names files relative to the firmware's tree."""
    sources = emit_c(make_artefact(seed=31))
    made = [build(tmp_path / name, sources, compiler=compiler, optimize="2") for name in ("one", "two")]
    assert made[0].elf_sha256 == made[1].elf_sha256
    assert str(tmp_path).encode() not in made[0].elf.read_bytes()

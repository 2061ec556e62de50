"""Renode's rig: the platform against the firmware's registers, the monitor's client, the price table; Renode itself
where it is installed."""

from __future__ import annotations

import os
import re
import socket
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from bench_support import ARTEFACT, compile_bench_firmware

from hil.chips import CHIPS, chip
from hil.emulator.program import run_program
from hil.errors import RigNotFound, ToolError
from hil.experiment.examine import examined
from hil.experiment.progress import Quiet
from hil.firmware.compiler import find_compiler, run_tool
from hil.link.schema import Crash
from hil.quant import run_twin
from hil.resources import resource
from hil.rig import RigRequest, connect, load_rig, load_rig_file
from hil.rig.renode import RenodeRig, find_renode
from hil.rig.renode.monitor import Monitor
from hil.rig.renode.pricing import Executed, Functions, price, price_windows, read_trace
from hil.rig.renode.rig import platform_text, start_commands
from hil.trace import Tier

RENODE = find_renode()
FEATURES = np.random.default_rng(4).integers(-(1 << 15), 1 << 15, (12, 5)).astype(np.int16)
REGISTERS = (resource("firmware") / "port/samd21/registers.h").read_text()
REPL = (resource("rigs") / "renode/samd21.repl").read_text()
SERCOM = (resource("rigs") / "renode/Samd21Sercom.cs").read_text()


def register(name):
    """Address of a register of the firmware."""
    return int(re.search(rf"#define {name}\b.*?REG\d+\((0x[0-9A-F]+)", REGISTERS)[1], 16)


def constant(name):
    """Bits of the firmware."""
    text = re.search(rf"#define {name} (\S.*?)(?: /\*.*)?$", REGISTERS, re.MULTILINE)[1]
    return eval(re.sub(r"(?<=[0-9A-Fa-f])u\b", "", text))  # of this project's own header


def peripherals(text=REPL):
    """Name, class and base address of what the platform has."""
    found = re.findall(r"^(\w+): ([\w.]+) @ sysbus (0x[0-9A-Fa-f]+)$", text, re.MULTILINE)
    return {name: (kind, int(base, 16)) for name, kind, base in found}


# The platform, statically


def test_every_block_is_where_the_firmware_looks_for_it():
    """Bases of the stand-ins against registers.h; the SERCOMs with their interrupt lines."""
    found = peripherals()
    for name, used in (
        ("pm", "PM_APBCMASK"),
        ("sysctrl", "SYSCTRL_PCLKSR"),
        ("gclk", "GCLK_STATUS"),
        ("nvmctrl", "NVMCTRL_CTRLA"),
        ("mtb", "MTB_POSITION"),
    ):
        kind, base = found[name]
        assert kind == "Python.PythonPeripheral"
        assert base <= register(used) < base + 0x400, name
    for n in range(6):
        assert found[f"sercom{n}"] == ("UART.Samd21Sercom", 0x42000800 + 0x400 * n)
        assert re.search(rf"sercom{n}: .*\n.*\n    IRQ -> nvic@{9 + n}\n", REPL)
    assert found["nvic"][1] == 0xE000E000
    blocks = sorted(base for _, base in found.values())
    assert len(set(blocks)) == len(blocks)


def test_every_register_of_the_firmware_is_there():
    """Each address of registers.h lies in a block or is a tag; the core's own are Renode's."""
    spans = [(base, base + 0x400) for _, base in peripherals().values()]
    tags = [int(tag, 16) for tag in re.findall(r"Tag <(0x[0-9A-F]+) 0x4>", REPL)]
    for name, text in re.findall(r"#define (\w+)(?:\([^)]*\))? REG\d+\((0x[0-9A-F]+)", REGISTERS):
        address = int(text, 16)
        inside = any(start <= address < end for start, end in spans) or address in tags
        assert inside or address >= 0xE000E000, name


@pytest.mark.parametrize("name", sorted(CHIPS))
def test_the_platform_takes_chip_and_serial_number(name):
    """Memory sizes, DSU.DID, four words; nothing is left to fill in."""
    file = load_rig_file("renode")
    text = platform_text(type(file)("x", "renode", chip=name, serial="00000001000000020000000300000004"))
    assert not re.search(r"@[A-Z]", text)
    assert f"size: {chip(name).flash_bytes:#x}" in text
    assert f"size: {chip(name).ram_bytes:#x}" in text
    assert f'"DSU_DID" {chip(name).device_id:#x}' in text
    assert '"SERIAL3" 0x4' in text


class Request:
    """What Renode hands to a Python peripheral."""

    def __init__(self):
        self.IsInit = self.IsRead = self.IsWrite = False
        self.Offset = self.Value = self.Length = 0


def stand_in(name):
    """Read and write functions of a Python peripheral, its script run as Renode runs it: one scope, call by call."""
    text = re.search(rf"^{name}: .*?script: '''\n(.*?)'''", REPL, re.DOTALL | re.MULTILINE)[1]
    code, scope = compile(textwrap.dedent(text), name, "exec"), {}

    def call(**values):
        request = scope["request"] = Request()
        for key, value in values.items():
            setattr(request, key, value)
        exec(code, scope)
        return request.Value

    call(IsInit=True)
    return (
        lambda offset, length=4: call(IsRead=True, Offset=offset, Length=length),
        lambda offset, value, length=4: call(IsWrite=True, Offset=offset, Value=value, Length=length),
        lambda: call(IsInit=True),
    )


def test_stand_ins_answer_what_the_firmware_waits_for():
    """Oscillators ready and locked, nothing synchronizing, the flash controller ready; the rest reads back."""
    read, _, _ = stand_in("sysctrl")
    bits = sum(constant(f"SYSCTRL_PCLKSR_{name}") for name in ("XOSC32KRDY", "DFLLRDY", "DFLLLCKF", "DFLLLCKC"))
    assert read(register("SYSCTRL_PCLKSR") - 0x40000800) & bits == bits
    read, write, _ = stand_in("gclk")
    write(2, 0x4017, 2)
    assert read(register("GCLK_STATUS") - 0x40000C00, 1) & constant("GCLK_STATUS_SYNCBUSY") == 0
    assert read(2, 2) == 0x4017
    read, write, _ = stand_in("nvmctrl")
    write(register("NVMCTRL_CTRLB") - 0x41004000, 0x82)
    assert read(register("NVMCTRL_CTRLB") - 0x41004000) == 0x82
    assert read(register("NVMCTRL_INTFLAG") - 0x41004000, 1) & constant("NVMCTRL_INTFLAG_READY")
    read, write, reset = stand_in("pm")
    assert read(register("PM_RCAUSE") - 0x40000400, 1) == 1
    reset()
    assert read(register("PM_RCAUSE") - 0x40000400, 1) == 0x40
    assert stand_in("mtb")[0](4) == 0


def test_the_sercom_model_has_the_firmwares_registers_and_bits():
    """Offsets and flags against registers.h."""
    values = {name: int(text, 0) for name, text in re.findall(r"private const \w+ (\w+) = (-?\w+);", SERCOM)}
    for mine, theirs in (
        ("Baud", "SERCOM_BAUD"),
        ("IntEnClr", "SERCOM_INTENCLR"),
        ("IntEnSet", "SERCOM_INTENSET"),
        ("IntFlag", "SERCOM_INTFLAG"),
        ("Status", "SERCOM_STATUS"),
        ("Data", "SERCOM_DATA"),
    ):
        offset = re.search(rf"#define {theirs}\(n\) REG\d+\(SERCOM_BASE\(n\) \+ (0x\w+)u\)", REGISTERS)[1]
        assert values[mine] == int(offset, 16)
    assert values["SoftwareReset"] == constant("SERCOM_CTRLA_SWRST")
    assert values["Enable"] == constant("SERCOM_CTRLA_ENABLE")
    for mine, theirs in (("DataRegisterEmpty", "DRE"), ("TransmitComplete", "TXC"), ("ReceiveComplete", "RXC")):
        assert values[mine] == constant(f"SERCOM_INT_{theirs}")
    assert SERCOM.count("{") == SERCOM.count("}")
    assert "class Samd21Sercom : UARTBase, IBytePeripheral, IKnownSize" in SERCOM


def test_the_start_loads_the_model_before_the_platform_and_runs_last(tmp_path):
    """One command after the other, paths absolute."""
    commands = start_commands(Path("/a/S.cs"), Path("/b/p.repl"), Path("/c/f.elf"), Path("/d/uart"), 5)
    assert commands[0] == "include @/a/S.cs"
    order = [next(i for i, c in enumerate(commands) if c.startswith(part)) for part in (
        "include", "mach create", "machine LoadPlatformDescription", "sysbus LoadELF", "emulation CreateUart",
        "connector Connect sysbus.sercom5 term", "start",
    )]  # fmt: skip
    assert order == sorted(order)
    assert commands[-1] == "start"


# The monitor's client


class Script:
    """A monitor that says what it is told to; pieces arrive one by one."""

    def __init__(self, *pieces):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.heard = []
        self.thread = threading.Thread(target=self._run, args=(pieces,), daemon=True)
        self.thread.start()

    def _run(self, pieces):
        client, _ = self.listener.accept()
        with client:
            for piece in pieces:
                if piece is None:
                    self.heard.append(client.recv(1000))
                else:
                    client.sendall(piece)
                    time.sleep(0.01)
            client.recv(1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.thread.join(5)


def test_an_answer_is_what_stands_between_echo_and_prompt():
    """Telnet bytes, colours, a prompt cut in two, a second prompt."""
    with Script(
        b"\xff\xfd\x1f\xff\xfb", b"\x01\xff\xfa\x1f\x00\x50\xff\xf0\r\nRenode\r\n\x1b[31m(moni", b"tor)\x1b[0m ",
        None, b"version\r\n", b"Renode v1.16.1\r\n\r\n(monitor) ", b"\r\n(monitor) ",
        None, b'mach create "m0"\r\n\x1b[33m(m0)\x1b[0m ', None, b"cpu PC\r\n0x00001234\r\n(m0) ",
    ) as script:  # fmt: skip
        monitor = Monitor(script.port, 5)
        assert monitor.name == "monitor"
        assert monitor.ask("version") == "Renode v1.16.1"
        assert monitor.ask('mach create "m0"') == ""
        assert monitor.name == "m0"
        assert monitor.number("cpu PC") == 0x1234
        monitor.close()
    assert script.heard == [b"version\n", b'mach create "m0"\n', b"cpu PC\n"]


@pytest.mark.parametrize(
    "answer",
    [
        "There was an error executing command 'x': \r\n\tno such file",
        "No such command or device: x",
        "Could not tokenize here:\r\nx\r\n^",
        "Errors during compilation or loading:\r\nSamd21Sercom.cs(3,1)",
    ],
)
def test_a_refused_command_is_an_error_with_the_monitors_words(answer):
    """The exit code of Renode would say nothing."""
    with Script(b"(monitor) ", None, f"x\r\n{answer}\r\n(monitor) ".encode()) as script:
        monitor = Monitor(script.port, 5)
        with pytest.raises(ToolError, match="Renode refused `x`"):
            monitor.ask("x")
        monitor.close()


def test_silence_and_a_lost_monitor_are_told_apart():
    """With what was waited for."""
    with Script(b"(monitor) ", None, None) as script:
        monitor = Monitor(script.port, 0.3)
        with pytest.raises(ToolError, match="did not give the answer to `pause` in time"):
            monitor.ask("pause")
        monitor.close()
    with Script(b"(monitor) ", None, b"x") as script:
        monitor = Monitor(script.port, 5)
        script.thread.join(0.1)
        monitor._socket.shutdown(socket.SHUT_RD)
        with pytest.raises(ToolError, match=r"Renode ended|Renode is gone"):
            monitor.ask("pause")
        monitor.close()
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ToolError, match="does not listen"):
            Monitor(unused.getsockname()[1], 0.2)


# The price of instructions


@pytest.mark.parametrize(
    ("opcode", "following", "cycles"),
    [
        (0x1840, 2, 1),  # adds
        (0x4348, 2, 1),  # muls
        (0x6808, 2, 2),  # ldr
        (0x4801, 2, 2),  # ldr literal
        (0x5641, 2, 2),  # ldrsb
        (0xB5F0, 2, 6),  # push of four and lr
        (0xBDF0, 64, 8),  # pop of four and pc: 3 + 5
        (0xBC30, 2, 3),  # pop of two
        (0xC90F, 2, 5),  # ldm of four
        (0xD1FC, -4, 2),  # bne taken
        (0xD1FC, 2, 1),  # bne not taken
        (0xE7FE, 0, 2),  # b
        (0x4770, 64, 2),  # bx lr
        (0x46C0, 2, 1),  # mov
        (0x4687, 64, 2),  # mov pc
        (0xBF30, 2, 2),  # wfi
        (0xB672, 2, 1),  # cpsid
    ],
)
def test_prices_are_those_of_the_timing_table(opcode, following, cycles):
    """16-bit instructions."""
    assert price(Executed(0x100, opcode, 16), 0x100 + following) == cycles


def test_long_instructions_cost_three():
    """BL, barriers, MRS, MSR."""
    for opcode in (0xF000F801, 0xF3BF8F4F, 0xF3EF8010, 0xF3808808):
        assert price(Executed(0x100, opcode, 32), 0x104) == 3


PROGRAM = """
    .syntax unified
    .cpu cortex-m0plus
    .thumb
    .section .vectors, "a"
    .word 0x20001000, start + 1
    .text
    .thumb_func
    .global reset_handler, start
reset_handler:
start:
    ldr r0, =0x20000100
    movs r1, #20
1:  push {r0, r1, lr}
    bl 3f
    pop {r0, r1, r2}
    stmia r0!, {r1, r2}
    subs r0, #8
    ldmia r0!, {r3, r4}
    subs r0, #8
    muls r3, r1
    strh r3, [r0, #4]
    cmp r3, #50
    bhi 2f
    adds r4, #1
2:  mrs r5, primask
    dsb
    subs r1, #1
    bne 1b
    bkpt #0
    .thumb_func
3:  push {r4, lr}
    mov r4, r1
    pop {r4, pc}
    .pool
"""


def test_prices_equal_the_cycle_model_without_wait_states(tmp_path):
    """The same instructions, by the emulator's trace: each costs what the emulated core takes for it."""
    compiler = find_compiler()
    (tmp_path / "p.S").write_text(PROGRAM)
    (tmp_path / "p.ld").write_text(
        "SECTIONS { .text 0 : { KEEP(*(.vectors)) *(.text*) } /DISCARD/ : { *(.ARM*) } } ENTRY(reset_handler)"
    )
    run_tool(compiler.compile_command("p.S", "p.o", "2", []), "assembling", tmp_path)
    command = compiler.link_command(["p.o"], "p.ld", "p.elf", "2")
    run_tool([part for part in command if "gc-sections" not in part], "linking", tmp_path)
    run_program(tmp_path / "p.elf", chip("atsamd21j18a"), trace=tmp_path / "trace.txt", printed=lambda text: None)
    memory = (tmp_path / "p.elf").read_bytes()
    steps = re.findall(r"^ *(\d+)  ([0-9a-f]{8}) ", (tmp_path / "trace.txt").read_text(), re.MULTILINE)
    from elftools.elf.elffile import ELFFile

    with (tmp_path / "p.elf").open("rb") as file:
        code = ELFFile(file).get_section_by_name(".text").data()
    assert memory
    wrong = []
    for (before, _), (after, at), (_, following) in zip(steps, steps[1:], steps[2:], strict=False):
        pc = int(at, 16)
        half = int.from_bytes(code[pc : pc + 2], "little")
        long = half >> 11 in (0x1E, 0x1D, 0x1F)
        opcode = half << 16 | int.from_bytes(code[pc + 2 : pc + 4], "little") if long else half
        got = price(Executed(pc, opcode, 32 if long else 16), int(following, 16))
        if got != int(after) - int(before):
            wrong.append((at, hex(opcode), got, int(after) - int(before)))
    assert len(steps) > 300
    assert not wrong


def test_windows_lie_between_the_ports_functions():
    """What runs behind open and before close; two windows, the second with a branch back."""
    text = """0x100: 0xB510
0x102: 0xBD10
0x200: 0x1840
0x202: 0x6808
0x204: 0xF000F87C
0x300: 0xB510
0x302: 0xBD10
Couldn't disassemble opcode at PC 0x0
0x20A: 0x1840
0x100: 0xB510
0x102: 0xBD10
0x204: 0xF000F87C
0x300: 0xB510
"""
    functions = Functions((0x100, 0x104), (0x300, 0x304))
    assert price_windows(read_trace(text.splitlines()), functions) == [3, 0]


# The rig, with a scripted Renode, and with Renode itself


@pytest.fixture(scope="module")
def firmware(tmp_path_factory):
    return compile_bench_firmware(tmp_path_factory.mktemp("firmware"))


@pytest.fixture
def scripted(tmp_path, monkeypatch):
    """`RENODE` names the stand-in."""
    program = tmp_path / "renode"
    paths = os.pathsep.join(p for p in sys.path if p)
    script = Path(__file__).with_name("scripted_renode.py")
    program.write_text(f'#!/bin/sh\nPYTHONPATH={paths} exec {sys.executable} {script} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("RENODE", str(program))


def test_renode_is_found_by_its_variable_then_on_the_path(tmp_path, monkeypatch):
    """A variable that names nothing is not made good by the path."""
    program = tmp_path / "renode"
    program.write_text("")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("RENODE", raising=False)
    assert find_renode() is None
    program.chmod(0o755)
    assert find_renode() == str(program)
    monkeypatch.setenv("RENODE", str(tmp_path / "none"))
    assert find_renode() is None
    with pytest.raises(RigNotFound, match="renode: renode not found"):
        load_rig("renode")


def test_a_run_through_the_monitor(scripted, firmware, tmp_path):
    """Started, loaded, opened as a pty, compared, examined after a hang, restarted, and ended by its number."""
    with load_rig("renode") as rig:
        assert isinstance(rig, RenodeRig)
        assert rig.tier is Tier.INSTRUCTION_COUNT
        assert "not through a debug probe" in rig.flash(firmware).how
        pid = rig._process.pid
        made = connect(rig, firmware)
        got = made.device.run_sequence(FEATURES)
        assert (got.states_q15 == run_twin(ARTEFACT, FEATURES).states_q15).all()
        assert got.tier is Tier.INSTRUCTION_COUNT
        made.device.conversation.timeout_s = 0.5
        with pytest.raises(Exception, match="hangs in port_crash"):  # noqa: SIM117
            with examined(rig, made.device, firmware, Quiet(), tmp_path):
                made.device.crash(Crash.HANG)
        assert "of 2048 bytes were used" in (tmp_path / "crash.txt").read_text()
        rig.restart()
        assert connect(rig, firmware).device.echo(b"again") == b"again"
        last = rig._process.pid
    for number in (pid, last):
        with pytest.raises(ProcessLookupError):
            os.kill(number, 0)


def test_a_platform_that_renode_refuses_ends_it(scripted, firmware, monkeypatch):
    """With its words, and no process left."""
    monkeypatch.setattr("hil.rig.renode.rig.platform_text", lambda file: "flash: @NONE@")
    with load_rig("renode") as rig:
        with pytest.raises(ToolError, match="Renode refused `machine LoadPlatformDescription"):
            rig.flash(firmware)
        assert rig._process is None


@pytest.mark.skipif(RENODE is None, reason="renode not found: neither RENODE nor PATH names it")
def test_renode_runs_the_very_same_elf(firmware):
    """Bit-exact; executed instructions, the same list in each run."""
    lists = []
    for _ in range(2):
        with load_rig("renode") as rig:
            rig.flash(firmware)
            got = connect(rig, firmware).device.run_sequence(FEATURES)
            assert (got.states_q15 == run_twin(ARTEFACT, FEATURES).states_q15).all()
            lists.append(got.cycles.tolist())
    assert lists[0] == lists[1]


@pytest.mark.skipif(RENODE is None, reason="renode not found: neither RENODE nor PATH names it")
def test_renodes_trace_is_priced(firmware):
    """More than the instructions, and no more than three times as much."""
    with load_rig("renode") as plain, load_rig(RigRequest("renode", trace=True)) as traced:
        assert traced.tier is Tier.TRACE_PRICED
        counts = []
        for rig in (plain, traced):
            rig.flash(firmware)
            counts.append(connect(rig, firmware).device.run_sequence(FEATURES).cycles)
        assert (counts[1] > counts[0]).all()
        assert (counts[1] < 3 * counts[0]).all()

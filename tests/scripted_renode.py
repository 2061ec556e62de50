#!/usr/bin/env python3
"""
A stand-in for Renode's command line and monitor, for tests: telnet bytes, colours, echo and prompt as Renode's are,
and behind the few commands that hil's rig uses the built-in emulated chip.  Commands that Renode would refuse are
refused in its words.
"""

from __future__ import annotations

import argparse
import os
import re
import shlex
import signal
import socket
import threading
from pathlib import Path

from hil.chips import chip
from hil.emulator import EmulatedBoard

GREETING = b"\xff\xfd\x1f\xff\xfb\x01\xff\xfb\x03"
RED, RESET = "\x1b[31m", "\x1b[0m"


class Machine:
    """What the commands act on."""

    def __init__(self) -> None:
        self.board: EmulatedBoard | None = None
        self.elf = Path()
        self.name = "monitor"
        self.paused = False

    def do(self, command: str) -> str:
        words = shlex.split(command)
        if words[0] == "include":
            return "" if Path(words[1][1:]).is_file() else f"Could not find file '{words[1][1:]}'"
        if words[:2] == ["mach", "create"]:
            self.name = words[2]
            return ""
        if words[:2] == ["machine", "LoadPlatformDescription"]:
            text = Path(words[2][1:]).read_text()
            return refused(command, "unexpected @") if re.search(r"@[A-Z_0-9]+@", text) else ""
        if words[:2] == ["sysbus", "LoadELF"]:
            self.elf = Path(words[2][1:])
            return "" if self.elf.is_file() else refused(command, f"no file {self.elf}")
        if words[:2] == ["emulation", "CreateUartPtyTerminal"]:
            self.board = EmulatedBoard(chip("atsamd21j18a"), (1, 2, 3, 4), link=words[3])
            self.board.load_elf(self.elf)
            return ""
        if words[0] == "start" and self.board:
            self.board.start()
            return ""
        if words[0] == "pause" and self.board:
            self.board.stop()
            return ""
        if words[0] == "cpu" and words[1] == "PC" and self.board:
            return f"0x{self.register(15):08X}"
        if words[0] == "cpu" and words[1] == "GetRegister" and self.board:
            return f"0x{self.register({25: 16, 28: 19}.get(int(words[2]), int(words[2]))):08X}"
        if words[:2] == ["sysbus.sram", "DumpBinary"] and self.board:
            Path(words[2][1:]).write_bytes(self.board.ask(lambda e: e.read(0x20000000, 32 << 10)))
            return ""
        if words[:2] == ["sysbus", "ReadWord"] and self.board:
            at = int(words[2], 0)
            return f"0x{int.from_bytes(self.board.ask(lambda e: e.read(at, 2)), 'little'):04X}"
        if words[:2] in (["sysbus", "UnhandledAccessBehaviour"], ["connector", "Connect"]) or words[0] == "cpu":
            return ""
        return f"No such command or device: {words[0]}"

    def register(self, number: int) -> int:
        assert self.board is not None
        return self.board.ask(lambda e: int(e._lib.emu_get_register(e._emu, number)))


def refused(command: str, why: str) -> str:
    return f"There was an error executing command '{command}': \r\n{why}"


def serve(listener: socket.socket, machine: Machine) -> None:
    while True:
        client, _ = listener.accept()
        with client, client.makefile("rb") as lines:
            client.sendall(GREETING + b"\r\nRenode, version 1.16.1 (a stand-in)\r\n")
            client.sendall(prompt(machine))
            for line in lines:
                command = line.decode().strip()
                answer = machine.do(command) if command else ""
                shown = f"{command}\r\n" + (f"{answer}\r\n" if answer else "")
                client.sendall(shown.encode() + prompt(machine))


def prompt(machine: Machine) -> bytes:
    return f"{RED}({machine.name}){RESET} ".encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--disable-xwt", action="store_true")
    parser.add_argument("--plain", action="store_true")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid-file", type=Path, required=True)
    options = parser.parse_args()
    options.pid_file.write_text(str(os.getpid()))
    listener = socket.create_server(("127.0.0.1", options.port))
    threading.Thread(target=serve, args=(listener, Machine()), daemon=True).start()
    signal.sigwait({signal.SIGTERM, signal.SIGINT})


if __name__ == "__main__":
    main()

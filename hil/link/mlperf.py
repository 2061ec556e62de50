"""The MLPerf Tiny text protocol from the host's side (docs/mlperf.md)."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import serial

from hil.errors import DeviceError, LinkTimeout, PortLost

READY = "m-ready"
COMMAND_S = 5.0
"""For each line of an answer, as in the official runner."""
INFER_S = 30.0
BYTES_A_COMMAND = 31
"""Of an input, as the official runner sends it."""


@dataclass(frozen=True)
class Inferred:
    """
    What ``infer`` answered.

    Attributes:
        seconds: Between its two ``m-lap-us``, by the device's clock.
        probabilities: Of each output.
    """

    seconds: float
    probabilities: tuple[float, ...]


class TextLine:
    """
    Commands and their answers.

    Args:
        port: Open; only read and written here.
        rig: For messages.
    """

    def __init__(self, port: serial.Serial, rig: str) -> None:
        self._port, self._rig = port, rig
        port.timeout = 0.1

    def ask(self, command: str, timeout_s: float = COMMAND_S) -> list[str]:
        """
        The lines of the answer, without the last one, ``m-ready``.

        Raises:
            LinkTimeout: No line for ``timeout_s``.
            DeviceError: The device says that the command is wrong.
            PortLost: The port vanished.
        """
        lines: list[str] = []
        try:
            self._port.write(f"{command}%".encode("ascii"))
            while (line := self._line(command, timeout_s)) != READY:
                lines.append(line)
        except (serial.SerialException, OSError) as error:
            raise PortLost(self._rig, f"waiting for the answer to {command.split(' ')[0]!r}") from error
        for line in lines:
            if line.startswith("e-["):
                raise DeviceError(f"{self._rig}: {command[:20]!r} was refused: {line[3:-1]}")
        return lines

    def load(self, data: bytes) -> None:
        """An input.  Raises as `ask`."""
        self.ask(f"db load {len(data)}")
        for i in range(0, len(data), BYTES_A_COMMAND):
            self.ask(f"db {data[i : i + BYTES_A_COMMAND].hex()}")

    def infer(self, count: int, warmups: int) -> Inferred:
        """
        ``count`` inferences after ``warmups``.  Raises as `ask`.

        Raises:
            DeviceError: The answer is not that of the protocol.
        """
        lines = self.ask(f"infer {count} {warmups}", INFER_S)
        laps = [int(line.removeprefix("m-lap-us-")) for line in lines if re.fullmatch(r"m-lap-us-[0-9]+", line)]
        results = [line for line in lines if re.fullmatch(r"m-results-\[[0-9.]+(,[0-9.]+)*\]", line)]
        if len(laps) != 2 or len(results) != 1:
            raise DeviceError(f"{self._rig}: expected two laps and one result from infer, got {lines}")
        values = results[0].removeprefix("m-results-[")[:-1].split(",")
        return Inferred((laps[1] - laps[0]) / 1e6, tuple(float(value) for value in values))

    def _line(self, command: str, timeout_s: float) -> str:
        deadline, got = time.monotonic() + timeout_s, b""
        while not got.endswith(b"\n"):
            got += self._port.read_until(b"\n")
            if time.monotonic() >= deadline:
                raise LinkTimeout(self._rig, f"answer to {command[:20]!r}", timeout_s, got[-16:])
        return got.decode("ascii", "replace").strip("\r\n\0")

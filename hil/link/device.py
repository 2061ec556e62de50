"""What a host can ask the firmware, as functions."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import serial

from hil.errors import LinkTimeout, ProtocolError, UsageError, WrongFirmware
from hil.link.codec import Frame
from hil.link.conversation import Conversation
from hil.link.schema import MAX_BODY, PROTOCOL_VERSION, Crash, Detail, Kind
from hil.link.speed import say_if_other_speed
from hil.trace import INNER_CELLS, AnyLayerTrace, Tier, Trace

BENCH_CALL_S = 1.0
"""Allowed for each call of a measured kernel, on top of the time for its answer."""
"""Of each unit in an INNER frame: two sums of 4 bytes, gate, candidate and state of 2."""


@dataclass(frozen=True)
class Hello:
    """
    Who answers: the fields of IS_HELLO (docs/link.md; `hil.link.schema.BODIES`).

    Attributes:
        inputs, states, outputs, layers: D, S, O and the number of recurrent layers; 0 without a model.
        max_steps: Largest count of a STEPS frame with states.
        overhead: Cycles of an empty measured window, already subtracted.
        serial: 128-bit serial number, hexadecimal.
        build_id, artefact_hash: Lower-case hexadecimal.
    """

    protocol: int
    window: int
    max_steps: int
    inputs: int
    states: int
    outputs: int
    layers: int
    kernels: int
    clock_hz: int
    baud: int
    device_id: int
    serial: str
    nvm_ctrlb: int
    overhead: int
    reset_cause: int
    build_id: str
    artefact_hash: str


@dataclass(frozen=True)
class Status:
    """Counters since reset: the fields of IS_STATUS; sizes in bytes."""

    frames: int
    bad_frames: int
    overruns: int
    replays: int
    stack_bytes: int
    stack_size: int
    uptime_ms: int


@dataclass(frozen=True)
class Benched:
    """
    Measured calls of one kernel.

    Attributes:
        cycles: Of each call.
        interrupts: Taken inside the windows; not 0: no measurement.
    """

    cycles: tuple[int, ...]
    interrupts: int


class Device:
    """
    The firmware at the other end of an open serial port.

    Every request is repeated three times when its answer does not come or is damaged; the firmware carries it out
    once.  Every method raises `LinkTimeout` (silence), `PortLost` (the port went away), `FirmwareFault` and
    `UnexpectedReset` (the firmware said so), `DeviceRefusal` (ERROR frame) and `ProtocolError` (a frame that
    does not fit here).

    Attributes:
        rig: Name for errors.
        tier: What this device's cycle counts are worth.
    """

    def __init__(
        self,
        port: serial.SerialBase,
        rig_name: str,
        *,
        timeout_s: float = 2.0,
        tier: Tier = Tier.SILICON,
        locate: Callable[[int], str] = lambda address: "",
        on_silence: Callable[[], None] = lambda: None,
    ) -> None:
        """
        Args:
            port: An open serial port; closed by `close`.
            rig_name: Names the rig in errors.
            timeout_s: How long to wait for each frame of an answer.
            tier: Copied into traces.
            locate: Function at an address of the program, for faults; ``""`` if unknown.
            on_silence: Called when a deadline has passed; raises if the rig knows more than that nothing came.
        """
        self.rig, self.tier = rig_name, tier
        self._talk = Conversation(port, rig_name, timeout_s, locate, on_silence)
        self._sequence = 0
        self._hello: Hello | None = None

    @property
    def conversation(self) -> Conversation:
        """Requests and answers themselves, for `hil.link.audio`."""
        return self._talk

    @property
    def repetitions(self) -> int:
        """Requests sent again so far."""
        return self._talk.repetitions

    @property
    def bad_frames(self) -> int:
        """Damaged frames received so far."""
        return self._talk.receiver.bad_frames

    @property
    def frames(self) -> deque[tuple[str, Frame]]:
        """The last frames in both directions, oldest first, as ``(">" or "<", frame)``."""
        return self._talk.frames

    @property
    def lines(self) -> deque[str]:
        """The last lines of text that arrived."""
        return self._talk.lines

    def hello(self, expected_build_id: str | None = None, expected_artefact_hash: str | None = None) -> Hello:
        """
        Ask who is there, and start the numbering.

        Args:
            expected_build_id, expected_artefact_hash: Hexadecimal; None accepts any.

        Raises:
            WrongFirmware: Another protocol, build or artefact answers.
            WrongSpeed: It answers, at another line speed.
        """
        self._talk.restart()
        self._hello = None
        request = self._talk.request(Kind.HELLO, protocol=PROTOCOL_VERSION)
        try:
            (frame,) = self._talk.exchange(request, Kind.IS_HELLO)
        except LinkTimeout:
            say_if_other_speed(self._talk)
            raise
        self._require("protocol", str(PROTOCOL_VERSION), str(frame.body[0]) if frame.body else "none")
        values = self._talk.fields(frame)
        number = b"".join(int(word).to_bytes(4, "big") for word in values.pop("serial")).hex()
        build_id, artefact_hash = values.pop("build_id").hex(), values.pop("artefact_hash").hex()
        self._require("build_id", expected_build_id, build_id)
        self._require("artefact_hash", expected_artefact_hash, artefact_hash)
        self._hello = Hello(serial=number, build_id=build_id, artefact_hash=artefact_hash, **values)
        self._talk.running = True
        return self._hello

    def run_sequence(self, features: npt.NDArray[np.int16], detail: Detail = Detail.STATES) -> Trace:
        """
        Stream one sequence and collect what the device computes.

        Args:
            features: [T, D] int16, Q15; T from 1 to 65,535.
            detail: Ask for the states, or for their running hash (`Trace.hashes`), which takes 4 bytes a step;
                without states ``states_q15`` is [T, 0].

        Returns:
            The trace; ``output_cycles`` is None if an interrupt fell into that window.

        Raises:
            UsageError: The features do not have the firmware's D.
        """
        known = self._known()
        self._check_features(features, known)
        self._sequence = (self._sequence + 1) % (1 << 32)
        self._talk.ask(Kind.BEGIN, Kind.ACK, sequence=self._sequence, steps=len(features), detail=int(detail))
        frames: list[Frame] = []
        for first in range(0, len(features), known.max_steps):
            frames += self._steps(first, features[first : first + known.max_steps])
        result = self._talk.ask(Kind.FINISH, Kind.RESULT)
        return self._trace(frames, result, detail, known)

    def replay(self, features: npt.NDArray[np.int16]) -> None:
        """Begin a sequence and run the steps given, without finishing it: `inspect` then shows the last one."""
        known = self._known()
        self._check_features(features, known)
        self._talk.ask(Kind.BEGIN, Kind.ACK, sequence=self._sequence, steps=len(features), detail=0)
        for first in range(0, len(features), known.max_steps):
            self._steps(first, features[first : first + known.max_steps])

    def inspect(self, layer: int) -> AnyLayerTrace:
        """Inner values of a recurrent layer after the last step: T is 1."""
        values = self._talk.ask(Kind.INSPECT, Kind.INNER, layer=layer)
        units, data = values["units"], values["data"]
        if values["cell"] >= len(INNER_CELLS):
            raise ProtocolError(f"{self.rig}: INNER of an unknown cell {values['cell']}")
        trace = INNER_CELLS[values["cell"]]
        fields = [(name, dtype, (width * units,)) for _, name, dtype, width in trace.INNER]
        if len(data) != np.dtype(fields).itemsize:
            raise ProtocolError(f"{self.rig}: INNER of {units} units has {len(data)} bytes")
        inner = np.frombuffer(data, fields)
        made: AnyLayerTrace = trace(*(inner[name].astype(dtype[1:]) for name, dtype, _ in fields))
        return made

    def bench(self, kernel: int, repeats: int = 8) -> Benched:
        """Measure ``repeats`` (1 to 64) calls of one of the firmware's kernels."""
        values = self._talk.ask(
            Kind.BENCH, Kind.BENCHED, extra_s=repeats * BENCH_CALL_S, kernel=kernel, repeats=repeats
        )
        if len(values["cycles"]) != repeats:
            raise ProtocolError(f"{self.rig}: {len(values['cycles'])} cycle counts for {repeats} calls")
        return Benched(tuple(int(c) for c in values["cycles"]), values["interrupts"])

    def status(self) -> Status:
        """Counters since reset."""
        return Status(**self._talk.ask(Kind.STATUS, Kind.IS_STATUS))

    def echo(self, data: bytes) -> bytes:
        """Send bytes there and back (at most `hil.link.schema.MAX_BODY`)."""
        return bytes(self._talk.ask(Kind.ECHO, Kind.ECHOED, data=data)["data"])

    def set_baud(self, baud: int) -> None:
        """
        Change the line speed on both sides, and try it.

        Raises:
            DeviceRefusal: The device's clock cannot make it; the old speed stays.
            LinkTimeout: The device does not answer at the new speed.
        """
        self._talk.ask(Kind.BAUD, Kind.ACK, baud=baud)
        self._talk.set_speed(baud)
        probe = bytes(range(256))
        if self.echo(probe) != probe:
            raise ProtocolError(f"{self.rig}: at {baud} baud ECHO returned other bytes than were sent")

    def reset(self) -> int:
        """Reset the device; returns the cause that its BOOT frame gives.  Say `hello` next."""
        self._talk.ask(Kind.RESET, Kind.ACK)
        self._talk.restart()
        self._hello = None
        deadline = time.monotonic() + self._talk.timeout_s
        while (frame := self._talk.next(deadline, "BOOT")).kind != Kind.BOOT:
            pass
        return int(self._talk.fields(frame)["reset_cause"])

    def crash(self, how: Crash) -> None:
        """
        Make the firmware fail, to see that the bench notices; never returns.

        Raises:
            FirmwareFault: It answered with its registers, as it should after ``Crash.HARD_FAULT``.
            LinkTimeout: It stays silent, as it should after ``Crash.HANG`` and ``Crash.LOCKUP``.
        """
        self._talk.send(self._talk.request(Kind.CRASH, how=how))
        deadline = time.monotonic() + self._talk.timeout_s
        while True:
            self._talk.raise_refusal(self._talk.next(deadline, "FAULT"), Kind.CRASH.name)

    @property
    def port(self) -> str:
        """Name or URL of the port, for another program after `close`."""
        return self._talk.port

    def close(self) -> None:
        """Close the port; harmless if it is gone."""
        self._talk.close()

    def _steps(self, first: int, features: npt.NDArray[np.int16]) -> list[Frame]:
        request = self._talk.request(Kind.STEPS, first=first, count=len(features), x=features)
        return self._talk.exchange(request, Kind.STEP, len(features), first)

    def _require(self, field: str, expected: str | None, got: str) -> None:
        if expected is not None and expected.lower() != got:
            raise WrongFirmware(self.rig, field, expected.lower(), got)

    def _known(self) -> Hello:
        return self._hello or self.hello()

    def _check_features(self, features: npt.NDArray[np.int16], known: Hello) -> None:
        fits = features.ndim == 2 and features.shape[1] == known.inputs and 1 <= len(features) < 1 << 16
        if known.inputs and not known.max_steps:
            raise UsageError(
                f"the model on {self.rig} is too wide for the link: {known.inputs} inputs or {known.states} states "
                f"do not fit a frame of {MAX_BODY} bytes. Use fewer."
            )
        if features.dtype != np.int16 or not fits:
            raise UsageError(
                f"features are {features.dtype} {list(features.shape)}, "
                f"the firmware on {self.rig} takes int16 [T, {known.inputs}]"
            )

    def _trace(self, frames: list[Frame], result: dict[str, Any], detail: Detail, known: Hello) -> Trace:
        steps = [self._talk.fields(frame) for frame in frames]
        states = known.states if detail is Detail.STATES else 0
        values = {Detail.NONE: 0, Detail.STATES: states, Detail.HASH: 2}[detail]
        wrong = next((i for i, s in enumerate(steps) if len(s["h"]) != values), None)
        if wrong is not None:
            raise ProtocolError(
                f"{self.rig}: STEP {wrong} has {len(steps[wrong]['h'])} values behind its fields, expected {values}"
            )
        got = (result["sequence"], result["steps"], len(result["logits"]))
        if got != (self._sequence, len(steps), known.outputs):
            raise ProtocolError(
                f"{self.rig}: RESULT has sequence, steps and outputs {got}, "
                f"expected {(self._sequence, len(steps), known.outputs)}"
            )
        return Trace(
            tier=self.tier,
            states_q15=np.array([s["h"][:states] for s in steps], np.int16).reshape(len(steps), states),
            logits=result["logits"].astype(np.int32),
            saturated=result["saturated"],
            cycles=np.array([s["cycles"] for s in steps], np.int64),
            output_cycles=None if result["interrupts"] else result["cycles"],
            interrupts=np.array([s["interrupts"] for s in steps], np.int64),
            hashes=_hashes(steps) if detail is Detail.HASH else None,
        )


def _hashes(steps: list[dict[str, Any]]) -> npt.NDArray[np.uint32]:
    halves = np.array([step["h"] for step in steps], "<i2").reshape(len(steps), 2)
    return halves.view("<u4").reshape(len(steps)).astype(np.uint32)

"""What a microphone costs the device: shares of its time for sampling, features, network and sleep."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, DenseLayer, EmbeddedGruLayer, FrontEnd, Rows, load_artefact
from hil.chips import Board, Microphone, chip
from hil.codegen import emit_c
from hil.codegen.bench_rows import pruned_rows
from hil.emulator import EmulatedBoard
from hil.emulator.sound import feed_microphone, input_of
from hil.errors import DeviceError, UsageError
from hil.experiment.listen import listening_of
from hil.experiment.progress import Progress
from hil.firmware import Compiler, Firmware, compile_firmware
from hil.link.capture import Capture, Streamed, begin_capture
from hil.link.device import Device
from hil.link.port import open_port
from hil.link.schema import Content, Kind
from hil.recipe import StreamRecipe
from hil.resources import resource
from hil.rig.file import RESET_BAUD
from hil.trace import Listening, Tier

BAUD = 500_000
SECONDS = 3.0
QUIET_S = 20.0
"""Longest wait for the next frame: the emulated chip is as fast as this machine lets it be."""
ACTIVE_MA, IDLE_MA = 3.37, 1.89
"""
Typical supply currents at 48 MHz, 3.3 V, 25 degrees, of the core in a loop and in IDLE0, peripherals off.

Source:
    SAM D21 data sheet (Microchip DS40001882; IDLE0: Atmel-42181), "Power Consumption".  An estimate: converter,
    microphone and line are not in it, and no chip of ours has been measured.
"""
EVERYTHING = Content.SOUND | Content.FEATURES | Content.DECISIONS


@dataclass(frozen=True)
class Case:
    """
    What the device does with its sound.

    Attributes:
        name: For people.
        artefact: The model.
        listening: How it decides.
        content: What it sends.
    """

    name: str
    artefact: Artefact
    listening: Listening
    content: Content


@dataclass(frozen=True)
class MicrophoneCost:
    """
    Where the device's time goes, by its own clock, in 1/1000.

    Attributes:
        name: Of the case.
        tier: What it is worth.
        sampling, features, network, asleep: Interrupts that take samples, front end, network, sleep.
        rest: Sending, and everything else.
        lost, unsent: Samples.
        decisions: Made.
        seconds: Of sound.
        ram_bytes: Of the program, without the stack.
    """

    name: str
    tier: Tier
    sampling: int
    features: int
    network: int
    asleep: int
    rest: int
    lost: int
    unsent: int
    decisions: int
    seconds: float
    ram_bytes: int

    @property
    def busy(self) -> int:
        """Everything but sleep, 1/1000 of 48 MHz."""
        return 1000 - self.asleep

    @property
    def estimated_ma(self) -> float:
        """Core current by `ACTIVE_MA` and `IDLE_MA`: an estimate."""
        return (self.busy * ACTIVE_MA + self.asleep * IDLE_MA) / 1000


def paper_artefact() -> Artefact:
    """The paper's front end and network (64 bins at 8 kHz, eGRU 30-20) with weights of a bench: for cycles only."""
    frontend = FrontEnd("magnitude", 8000, 128, 128, 0.0, 4000.0, 62, 3, np.zeros(64, np.int16))
    layers = tuple(EmbeddedGruLayer(pruned_rows(d, h, 0.5)) for d, h in ((64, 30), (30, 20)))
    shapes: tuple[tuple[int, int], ...] = ((20, 16), (16, 8))
    rows = [pruned_rows(i, o, 0.5) for i, o in shapes]
    dense = tuple(
        DenseLayer(_first(row, o, i), "linear" if n == len(shapes) else "relu")
        for n, (row, (i, o)) in enumerate(zip(rows, shapes, strict=True), start=1)
    )
    return Artefact("paper", tuple(f"class {i}" for i in range(8)), frontend, layers, 3, dense)


def _first(rows: Rows, outputs: int, inputs: int) -> Rows:
    return Rows(rows.weight_q2[:outputs, :inputs].copy(), rows.bias_q17[:outputs].copy(), rows.shift[:outputs].copy())


def cases() -> tuple[Case, ...]:
    """The paper's network, whole windows, and the shipped speech-commands model, overlapping ones; with sound sent."""
    paper = paper_artefact()
    commands = load_artefact(resource("models") / "speech-commands" / "model.artefact")
    every, overlapping = Listening(62, 62), listening_of(StreamRecipe(), commands)
    return (
        Case("paper", paper, every, Content.DECISIONS),
        Case("paper, PCM", paper, every, Content.SOUND | Content.DECISIONS),
        Case("commands", commands, overlapping, Content.DECISIONS),
        Case("commands, all", commands, overlapping, EVERYTHING),
    )


def bench_microphone(
    chosen: Sequence[Case], microphone: Microphone, compiler: Compiler, folder: Path, progress: Progress
) -> list[MicrophoneCost]:
    """
    Let the emulated chip listen to a few seconds of noise.

    Raises:
        ToolError: It cannot be compiled.
        DeviceError: The device says something else than it should.
    """
    found: list[MicrophoneCost] = []
    known: dict[str, bytes] = {}
    with progress.task("cases with a microphone") as update:
        for done, case in enumerate(chosen):
            if case.artefact.sound.rate_hz != microphone.rate_hz:
                raise UsageError(f"{case.name}: hears {case.artefact.sound.rate_hz} Hz, not {microphone.rate_hz}")
            firmware = build_with_microphone(case.artefact, microphone, compiler, folder / str(done), known)
            found.append(_measure(case, firmware, microphone))
            update(done + 1, len(chosen))
    return found


def build_with_microphone(
    artefact: Artefact,
    microphone: Microphone,
    compiler: Compiler,
    folder: Path,
    known: MutableMapping[str, bytes] | None = None,
) -> Firmware:
    """A model's firmware that listens by itself, for the emulated chip; ``known`` as for `compile_firmware`."""
    return compile_firmware(
        emit_c(artefact, audio=True),
        chip=chip("atsamd21j18a"),
        board=Board(),
        compiler=compiler,
        optimize="2",
        out=folder,
        microphone=microphone,
        known=known,
    )


def noise(count: int, seed: int = 1) -> npt.NDArray[np.int16]:
    """[count] int16, swelling noise."""
    swell = np.abs(np.sin(np.arange(count) / 3000))
    return (np.random.default_rng(seed).normal(0, 6000, count) * swell).clip(-32768, 32767).astype(np.int16)


def _measure(case: Case, firmware: Firmware, microphone: Microphone) -> MicrophoneCost:
    sound = noise(round(SECONDS * microphone.rate_hz))
    with EmulatedBoard(firmware.chip) as board:
        board.load_elf(firmware.elf)
        feed_microphone(board.emulator, input_of(microphone.kind), sound, microphone.rate_hz, then_stop=True)
        board.start()
        device = Device(open_port(board.port, RESET_BAUD, "emulator"), "emulator", timeout_s=QUIET_S)
        try:
            device.hello(firmware.build_id)
            device.set_baud(BAUD)
            capture = begin_capture(device, case.listening, case.content)
            blocks = len(sound) // capture.begun.block * capture.begun.block
            heard_all(capture, blocks)
            stopped = capture.stop()
        finally:
            device.close()
    parts = {name: int(stopped[f"{name}_permille"]) for name in ("sampling", "features", "network", "asleep")}
    if stopped["samples"] != blocks:
        raise DeviceError(f"emulator: {stopped['samples']} samples, expected {blocks}")
    return MicrophoneCost(
        name=case.name,
        tier=Tier.CYCLE_MODEL,
        **parts,
        rest=1000 - sum(parts.values()),
        lost=stopped["lost"],
        unsent=stopped["unsent"],
        decisions=stopped["decisions"],
        seconds=blocks / microphone.rate_hz,
        ram_bytes=firmware.ram_bytes,
    )


def heard_all(capture: Capture, samples: int) -> list[Streamed]:
    """
    What the device sends until a META says that so many samples have been taken.

    Raises:
        DeviceError: It falls silent before.
    """
    got: list[Streamed] = []
    while (item := capture.next(QUIET_S)) is not None:
        got.append(item)
        if item.kind is Kind.META and item.values["samples"] >= samples:
            return got
    raise DeviceError(f"emulator: silent for {QUIET_S:g} s after {len(got)} frames, before {samples} samples")

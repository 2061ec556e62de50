"""Test sequences through a rig, every step and every output against the twin: a `Result`."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from hil.artefact import Artefact, Gru8Layer
from hil.emulator import Unmodelled
from hil.experiment.compare import Comparison, compare, locate
from hil.experiment.examine import examined
from hil.experiment.feature_file import Features
from hil.experiment.hashes import commit
from hil.experiment.predict import predict_run
from hil.experiment.progress import Progress
from hil.experiment.result import Difference, Epoch, Result, Trajectory
from hil.experiment.work import matrices_of
from hil.features import FeatureSet
from hil.firmware import Firmware
from hil.float_model import CELL_NAMES
from hil.link.device import Device, Hello, Status
from hil.quant import run_twins
from hil.rig import Rig
from hil.rig import connect as connect_rig
from hil.rig.clock import drift, has_clock, read_clocks
from hil.rig.emulator import EmulatorRig
from hil.trace import Trace

GRU8_TITLE = "int8 GRU"


@dataclass(frozen=True)
class Background:
    """
    What a report says besides the run itself.

    Attributes:
        recipe_sha256, data_sha256: Of recipe and data.
        float_accuracy: On the same test clips, by model in order of display.
        float_parameter_bytes: Of the float GRU.
        curves: Learning curves by model.
        seconds: Wall time of the stages before.
        notes: Anything the reader must know.
        folder: Where evidence of a crash is left; None: it is only told.
    """

    recipe_sha256: str = "unknown"
    data_sha256: str = "unknown"
    float_accuracy: Mapping[str, float] = field(default_factory=dict)
    float_parameter_bytes: int = 0
    curves: Mapping[str, tuple[Epoch, ...]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    folder: Path | None = None


@dataclass(frozen=True)
class _Part:
    """What came back from one device; traces and comparisons by sequence."""

    hello: Hello
    status: Status
    notes: tuple[str, ...]
    got: dict[int, Trace]
    comparisons: dict[int, Comparison]
    first: Difference | None
    located: bool
    repetitions: int
    bad_frames: int
    unmodelled: tuple[Unmodelled, ...]


@dataclass(frozen=True)
class _Run:
    """What came back from all devices; `status` and the counts are of all together."""

    hello: Hello
    status: Status
    expected: list[Trace]
    got: list[Trace]
    comparisons: list[Comparison]
    first: Difference | None
    repetitions: int
    bad_frames: int
    notes: tuple[str, ...]


def run_on_rig(
    artefact: Artefact,
    features: Features,
    firmware: Firmware,
    rig: Rig,
    background: Background,
    progress: Progress,
    more: Sequence[Rig] = (),
) -> Result:
    """
    Flash the firmware, stream every test sequence, and compare with the twin.

    Args:
        artefact: The model.
        features: Its test set is streamed.
        firmware: Built from the artefact.
        rig: Not yet flashed; left open.
        background: For the report.
        progress: Where to show it.
        more: Rigs that equal the first: the sequences are spread over all of them, each in a thread, with the result
            of one.  Left open.

    Raises:
        UsageError: Features and model do not fit together.
        RigError: The bench is wrong: nothing answers, the port went away.
        DeviceError: Another firmware answers, or it failed.
    """
    test = features.test
    expected = run_twins(artefact, test.x, lengths=test.lengths)
    run = _stream(artefact, test, firmware, (rig, *more), expected, progress, background.folder)
    said = predict_run(rig, firmware, [test.sequence(i) for i in range(len(run.got))], run.got, progress)
    done = _result(artefact, features, firmware, rig, run, background)
    return replace(done, predicted_cycles=said.predicted, predicted_for=said.measured)


def connect(rig: Rig, firmware: Firmware) -> tuple[Device, Hello]:
    """
    Open a flashed rig, see that the firmware is the one expected, and go to the highest speed that works.

    Raises:
        WrongFirmware: Another build or artefact answers.
        RigError: As `hil.rig.connect`.
    """
    made = connect_rig(rig, firmware)
    return made.device, made.hello


def _stream(
    artefact: Artefact,
    test: FeatureSet,
    firmware: Firmware,
    rigs: Sequence[Rig],
    expected: list[Trace],
    progress: Progress,
    folder: Path | None,
) -> _Run:
    """Sequence i goes to rig i modulo their number."""
    ended, lock, done = threading.Event(), threading.Lock(), 0
    title = f"{len(test.x)} test clips on {rigs[0].name}" + (f", {len(rigs)} at once" if len(rigs) > 1 else "")

    def one_more() -> bool:
        nonlocal done
        with lock:
            done += 1
            update(done, len(test.x))
        return not ended.is_set()

    def part(k: int) -> _Part:
        indices = range(k, len(test.x), len(rigs))
        try:
            return _stream_part(artefact, test, firmware, rigs[k], expected, indices, one_more, progress, folder)
        except BaseException:
            ended.set()
            raise

    with progress.task(title) as update:
        if len(rigs) == 1:
            return _together([part(0)], expected)
        with ThreadPoolExecutor(len(rigs)) as pool:
            try:
                parts = list(pool.map(part, range(len(rigs))))
            finally:  # also after Ctrl-C: no thread begins another sequence
                ended.set()
    return _together(parts, expected)


def _stream_part(
    artefact: Artefact,
    test: FeatureSet,
    firmware: Firmware,
    rig: Rig,
    expected: list[Trace],
    indices: Sequence[int],
    one_more: Callable[[], bool],
    progress: Progress,
    folder: Path | None,
) -> _Part:
    widths = [layer.units for layer in artefact.recurrent]
    got: dict[int, Trace] = {}
    comparisons: dict[int, Comparison] = {}
    first: Difference | None = None
    located = True
    flashed = rig.flash(firmware)
    connection = connect_rig(rig, firmware)
    device, hello = connection.device, connection.hello
    began = read_clocks(device) if has_clock(rig) else None
    notes = (f"flashed: {flashed.how}", *flashed.notes, *connection.notes)
    with examined(rig, device, firmware, progress, folder):
        for i in indices:
            got[i] = device.run_sequence(test.sequence(i))
            comparisons[i] = compare(expected[i], got[i], widths, i)
            if first is None and (found := comparisons[i].first) is not None:
                place = locate(device, artefact, test.sequence(i), found)
                first, located = place or found, place is not None
            if not one_more():
                break
    drifted = drift(began, read_clocks(device)) if began else None
    notes += (str(drifted),) if drifted else ()
    unmodelled = rig.unmodelled() if isinstance(rig, EmulatorRig) else ()
    return _Part(
        hello,
        device.status(),
        notes,
        got,
        comparisons,
        first,
        located,
        device.repetitions,
        device.bad_frames,
        unmodelled,
    )


def _together(parts: Sequence[_Part], expected: list[Trace]) -> _Run:
    """In the order of the sequences; the first difference is that of the first sequence that differs."""
    got = {i: trace for part in parts for i, trace in part.got.items()}
    comparisons = {i: comparison for part in parts for i, comparison in part.comparisons.items()}
    differing = min((part for part in parts if part.first), key=lambda part: _sequence(part), default=None)
    notes = list(parts[0].notes)
    if differing and not differing.located:
        notes.append("the first difference did not happen again when the sequence was repeated")
    notes += map(str, _all_unmodelled(parts))
    first = parts[0].status
    status = replace(
        first,
        overruns=sum(part.status.overruns for part in parts),
        bad_frames=sum(part.status.bad_frames for part in parts),
        stack_bytes=max(part.status.stack_bytes for part in parts),
    )
    return _Run(
        parts[0].hello,
        status,
        expected,
        [got[i] for i in sorted(got)],
        [comparisons[i] for i in sorted(comparisons)],
        differing.first if differing else None,
        sum(part.repetitions for part in parts),
        sum(part.bad_frames for part in parts),
        tuple(notes),
    )


def _all_unmodelled(parts: Sequence[_Part]) -> list[Unmodelled]:
    """Each register and direction once, with the accesses on all chips."""
    found: dict[tuple[int, bool], Unmodelled] = {}
    for access in (access for part in parts for access in part.unmodelled):
        key = access.address, access.is_write
        found[key] = replace(access, count=access.count + (found[key].count if key in found else 0))
    return [found[key] for key in sorted(found)]


def _sequence(part: _Part) -> int:
    return part.first.sequence if part.first else -1


def _result(
    artefact: Artefact, features: Features, firmware: Firmware, rig: Rig, run: _Run, background: Background
) -> Result:
    y = features.test.y
    decisions = np.array([trace.decision for trace in run.got])
    twin = np.array([trace.decision for trace in run.expected])
    cycles, output_cycles, void = _cycles(run.got)
    return Result(
        model=artefact.name,
        rig=rig.name,
        rig_reason=rig.reason,
        tier=rig.tier,
        compiler=f"{firmware.compiler_version}, -O{firmware.optimize}",
        clock_hz=run.hello.clock_hz,
        hashes={
            "recipe": background.recipe_sha256,
            "data": background.data_sha256,
            "artefact": artefact.sha256(),
            "elf": firmware.elf_sha256,
            "rig": rig.sha256,
            "outputs": _outputs_sha256(run.got),
            "commit": commit(),
        },
        labels=artefact.labels,
        accuracy={
            **background.float_accuracy,
            twin_title(artefact): float((twin == y).mean()),
            "device": float((decisions == y).mean()),
        },
        steps=sum(c.steps for c in run.comparisons),
        steps_exact=sum(c.steps_exact for c in run.comparisons),
        outputs=len(run.comparisons),
        outputs_exact=sum(c.output_exact for c in run.comparisons),
        first_difference=run.first,
        cycles=cycles,
        output_cycles=output_cycles,
        void_windows=void,
        overhead_cycles=run.hello.overhead,
        parameter_bytes=artefact.parameter_bytes,
        float_parameter_bytes=background.float_parameter_bytes,
        flash_bytes=firmware.flash_bytes,
        ram_bytes=firmware.ram_bytes,
        stack_bytes=run.status.stack_bytes,
        curves=dict(background.curves),
        confusion=_confusion(y, decisions, len(artefact.labels)),
        trajectories=_trajectories(artefact, run),
        repetitions=run.repetitions,
        seconds=dict(background.seconds),
        notes=(*background.notes, *run.notes, *_notes(features, run)),
        activity=tuple(np.mean([trace.activity for trace in run.expected], axis=0).tolist()),
        matrices=matrices_of(artefact, features.test.x, run.expected, features.test.lengths),
    )


def twin_title(artefact: Artefact) -> str:
    """What the model is called in reports where it runs in integers on the host."""
    cell = artefact.recurrent[0].cell
    return GRU8_TITLE if cell == Gru8Layer.cell else f"quantized {CELL_NAMES[cell]}"


def _outputs_sha256(traces: list[Trace]) -> str:
    """Of all states and logits in order: equal runs have equal hashes."""
    digest = hashlib.sha256()
    for trace in traces:
        digest.update(trace.states_q15.astype("<i2").tobytes() + trace.logits.astype("<i4").tobytes())
    return digest.hexdigest()


def _cycles(traces: list[Trace]) -> tuple[tuple[int, ...], tuple[int, ...], int]:
    """Cycles of every step, of every output, and windows left out because an interrupt fell into them."""
    steps: list[int] = []
    outputs: list[int] = []
    void = 0
    for trace in traces:
        assert trace.cycles is not None
        assert trace.interrupts is not None
        clean = trace.interrupts == 0
        steps += trace.cycles[clean].tolist()
        void += int((~clean).sum())
        if trace.output_cycles is None:
            void += 1
        else:
            outputs.append(trace.output_cycles)
    return tuple(steps), tuple(outputs), void


def _confusion(y: npt.NDArray[np.int64], decisions: npt.NDArray[np.int64], classes: int) -> tuple[tuple[int, ...], ...]:
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (y, decisions), 1)
    return tuple(tuple(row) for row in counts.tolist())


def _trajectories(artefact: Artefact, run: _Run) -> tuple[Trajectory, ...]:
    """The unit of each layer that moves most in the first differing sequence, else in the first."""
    i = run.first.sequence if run.first else 0
    twin, device = run.expected[i].states_q15, run.got[i].states_q15
    chosen = []
    start = 0
    for layer, part in enumerate(artefact.recurrent):
        span = np.ptp(twin[:, start : start + part.units].astype(np.int64), axis=0)
        unit = int(np.argmax(span))
        if run.first and run.first.layer == layer:
            unit = run.first.unit
        column = start + unit
        label = f"sequence {i}, layer {layer}, unit {unit}"
        chosen.append(Trajectory(label, tuple(device[:, column].tolist()), tuple(twin[:, column].tolist())))
        start += part.units
    return tuple(chosen)


def _notes(features: Features, run: _Run) -> list[str]:
    notes = []
    if features.test.saturated:
        share = features.test.saturated / features.test.steps.size
        notes.append(f"{features.test.saturated} feature values of the test set ({share:.2%}) were saturated")
    if saturated := sum(trace.saturated for trace in run.got):
        notes.append(f"{saturated} readout sums were saturated on the device")
    if run.status.overruns:
        notes.append(f"{run.status.overruns} bytes were lost in the device's UART and asked for again")
    if run.bad_frames or run.status.bad_frames:
        notes.append(f"damaged frames: {run.bad_frames} at the host, {run.status.bad_frames} at the device")
    return notes

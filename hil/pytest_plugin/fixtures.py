"""The fixtures: a rig, its program, the model, sequences in and traces out, measurements."""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest

from hil.pytest_plugin import baseline, options, reports
from hil.pytest_plugin.baseline import Within, exact
from hil.pytest_plugin.clock import BENCHED, DEVICE_CLOCK, refuse_other_tiers
from hil.pytest_plugin.values import Measurement

if TYPE_CHECKING:
    from hil.experiment.listen import Stream
    from hil.firmware import Firmware
    from hil.link.schema import Detail
    from hil.pytest_plugin.bench import BenchRig, Model
    from hil.pytest_plugin.comparing import DeviceTrace
    from hil.trace import Listening

LONG_STEPS = 256
"""Longer sequences are compared by hashes unless states are asked for."""


@pytest.fixture(scope="session")
def hil_bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchRig]:
    """A rig, taken for the session; `rig` is the same with a program on it."""
    from hil.pytest_plugin.bench import BenchRig

    config = request.config
    cache = getattr(config, "cache", None)  # None with -p no:cacheprovider
    made = BenchRig(
        request.param,
        fallback=not config.getoption("--no-fallback"),
        timeout_s=config.getoption("--rig-timeout"),
        compiler=config.getoption("--hil-compiler"),
        cache=cache.mkdir("hil-firmware") if cache else tmp_path_factory.mktemp("hil-firmware"),
    )
    with made:
        yield made


@pytest.fixture
def model(request: pytest.FixtureRequest) -> Model:
    """The model that the marker ``model``, ``--model`` or the setting ``hil_model`` names."""
    from hil.pytest_plugin.bench import find_model

    named = _model_named(request)
    if named is None:
        raise pytest.UsageError("no model: use @pytest.mark.model(PATH), --model PATH, or set hil_model")
    return find_model(named, request.config.rootpath)


@pytest.fixture
def firmware(model: Model, hil_bench: BenchRig) -> Firmware:
    """The model's program, built for the rig."""
    return hil_bench.build(model)


@pytest.fixture
def rig(request: pytest.FixtureRequest, hil_bench: BenchRig) -> BenchRig:
    """
    The rig: open, healthy, and with the test's program running from its start, if a model is named.

    It is flashed only when the program changes and reset between tests.  Whatever the bench does wrong makes the test
    VOID.
    """
    _skip_without(request.node, hil_bench)
    if "benchmark" in request.fixturenames:
        refuse_other_tiers(request.config, hil_bench.tier.value)
    if _model_named(request) is not None or "firmware" in request.fixturenames:
        hil_bench.start(request.getfixturevalue("firmware"))
    for name, value in reports.facts(hil_bench).items():
        request.node.user_properties.append((f"hil.{name}", value))
    request.config.stash[BENCHED] = reports.facts(hil_bench)
    return hil_bench


@pytest.fixture
def stream(request: pytest.FixtureRequest, rig: BenchRig, model: Model) -> StreamFixture:
    """Sequences or sound in, a trace out: ``trace = stream(features)``."""
    return StreamFixture(request.node, rig, model)


@pytest.fixture
def measure(request: pytest.FixtureRequest, rig: BenchRig) -> MeasureFixture:
    """Measurements, held to their baselines where ``--baseline`` names them."""
    return MeasureFixture(request.node, rig)


class StreamFixture:
    """Runs sequences on the rig."""

    def __init__(self, item: pytest.Item, rig: BenchRig, model: Model) -> None:
        self._item, self._rig, self._model, self._count = item, rig, model, 0

    def __call__(self, features: npt.NDArray[np.int16], detail: Detail | None = None) -> DeviceTrace:
        """
        Run one sequence.

        Args:
            features: [T, D] int16, Q15.
            detail: What comes back for each step; None: states, or hashes of a sequence longer than 256 steps.

        Raises:
            UsageError, RigError, DeviceError: As `hil.link.device.Device.run_sequence`.
        """
        from hil.link.schema import Detail
        from hil.pytest_plugin.comparing import DeviceTrace, Origin

        if detail is None:
            detail = Detail.HASH if len(features) > LONG_STEPS else Detail.STATES
        trace = self._rig.device.run_sequence(features, detail)
        if trace.cycles is not None:
            DEVICE_CLOCK.advance(int(trace.cycles.sum()) + (trace.output_cycles or 0))
        origin = Origin(self._model, self._rig, features, self._count, self._item.nodeid)
        self._count += 1
        made = DeviceTrace(**{f.name: getattr(trace, f.name) for f in dataclasses.fields(trace)}, origin=origin)
        reports.keep_run(self._item, made)
        return made

    def audio(self, samples: npt.NDArray[np.int16], name: str = "sound", listening: Listening | None = None) -> Stream:
        """
        Send sound; features, network and decisions are the device's, and compared with the host's.

        Args:
            samples: [N] int16 at the front end's rate.
            name: For differences.
            listening: How it is decided; None: as the recipe's [stream] says.

        Raises:
            UsageError, RigError, DeviceError: As `hil.experiment.listen.run_stream`.
        """
        from hil.experiment.listen import listening_of, run_stream

        artefact = self._model.artefact
        listening = listening or listening_of(self._model.stream, artefact)
        return run_stream(artefact, name, samples, listening, self._rig.device)


class MeasureFixture:
    """Records what a test measures, and holds it to its baseline in the test itself."""

    def __init__(self, item: pytest.Item, rig: BenchRig) -> None:
        self._item, self._rig = item, rig

    def __call__(
        self,
        name: str,
        value: float,
        unit: str,
        *,
        within: Within | None = None,
        clock: str = "none",
        method: str = "given by the test",
        overhead: float = 0,
        n: int = 1,
        prediction: float | None = None,
        symbols: dict[str, int] | None = None,
    ) -> Measurement:
        """
        Record a value.

        Args:
            name: Of the metric.
            value, unit, clock, method, overhead, n, prediction: As of `Measurement`.
            within: How far it may be from its baseline; None: exactly there.
            symbols: Sizes of the program's symbols, to name those that grew.

        Raises:
            Regression: It is further away, or ``--baseline`` has none for it.
        """
        made = Measurement(name, value, unit, self._rig.tier, clock, method, overhead, n, prediction)
        config, key = self._item.config, self._key()
        reports.keep_measurement(self._item, made, key, symbols or {})
        folder = config.getoption("--baseline")
        if folder and not config.getoption("--update-baseline"):
            baseline.check(Path(folder), self._item.nodeid, key, made, within or exact(), symbols or {})
        return made

    def cycles(self, *traces: DeviceTrace, within: Within | None = None, name: str = "cycles") -> Measurement:
        """The median cycles of a step; on silicon with the model's prediction.  Raises as `__call__`."""
        counts = [
            int(c)
            for t in traces
            if t.cycles is not None and t.interrupts is not None
            for c in t.cycles[t.interrupts == 0]
        ]
        if not counts:
            raise pytest.UsageError("measure.cycles: no trace has a measured window without an interrupt")
        hello = self._rig.hello
        return self(
            name,
            statistics.median(counts),
            "cycles",
            within=within,
            clock=f"SysTick at {hello.clock_hz / 1e6:g} MHz" if hello else "SysTick",
            method="median of the measured windows of all steps",
            overhead=hello.overhead if hello else 0,
            n=len(counts),
            prediction=self._predicted(traces),
        )

    def sizes(self, within: Within | None = None) -> dict[str, Measurement]:
        """Flash, RAM and stack of the program on the rig, in bytes.  Raises as `__call__`."""
        program, status = self._rig.firmware, self._rig.device.status()
        assert program is not None
        how = {"within": within, "method": "of the ELF"}
        return {
            "flash": self("flash", program.flash_bytes, "bytes", symbols=dict(program.symbols), **how),  # type: ignore[arg-type]
            "ram": self("ram", program.ram_bytes, "bytes", symbols=dict(program.symbols), **how),  # type: ignore[arg-type]
            "stack": self(
                "stack", status.stack_bytes, "bytes", within=within, method="high-water mark of the painted stack"
            ),
        }

    def accuracy(
        self, traces: Sequence[DeviceTrace], labels: Sequence[int], within: Within | None = None
    ) -> Measurement:
        """Fraction of decisions that are right.  Raises as `__call__`."""
        right = sum(t.decision == y for t, y in zip(traces, labels, strict=True))
        return self(
            "accuracy", right / len(traces), "of 1", within=within, method="decisions of the device", n=len(traces)
        )

    def disagreeing(
        self, traces: Sequence[DeviceTrace], decisions: Sequence[int], within: Within | None = None
    ) -> Measurement:
        """Decisions that differ from those given, such as a float model's.  Raises as `__call__`."""
        count = sum(t.decision != d for t, d in zip(traces, decisions, strict=True))
        return self("disagreeing", count, "decisions", within=within, method="against those given", n=len(traces))

    def _predicted(self, traces: Sequence[DeviceTrace]) -> float | None:
        counts: list[int] = []
        for trace in traces:
            predicted = self._rig.predict(trace.origin.features) if trace.origin else None
            counts += [] if predicted is None else [int(c) for c in predicted]
        return statistics.median(counts) if counts else None

    def _key(self) -> baseline.Key:
        program = self._rig.firmware
        if program is None:
            return baseline.Key(self._rig.tier.value, self._rig.chip, "none", "none")
        compiler = f"{program.compiler_version}, -O{program.optimize}"
        return baseline.Key(self._rig.tier.value, program.chip.name, compiler, program.artefact_hash)


def _model_named(request: pytest.FixtureRequest) -> str | None:
    marker = request.node.get_closest_marker("model")
    if marker is not None:
        return str(marker.args[0])
    asked: Any = request.config.getoption("--model") or request.config.getini("hil_model")
    return str(asked) if asked else None


def _skip_without(item: pytest.Item, rig: BenchRig) -> None:
    """Skip a test whose marker ``needs`` names what this rig does not have."""
    for marker in item.iter_markers("needs"):
        for need in marker.args:
            if need not in options.NEEDS:
                raise pytest.UsageError(f"needs({need!r}): unknown; one of {', '.join(options.NEEDS)}")
            has = rig.tier.value == need if need == "silicon" else options.FEATURES.get(need, need) in rig.features
            if not has:
                pytest.skip(f"needs {options.NEEDS[need]} ({need}); {rig.name} is of tier {rig.tier.value} without it")

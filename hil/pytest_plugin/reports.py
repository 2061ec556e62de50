"""
What remains of a session: properties for JUnit, a Markdown summary, GitHub annotations, a page, baselines.

Everything travels in a report's ``user_properties``, so that it survives pytest-xdist.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hil.pytest_plugin import baseline, void
from hil.pytest_plugin.values import Measurement, shown
from hil.trace import Tier

if TYPE_CHECKING:
    from hil.pytest_plugin.bench import BenchRig
    from hil.pytest_plugin.comparing import DeviceTrace

MEASURED, RUN = "hil.measured.", "hil.run"
TRAJECTORY_STEPS = 1000


def facts(rig: BenchRig) -> dict[str, str]:
    """What identifies a rig and its program."""
    found = {"rig": rig.name, "tier": rig.tier.value, "reason": rig.reason, "chip": rig.chip}
    if rig.firmware is not None:
        found |= {"elf": rig.firmware.elf_sha256, "artefact": rig.firmware.artefact_hash}
        found["compiler"] = f"{rig.firmware.compiler_version}, -O{rig.firmware.optimize}"
    if rig.hello is not None:
        found |= {"serial": rig.hello.serial, "clock_hz": str(rig.hello.clock_hz)}
    return found


def keep_measurement(item: pytest.Item, made: Measurement, key: baseline.Key, symbols: dict[str, int]) -> None:
    """Put a measurement into a test's properties."""
    kept: dict[str, Any] = {**made.to_json(), "key": vars(key)}
    if item.config.getoption("--update-baseline") and symbols:
        kept["symbols"] = symbols
    item.user_properties.append((MEASURED + made.name, json.dumps(kept, sort_keys=True)))


def keep_run(item: pytest.Item, trace: DeviceTrace) -> None:
    """Put a sequence into a test's properties, if a page is asked for."""
    if not item.config.getoption("--hil-html") or trace.origin is None:
        return
    from hil.experiment.compare import compare
    from hil.quant import run_twin

    origin = trace.origin
    artefact, program = origin.model.artefact, origin.rig.firmware
    assert program is not None
    twin = run_twin(artefact, origin.features)
    compared = compare(twin, trace, [layer.units for layer in artefact.recurrent], origin.sequence)
    kept: dict[str, Any] = {
        "model": artefact.name,
        "facts": facts(origin.rig),
        "labels": artefact.labels,
        "parameter_bytes": artefact.parameter_bytes,
        "flash_bytes": program.flash_bytes,
        "ram_bytes": program.ram_bytes,
        "overhead": origin.rig.hello.overhead if origin.rig.hello else 0,
        "steps": compared.steps,
        "steps_exact": compared.steps_exact,
        "output_exact": compared.output_exact,
        "cycles": [] if trace.cycles is None else [int(c) for c in trace.cycles],
        "output_cycles": trace.output_cycles,
        "first": None if compared.first is None else vars(compared.first),
    }
    if len(trace.states_q15) and trace.states_q15.shape[1]:
        unit = int((twin.states_q15.max(axis=0).astype(int) - twin.states_q15.min(axis=0)).argmax())
        kept["unit"] = unit
        kept["device"] = [int(v) for v in trace.states_q15[:TRAJECTORY_STEPS, unit]]
        kept["twin"] = [int(v) for v in twin.states_q15[:TRAJECTORY_STEPS, unit]]
    item.user_properties.append((RUN, json.dumps(kept)))


class Reports:
    """Collects what tests leave, on the controller of pytest-xdist or where there is none."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config
        self._worker = hasattr(config, "workerinput")
        self._outcomes: list[tuple[str, str, str]] = []  # test, outcome, rig and why
        self._measured: list[tuple[str, dict[str, Any]]] = []
        self._runs: list[dict[str, Any]] = []
        self._rigs: dict[str, dict[str, str]] = {}
        self._annotations: list[str] = []
        self._seen: set[tuple[str, str]] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if self._worker:
            return
        why = void.reason(report)
        if why is not None:
            self._outcomes.append((report.nodeid, "void", why))
        elif report.failed or (report.when == "call" and report.passed) or report.skipped:
            text = report.longreprtext.strip().splitlines()
            self._outcomes.append((report.nodeid, report.outcome, text[-1] if text and report.failed else ""))
        if report.failed:
            self._annotate(report, why)
        if report.when == "teardown":  # properties are complete
            self._take(report)

    def _take(self, report: pytest.TestReport) -> None:
        properties = [(str(name), str(value)) for name, value in report.user_properties]
        mine = {name.removeprefix("hil."): value for name, value in properties if name.startswith("hil.")}
        if "rig" in mine:
            keys = ("rig", "tier", "reason", "chip", "serial", "compiler")
            self._rigs[mine["rig"]] = {key: mine[key] for key in keys if key in mine}
        for name, value in properties:
            if name.startswith(MEASURED):
                self._measured.append((report.nodeid, json.loads(value)))
            elif name == RUN:
                self._runs.append(json.loads(value))

    def _annotate(self, report: pytest.TestReport, why: str | None) -> None:
        """https://docs.github.com/actions: workflow commands."""
        path, line, _ = report.location
        text = why or (report.longreprtext.strip().splitlines() or ["failed"])[-1]
        kind = "warning" if why else "error"
        head = "VOID: " if why else ""
        escaped = f"{head}{text}".replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        place = f"file={path},line={(line or 0) + 1},title={report.nodeid.replace(',', '%2C').replace(':', '%3A')}"
        self._annotations.append(f"::{kind} {place}::{escaped}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        if self._worker:
            return
        if self._config.getoption("--update-baseline"):
            self._update_baselines()
        summary = self._config.getoption("--hil-summary")
        for path in filter(None, (summary, os.environ.get("GITHUB_STEP_SUMMARY"))):
            with Path(path).open("a" if path != summary else "w", encoding="utf-8") as file:
                file.write("\n".join(self._markdown()) + "\n")
        if self._config.getoption("--hil-html") and self._runs:
            from hil.pytest_plugin.page import write_page

            write_page(self._runs, Path(self._config.getoption("--hil-html")))

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self._worker or not (self._rigs or self._annotations):
            return
        if self._rigs:
            terminalreporter.section("rigs")
            for name, found in self._rigs.items():
                terminalreporter.line(f"{name} ({found['tier']}): {found['reason']}")
        for nodeid, measured in self._measured:
            terminalreporter.line(f"{nodeid}: {_measurement(measured)}")
        lost = [(nodeid, why) for nodeid, outcome, why in self._outcomes if outcome == "void"]
        if lost:
            terminalreporter.section("VOID: the bench failed, nothing is said about the firmware")
            for nodeid, why in lost:
                terminalreporter.line(f"{nodeid}: {why}")
        if os.environ.get("GITHUB_ACTIONS") == "true":
            for line in self._annotations:
                terminalreporter.line(line)

    def _update_baselines(self) -> None:
        values = []
        failed = {nodeid for nodeid, outcome, _ in self._outcomes if outcome in ("failed", "void")}
        for nodeid, kept in self._measured:
            if nodeid not in failed:
                values.append((nodeid, baseline.Key(**kept["key"]), _measurement(kept), kept.get("symbols", {})))
        baseline.write(Path(self._config.getoption("--baseline")), values)

    def _markdown(self) -> Iterator[str]:
        counts = {
            word: sum(o == word for _, o, _ in self._outcomes) for word in ("passed", "failed", "void", "skipped")
        }
        yield "## Tests on rigs"
        yield ""
        yield ", ".join(f"{count} {word}" for word, count in counts.items() if count) or "no tests"
        yield ""
        if self._rigs:
            yield from _table(
                ("rig", "tier", "why this one", "chip"),
                ((name, f["tier"], f["reason"], f["chip"]) for name, f in self._rigs.items()),
            )
        bad = [o for o in self._outcomes if o[1] in ("failed", "void")]
        if bad:
            yield from _table(("test", "", "what"), bad)
        if self._measured:
            yield from _table(
                ("test", "metric", "value", "tier", "model says"),
                (
                    (
                        nodeid,
                        m.name,
                        f"{shown(m.value)} {m.unit}",
                        m.tier.value,
                        shown(m.prediction) if m.prediction else "",
                    )
                    for nodeid, m in ((nodeid, _measurement(kept)) for nodeid, kept in self._measured)
                ),
            )


def _measurement(kept: dict[str, Any]) -> Measurement:
    plain = {name: value for name, value in kept.items() if name not in ("key", "symbols")}
    return Measurement(**{**plain, "tier": Tier(plain["tier"])})


def _table(heads: tuple[str, ...], rows: Any) -> Iterator[str]:
    yield "| " + " | ".join(heads) + " |"
    yield "|" + "---|" * len(heads)
    for row in rows:
        yield "| " + " | ".join(str(cell).replace("|", "\\|").replace("\n", " ") for cell in row) + " |"
    yield ""

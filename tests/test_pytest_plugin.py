"""The plug-in in a pytest of its own, on emulated chips; `docs/pytest.md` quotes what it prints."""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from conftest import make_artefact

ARTEFACT = make_artefact(seed=5, name="tiny")
X = np.random.default_rng(8).integers(-30000, 30000, (1000, ARTEFACT.inputs)).astype(np.int16)

pytestmark = pytest.mark.usefixtures("project")


def _is_installed() -> bool:
    from importlib.metadata import entry_points

    return any(entry.value == "hil.pytest_plugin" for entry in entry_points(group="pytest11"))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Programs are compiled once for all tests here."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, cache: Path) -> Path:
    """A user's project: an artefact and a configuration; no part of this repository."""
    ARTEFACT.save(pytester.path / "tiny.artefact")
    np.save(pytester.path / "x.npy", X)
    pytester.makeini(f"[pytest]\nhil_model = tiny.artefact\ncache_dir = {cache}\n")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(p for p in sys.path if p))
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(name, raising=False)
    return pytester.path


def documented(beginning: str) -> list[str]:
    """The lines of the block in docs/pytest.md behind the paragraph that begins so, as patterns."""
    text = (Path(__file__).parents[1] / "docs" / "pytest.md").read_text(encoding="utf-8")
    block = text.split(f"**{beginning}", 1)[1].split("\n\n")[1]
    return [r".*" + re.escape(line.strip()).replace(r"\.\.\.", ".*") + ".*" for line in block.splitlines()]


def run(pytester: pytest.Pytester, *arguments: str) -> pytest.RunResult:
    loaded = [] if _is_installed() else ["-p", "hil.pytest_plugin"]
    return pytester.runpytest_subprocess("-v", "-rs", "-p", "no:xdist", *loaded, *arguments)


HEAD = """
from pathlib import Path
import numpy as np
import pytest
from hil.artefact import load_artefact
from hil.pytest_plugin import *
from hil.quant import run_twin
from hil.trace import Tier
X = np.load("x.npy")
TWIN = lambda x: run_twin(load_artefact(Path("tiny.artefact")), x)
"""

GOOD = (
    HEAD
    + """
def test_rig(rig, request):
    assert (rig.tier, rig.flashed) == (Tier.CYCLE_MODEL, 1)
    assert rig.device.status().stack_bytes > 0

def test_exact(stream, rig):
    trace = stream(X[:20])
    assert_bit_exact(trace, TWIN(X[:20]))
    assert_close(trace, TWIN(X[:20]), lsb=0)
    assert rig.flashed == 1          # the same program: reset, not flashed again

def test_long(stream):
    trace = stream(X)
    assert trace.hashes is not None
    assert_bit_exact(trace, TWIN(X))

def test_measure(stream, measure):
    cycles = measure.cycles(stream(X[:20]), within=relative(0.02))
    assert cycles.tier is Tier.CYCLE_MODEL and cycles.unit == "cycles" and cycles.n == 20
    assert cycles.prediction is None
    sizes = measure.sizes(within=absolute(100))
    assert sizes["flash"].value > 10_000

@pytest.mark.needs("silicon")
def test_only_on_a_chip(rig):
    raise AssertionError

@pytest.mark.needs("energy")
def test_only_with_a_meter(rig):
    raise AssertionError

def test_without_a_rig():
    pass
"""
)


def properties(path: Path) -> dict[str, dict[str, str]]:
    """Of each test in a JUnit file."""
    return {
        str(case.get("name")): {str(p.get("name")): str(p.get("value")) for p in case.iter("property")}
        for case in ElementTree.parse(path).iter("testcase")
    }


def test_a_project_of_its_own(pytester: pytest.Pytester, project: Path) -> None:
    """Fixtures, comparison, measurement, skips with reasons; JUnit, summary and page of all of it."""
    pytester.makepyfile(GOOD)
    done = run(pytester, "--junitxml=j.xml", "--hil-summary=s.md", "--hil-html=p.html")
    done.assert_outcomes(passed=5, skipped=2)
    done.stdout.fnmatch_lines(
        [
            "hil: rigs emulator",
            "*test_rig?emulator? PASSED*",
            "emulator (cycle-model): --rig emulator",
            "*test_measure?emulator?: cycles * cycles (cycle-model, n=20)",
        ]
    )
    done.stdout.re_match_lines(documented("A rig that lacks"))
    found = properties(project / "j.xml")
    assert found["test_exact[emulator]"]["hil.tier"] == "cycle-model"
    assert found["test_exact[emulator]"]["hil.artefact"] == ARTEFACT.sha256()
    assert json.loads(found["test_measure[emulator]"]["hil.measured.cycles"])["tier"] == "cycle-model"
    assert "hil.rig" not in found["test_without_a_rig"]
    summary = (project / "s.md").read_text()
    assert "5 passed, 2 skipped" in summary
    assert "| emulator | cycle-model | --rig emulator |" in summary
    assert re.search(r"\| cycles \| [0-9,.]+ cycles \| cycle-model \|", summary)
    page = (project / "p.html").read_text()
    assert "sequence 0, state" in page
    assert "tiny" in page


WRONG = (
    HEAD
    + """
from hil.codegen import emit_c
import hil.pytest_plugin.bench as bench

def planted(artefact, **how):
    "One step too much in unit 2 of layer 0, at step 616."
    [(name, text)] = emit_c(artefact, **how).items()
    head, call = "void model_reset(void)\\n{\\n", "embedded_gru_update(&recurrent0, &recurrent0_state);"
    assert head in text and call in text
    text = text.replace(head, "static unsigned at;\\n" + head + "    at = 0;\\n", 1)
    return {name: text.replace(call, call + "\\n    if (at++ == 616) { recurrent0_h_q15[2]++; }", 1)}

bench.emit_c = planted

def test_one_lsb(stream):
    assert_bit_exact(stream(X), TWIN(X))

def test_close(stream):
    from hil.link.schema import Detail
    trace = stream(X[:700], Detail.STATES)
    assert_close(trace, TWIN(X[:700]), lsb=30000)
    assert_close(trace, TWIN(X[:700]), lsb=0)
"""
)


def test_one_lsb_in_one_unit_at_one_step_is_found_and_named(pytester: pytest.Pytester) -> None:
    """Model, rig, sequence, step, layer, unit, operation, expected, got, and the command that repeats it."""
    pytester.makepyfile(test_planted=WRONG)
    done = run(pytester)
    done.assert_outcomes(failed=2)
    done.stdout.re_match_lines(documented("The device differs"))
    done.stdout.re_match_lines(documented("Too far"))


VOID = (
    HEAD
    + """
def test_cable(rig, stream):
    rig._rig.board.vanish()
    stream(X[:20])

def test_the_next_one(stream):
    assert_bit_exact(stream(X[:20]), TWIN(X[:20]))

def test_firmware(rig):
    from hil.link.schema import Crash
    rig.device.crash(Crash.HARD_FAULT)

def test_after_a_fault(stream):
    assert_bit_exact(stream(X[:20]), TWIN(X[:20]))
"""
)


def test_a_bench_fault_makes_a_test_void(pytester: pytest.Pytester, project: Path) -> None:
    """The run fails, no firmware is blamed, and the next test has a healthy rig; a fault of the firmware is its own."""
    pytester.makepyfile(VOID)
    done = run(pytester, "--junitxml=j.xml", "--hil-summary=s.md")
    assert done.ret == 1
    done.stdout.fnmatch_lines(
        [
            "*test_cable?emulator? VOID*",
            "*test_the_next_one?emulator? PASSED*",
            "*test_firmware?emulator? FAILED*",
            "*test_after_a_fault?emulator? PASSED*",
            "*VOID: the bench failed, nothing is said about the firmware*",
            "*test_cable?emulator?: *",
            "*1 failed, 2 passed, 1 void in *",
        ]
    )
    for block in ("The bench failed", "The firmware failed"):
        done.stdout.re_match_lines(documented(block))
    assert "hil.void" in properties(project / "j.xml")["test_cable[emulator]"]
    assert "1 void" in (project / "s.md").read_text()


def test_a_rig_that_is_not_there(pytester: pytest.Pytester) -> None:
    """With --no-fallback: every test on it is VOID, the others run."""
    pytester.makepyfile("def test_it(rig): pass\ndef test_other(): pass")
    done = run(pytester, "--rig", "samd21", "--no-fallback")
    assert done.ret == 1
    done.stdout.fnmatch_lines(["*test_it?samd21? VOID*", "*test_other PASSED*", "*--no-fallback*"])


def test_a_rig_that_stands_in_is_named(pytester: pytest.Pytester) -> None:
    """In test properties and the summary, with what was not there."""
    pytester.makepyfile("def test_it(rig): assert rig.name == 'emulator'")
    done = run(pytester, "--rig", "samd21")
    done.assert_outcomes(passed=1)
    done.stdout.fnmatch_lines(["*test_it?samd21? PASSED*", "emulator (cycle-model): --rig samd21; samd21: *"])


def test_an_unknown_rig_is_an_error(pytester: pytest.Pytester) -> None:
    """Before any test, with the known ones."""
    pytester.makepyfile("def test_it(rig): pass")
    done = run(pytester, "--rig", "emulatr")
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    done.stderr.fnmatch_lines(["*no such rig; did you mean 'emulator'?*"])


def test_two_rigs(pytester: pytest.Pytester) -> None:
    """Each test runs on each."""
    other = "name = 'second'\nkind = 'emulator'\nchip = 'atsamd21g18a'\ntimeout_s = 10.0\n"
    (pytester.path / "second.toml").write_text(other + "[board]\nsercom = 3\n")
    pytester.makepyfile(HEAD + "\ndef test_it(stream): assert_bit_exact(stream(X[:9]), TWIN(X[:9]))\n")
    done = run(pytester, "--rig", "emulator", "--rig-file", "second.toml")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(["*test_it?emulator? PASSED*", "*test_it?second? PASSED*"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--update-baseline"], "--update-baseline needs --baseline DIR"),
        (["--rig-timeout", "0"], "must be above 0"),
        (["--rig-file", "nothing.toml"], "nothing.toml"),
    ],
)
def test_wrong_options(pytester: pytest.Pytester, arguments: list[str], message: str) -> None:
    """Said before any test."""
    done = run(pytester, *arguments)
    assert done.ret == pytest.ExitCode.USAGE_ERROR
    assert message in done.stderr.str()


def test_wrong_markers(pytester: pytest.Pytester) -> None:
    """An unknown need, and a test that needs a model where none is named."""
    (pytester.path / "tox.ini").unlink(missing_ok=True)
    pytester.makepyfile(
        """
        import pytest
        @pytest.mark.needs("luck")
        def test_need(rig): pass
        @pytest.mark.model("nothing.artefact")
        def test_model(rig): pass
        """
    )
    done = run(pytester)
    done.assert_outcomes(errors=2)
    done.stdout.fnmatch_lines(["*needs('luck'): unknown; one of silicon, energy*", "*no model 'nothing.artefact'*"])


REGRESSION = (
    HEAD
    + """
import os
import hil.pytest_plugin.bench as bench
from hil.codegen import emit_c

MORE = os.environ.get("MORE", "")

def slower(artefact, **how):
    [(name, text)] = emit_c(artefact, **how).items()
    if MORE:
        text += "\\nextern const uint8_t more[200];\\nconst uint8_t more[200] = {1};\\n"
        head = "void model_step(const int16_t *x)\\n{\\n"
        loop = "    for (volatile unsigned i = 0; i < 40; i++) { (void)more[i]; }\\n"
        text = text.replace(head, head + loop.replace("(void)more[i]", "(void)*(volatile const uint8_t *)&more[i]"), 1)
        text = text.replace("void model_reset", "extern const uint8_t more[200];\\nvoid model_reset", 1)
    return {name: text}

bench.emit_c = slower

def test_cycles(stream, measure):
    measure.cycles(stream(X[:20]), within=relative(0.02))

def test_sizes(rig, measure):
    measure.sizes(within=absolute(100))

def test_given(rig, measure):
    measure("wrong", 3, "decisions", within=absolute(1))
"""
)


def test_regressions_fail_their_tests(
    pytester: pytest.Pytester, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """+200 bytes and more cycles: failed tests that name the symbol; other tiers are refused."""
    pytester.makepyfile(test_it=REGRESSION)
    first = run(pytester, "--baseline", "base")
    first.assert_outcomes(failed=3)
    no_baseline, other_tier = documented("A baseline")
    first.stdout.re_match_lines([no_baseline])
    assert run(pytester, "--baseline", "base", "--update-baseline").ret == 0
    assert run(pytester, "--baseline", "base").ret == 0
    monkeypatch.setenv("MORE", "1")
    worse = run(pytester, "--baseline", "base", "--junitxml=j.xml")
    worse.assert_outcomes(failed=2, passed=1)
    worse.stdout.re_match_lines(documented("More cycles"))
    assert ElementTree.parse(project / "j.xml").getroot()[0].get("failures") == "2"
    monkeypatch.delenv("MORE")
    path = project / "base" / "test_it.json"
    path.write_text(path.read_text().replace('"cycle-model"', '"silicon"'))
    other = run(pytester, "--baseline", "base", "-k", "given")
    other.assert_outcomes(failed=1)
    other.stdout.re_match_lines([other_tier])
    path.write_text("{")
    run(pytester, "--baseline", "base", "-k", "given").stdout.fnmatch_lines(["*is no baseline*"])


BENCHED = (
    HEAD
    + """
@pytest.mark.benchmark(timer=DEVICE_CLOCK)
def test_step(benchmark, stream):
    trace = benchmark.pedantic(stream, args=(X[:10],), rounds=3, iterations=1)
    assert_bit_exact(trace, TWIN(X[:10]))
"""
)


def test_pytest_benchmark_counts_the_devices_cycles(pytester: pytest.Pytester, project: Path) -> None:
    """Whole cycles, the rig in the machine's description; a stored run of silicon is not compared."""
    pytester.makepyfile(BENCHED)
    done = run(pytester, "--benchmark-json=b.json", "--benchmark-save=one")
    done.assert_outcomes(passed=1)
    assert "time in cycle" in done.stdout.str()
    table = json.loads((project / "b.json").read_text())
    stats = table["benchmarks"][0]["stats"]
    assert stats["rounds"] == 3
    assert stats["min"] == stats["max"] == int(stats["min"]) > 1000
    assert table["machine_info"]["hil"]["tier"] == "cycle-model"
    assert run(pytester, "--benchmark-compare=0001").ret == 0
    [saved] = (project / ".benchmarks").rglob("0001_one.json")
    saved.write_text(saved.read_text().replace('"cycle-model"', '"silicon"'))
    refused = run(pytester, "--benchmark-compare=0001")
    assert refused.ret != 0
    assert (
        "tier cycle-model cannot be compared with stored ones of tier silicon"
        in refused.stdout.str() + refused.stderr.str()
    )


def test_github_annotations(pytester: pytest.Pytester, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Failures as errors, void tests as warnings, and the summary on the job's page."""
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(project / "page.md"))
    pytester.makepyfile(
        test_it="""
        from hil.errors import PortLost
        def test_void(): raise PortLost("bench", "being opened")
        def test_wrong(): assert 1 == 2
        """
    )
    done = run(pytester)
    done.stdout.fnmatch_lines(
        ["::warning file=test_it.py,line=2,*::VOID: PortLost*", "::error file=test_it.py,line=3,*::*"]
    )
    assert "1 failed, 1 void" in (project / "page.md").read_text()


def test_workers_of_xdist_take_rigs_from_the_pool(pytester: pytest.Pytester, project: Path) -> None:
    """Each test runs once, on whichever rig its worker has; measurements and baselines survive."""
    pytest.importorskip("xdist")
    other = "name = 'second'\nkind = 'emulator'\ntimeout_s = 10.0\n[board]\nsercom = 3\n"
    (pytester.path / "second.toml").write_text(other)
    test = "def test_it(stream, measure, i): measure.cycles(stream(X[i : i + 9]))"
    pytester.makepyfile(f"{HEAD}\n@pytest.mark.parametrize('i', range(4))\n{test}\n")
    loaded = [] if _is_installed() else ["-p", "hil.pytest_plugin"]
    done = pytester.runpytest_subprocess(
        *loaded, "-n2", "--rig", "emulator", "--rig-file", "second.toml", "--junitxml=j.xml",
        "--baseline=base", "--update-baseline",
    )  # fmt: skip
    done.assert_outcomes(passed=4)
    rigs = {p["hil.rig"] for p in properties(project / "j.xml").values()}
    assert rigs == {"emulator", "second"}
    assert done.stdout.str().count("(cycle-model, n=9)") == 4
    [base] = (project / "base").iterdir()
    assert "cycles" in base.read_text()

"""Terminal table, page and JSON of a result."""

from __future__ import annotations

import dataclasses
import io
import re
import statistics
from collections import Counter
from html.parser import HTMLParser

import matplotlib as mpl
import numpy as np
import pytest
from rich.console import Console

from hil.codegen import BENCH_KERNELS
from hil.errors import UsageError
from hil.experiment.result import Difference, Epoch, Result, Trajectory, result_from_json
from hil.report import print_result, write_html, write_json
from hil.report.facts import EGRU_STEP, FLOAT_GRU_STEP, WORTH, facts, summary
from hil.trace import Tier

HASHES = {name: f"{i:x}" * 64 for i, name in enumerate(("recipe", "data", "artefact", "elf", "rig", "commit"))}
STATES = tuple(int(v) for v in 9000 * np.sin(np.arange(62) / 5))
RESULT = Result(
    model="keyword-demo",
    rig="emulator",
    rig_reason="no probe is attached",
    tier=Tier.CYCLE_MODEL,
    compiler="arm-none-eabi-gcc 12.2.1",
    clock_hz=48_000_000,
    hashes=HASHES,
    labels=("yes", "no", "silence"),
    accuracy={"float GRU": 0.95, "float eGRU": 0.94, "quantized eGRU": 0.93, "device": 0.92},
    steps=18_600,
    steps_exact=18_600,
    outputs=300,
    outputs_exact=300,
    cycles=(46_010,) * 6_000 + (46_012,) * 9_000 + (46_100,) * 3_600,
    output_cycles=(3_120, 3_122, 3_124),
    void_windows=0,
    overhead_cycles=14,
    parameter_bytes=3_141,
    float_parameter_bytes=36_904,
    flash_bytes=21_412,
    ram_bytes=3_260,
    stack_bytes=412,
    curves={
        name: tuple(Epoch(e, 2.0 / e, 1 - 0.5 / e, 0.95 - 0.5 / e) for e in range(1, 11))
        for name in ("float GRU", "float eGRU", "quantized eGRU")
    },
    confusion=((97, 2, 1), (0, 98, 2), (0, 0, 100)),
    trajectories=(Trajectory("sequence 0, layer 1, unit 3", STATES, STATES),),
    seconds={"train": 62.34},
    notes=("12 feature values were saturated",),
)
DIFFERENT = dataclasses.replace(
    RESULT,
    rig="metro-m0",
    tier=Tier.SILICON,
    compiler="clang 19",
    steps_exact=18_598,
    outputs_exact=299,
    first_difference=Difference(3, 17, 1, 5, "gate", -1204, -1203, 12, 3200),
    trajectories=(Trajectory("sequence 3, layer 1, unit 5", (*STATES[:-2], 1, 2), STATES),),
)
BENCHED = dataclasses.replace(
    RESULT, bench={EGRU_STEP: (20_000, 20_100, 20_200), FLOAT_GRU_STEP: (2_010_000,)}, bench_shape=(64, 30)
)


class Page(HTMLParser):
    """Texts, table rows, attributes and balance of a page."""

    VOID = frozenset({"meta", "br", "img", "link", "hr", "input"})

    def __init__(self, html: str):
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.tags: Counter[str] = Counter()
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.svg_texts: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.ids += [value for name, value in attrs if name == "id"]
        self.references += [value for name, value in attrs if name in {"href", "src", "xlink:href", "data", "action"}]
        self.references += [u for _, value in attrs for u in re.findall(r"url\(([^)]*)\)", value or "")]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in {"td", "th"}:
            self.rows[-1].append("")

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" in self.open:
            self.references += re.findall(r"url\(([^)]*)\)|@import\s+(\S+)", data)
            return
        (self.svg_texts if "svg" in self.open else self.texts).append(data)
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    def row(self, name: str) -> list[str]:
        return next([" ".join(cell.split()) for cell in row] for row in self.rows if row[0].strip() == name)


BARE = dataclasses.replace(RESULT, curves={}, confusion=(), trajectories=(), cycles=(46_010, 46_012, 46_100))
"""With one small plot: pages of it are quick."""


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    """The page of a bit-exact run."""
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_html(RESULT, path)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source) -> Page:
    return Page(source)


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> str:
    """The page of a benched and of a different run."""
    path = tmp_path_factory.mktemp("pages") / "report.html"
    write_html([BENCHED, DIFFERENT], path)
    return path.read_text(encoding="utf-8")


def _page(tmp_path, *results: Result) -> Page:
    path = tmp_path / "report.html"
    write_html(results if len(results) != 1 else results[0], path)
    return Page(path.read_text(encoding="utf-8"))


def _printed(result: Result, width: int = 100, colour: bool = False) -> str:
    console = Console(
        file=io.StringIO(), width=width, force_terminal=colour, color_system="standard" if colour else None
    )
    print_result(result, console)
    return console.file.getvalue()


def test_summary_of_a_bit_exact_run():
    """The closing line names exactness, cycles, time, sizes and tier."""
    assert summary(RESULT) == (
        "bit-exact in 18,600 of 18,600 steps and 300 of 300 outputs; 46,012 cycles a step (median), "
        "0.959 ms at 48 MHz; 3.1 kB of parameters, 21 kB as code; tier: cycle-model"
    )


def test_summary_of_a_different_run():
    """A run that differs does not begin with the words of one that does not."""
    assert summary(DIFFERENT).startswith("NOT bit-exact: equal in 18,598 of 18,600 steps and 299 of 300 outputs;")


def test_one_wrong_output_is_not_bit_exact():
    """Equal states with one wrong output are not called bit-exact."""
    assert summary(dataclasses.replace(RESULT, outputs_exact=299)).startswith("NOT bit-exact")


def test_table_on_the_terminal():
    """The table has every number that the demo promises, and the summary closes it."""
    text = _printed(RESULT, width=140)

    for line in (
        r"float GRU +│ 95\.0 % \(285 of 300\) +│ host",
        r"float eGRU +│ 94\.0 % \(282 of 300\) +│ host",
        r"quantized eGRU +│ 93\.0 % \(279 of 300\) +│ host",
        r"device +│ 92\.0 % \(276 of 300\) +│ cycle-model",
        r"steps +│ bit-exact 18,600 of 18,600 steps +│ cycle-model",
        r"min +│ 46,010 = 0\.959 ms at 48 MHz +│ cycle-model",
        r"median +│ 46,012 = 0\.959 ms at 48 MHz +│ cycle-model",
        r"max +│ 46,100 = 0\.960 ms at 48 MHz +│ cycle-model",
        r"parameters, packed +│ 3,141 bytes \(float GRU: 36,904, 11\.7 times more\)",
        r"flash, whole program +│ 21,412 bytes",
        r"RAM without stack +│ 3,260 bytes",
        r"stack high-water mark +│ 412 bytes",
        r"artefact +│ 2222222222222222 ",
    ):
        assert re.search(line, text), line
    assert text.rstrip().splitlines()[-1] == summary(RESULT)
    assert "note: 12 feature values were saturated" in text


def test_difference_comes_first_and_red():
    """The first thing on the terminal is the first difference, in bold red."""
    text = _printed(DIFFERENT, width=140, colour=True)

    assert text.startswith("\x1b[1;31mDIFFERENCE: metro-m0: sequence 3, step 17, layer 1, unit 5, gate: expected -1204")
    assert "DIFFERENCE" not in _printed(RESULT)


def test_difference_that_was_not_located_is_still_shown():
    """Without a located difference the counts are shown."""
    lost = dataclasses.replace(DIFFERENT, first_difference=None)
    assert _printed(lost, width=140).startswith("DIFFERENCE: metro-m0: 2 steps and 1 outputs differ from the twin")


def test_brackets_are_text_on_the_terminal():
    """Square brackets in names are not taken for colours."""
    odd = dataclasses.replace(RESULT, rig="[red]rig[/]", notes=("[bold]note",), compiler="[/]")
    text = _printed(odd)

    assert "keyword-demo on [red]rig[/]" in text
    assert "note: [bold]note" in text


@pytest.mark.parametrize("width", [20, 40, 80, 200])
def test_any_width(width):
    """The summary stays one line on a terminal of any width."""
    assert _printed(RESULT, width=width).rstrip().splitlines()[-1] == summary(RESULT)


def test_values_on_the_page(page):
    """The page's table has the numbers, each with its tier."""
    assert page.row("float GRU") == ["float GRU", "95.0 % (285 of 300)", "host"]
    assert page.row("device") == ["device", "92.0 % (276 of 300)", "cycle-model"]
    assert page.row("steps") == ["steps", "bit-exact 18,600 of 18,600 steps", "cycle-model"]
    assert page.row("median") == ["median", "46,012 = 0.959 ms at 48 MHz", "cycle-model"]
    assert page.row("flash, whole program") == ["flash, whole program", "21,412 bytes"]
    assert page.row("stack high-water mark") == ["stack high-water mark", "412 bytes", "cycle-model"]
    assert page.row("empty window, already subtracted")[1:] == ["14", "cycle-model"]
    for name, digest in HASHES.items():
        assert [name, digest] in [[c.strip() for c in row] for row in page.rows]
    assert summary(RESULT) in page.text
    assert "12 feature values were saturated" in page.text
    assert page.row("train") == ["train", "62.3 s"]


def test_page_needs_nothing_else(sources):
    """No address occurs in the page; every reference is to a part of itself; ids are unique; tags are balanced."""
    page = Page(sources)

    assert "http" not in sources
    assert "//" not in re.sub(r"data:[^\"')]*", "", sources)
    assert page.tags["script"] == page.tags["link"] == page.tags["img"] == page.tags["iframe"] == 0
    assert page.references
    assert all(r.strip("'\"").startswith(("#", "data:")) for r in page.references)
    assert {r.strip("'\"")[1:] for r in page.references if "#" in r} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert page.open == []


def test_page_has_the_four_plots(page):
    """Learning curves, confusion matrix, cost of each step and trajectories are drawn, with their texts."""
    drawn = " ".join(" ".join(page.svg_texts).split())

    assert page.tags["svg"] == page.tags["figure"] == 4
    for text in (
        *RESULT.curves,
        *RESULT.labels,
        "97",
        "cycles a step (cycle-model), median dashed",
        "sequence 0, layer 1, unit 3: largest difference 0 LSB of Q15",
    ):
        assert text in drawn


def test_plots_follow_the_colours_of_the_page(sources):
    """Every colour of a plot is one of the page's variables or white, so that dark mode reaches it."""
    defined = set(re.findall(r"(--[a-z-]+):", sources[: sources.index("</style>")]))
    plots = re.findall(r"<svg.*?</svg>", sources, flags=re.DOTALL)

    assert len(plots) == 8
    for svg in plots:
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= {"#ffffff"}
        assert set(re.findall(r"var\((--[a-z-]+)\)", svg)) <= defined


def test_same_result_same_page(source, tmp_path):
    """The page depends on the result only."""
    write_html(RESULT, tmp_path / "again.html")

    assert (tmp_path / "again.html").read_text(encoding="utf-8") == source


def test_plotting_leaves_matplotlib_as_it_was(tmp_path):
    """No setting of matplotlib changes and pyplot holds no figure."""
    before = dict(mpl.rcParams)
    _page(tmp_path, RESULT)

    assert dict(mpl.rcParams) == before
    import matplotlib.pyplot as plt

    assert plt.get_fignums() == []


def test_difference_on_the_page(tmp_path):
    """A difference stands before the summary; the trajectory says how large it is and marks the steps."""
    page = _page(tmp_path, DIFFERENT)

    assert page.text.index("sequence 3, step 17, layer 1, unit 5, gate: expected -1204, got -1203") < page.text.index(
        "NOT bit-exact"
    )
    assert "✗ differs from the twin" in page.text
    assert "✓ bit-exact" not in page.text
    largest = max(abs(a - b) for a, b in zip(STATES[-2:], (1, 2), strict=True))
    drawn = " ".join(page.svg_texts)
    assert f"largest difference {largest:,} LSB of Q15" in drawn
    assert "differs" in drawn


def test_bit_exact_page_has_no_alarm(page):
    """A bit-exact page says so and shows no difference."""
    assert "✓ bit-exact" in page.text
    assert "First difference" not in page.text
    assert "differs" not in " ".join(page.svg_texts)


@pytest.mark.parametrize("tier", [t for t in Tier if t is not Tier.SILICON])
def test_only_silicon_is_measured(tier, tmp_path):
    """The word *measured* occurs with the tier silicon and with no other."""
    modelled = dataclasses.replace(BARE, tier=tier, trajectories=RESULT.trajectories)

    assert "measured" not in _page(tmp_path, modelled).text + _printed(modelled)
    assert "measured" not in WORTH[tier]
    assert "measured on a chip" in _page(tmp_path, dataclasses.replace(BARE, tier=Tier.SILICON)).text


def test_instructions_are_not_cycles(tmp_path):
    """With the tier instruction-count no cycle and no millisecond is claimed."""
    counted = dataclasses.replace(BARE, tier=Tier.INSTRUCTION_COUNT)
    values = [fact.value for fact in facts(counted) if "step" in fact.group]
    page = _page(tmp_path, counted)

    assert "46,012 instructions a step (median); " in summary(counted)
    assert not any(" ms " in value for value in values)
    assert "instructions a step (instruction-count), median dashed" in " ".join(page.svg_texts)
    assert "Cost of a step (instructions)" in page.text


def test_every_number_of_the_device_has_its_tier():
    """Accuracy, exactness, cost, kernels and stack carry a tier; sizes and hashes have none."""
    for fact in facts(BENCHED):
        without = fact.group in {"Run", "Hashes"} or (fact.group == "Memory" and "stack high" not in fact.name)
        assert (fact.tier is None) == without, fact


def test_gain():
    """The gain is the ratio of the medians of the two recurrent kernels, with their shape."""
    lines = {fact.name: fact for fact in facts(BENCHED)}

    assert lines["gain: eGRU step over float GRU step"].value == "100.0 times fewer cycles"
    assert lines[EGRU_STEP].group == "Kernels (D=64, H=30), median cycles a call"
    assert lines[EGRU_STEP].value.startswith("20,100 = 0.419 ms")
    assert not any(fact.name.startswith("gain") for fact in facts(RESULT))
    assert {EGRU_STEP, FLOAT_GRU_STEP} <= set(BENCH_KERNELS)


def test_gain_over_the_int8_gru():
    """Only where that was benched too; two digits, because it is small."""
    name = "gain: eGRU step over int8 GRU step"
    assert name not in {fact.name for fact in facts(BENCHED)}
    egru = statistics.median(BENCHED.bench[EGRU_STEP])
    both = dataclasses.replace(BENCHED, bench={**BENCHED.bench, "gru8_step": (round(1.784 * egru),)})
    assert {fact.name: fact.value for fact in facts(both)}[name] == "1.78 times fewer cycles"


def test_several_results_on_one_page(sources):
    """Runs stand side by side under names that tell them apart, each number with its own tier."""
    page = Page(sources)
    steps = page.row("steps")

    assert page.rows[0][1:] == ["emulator, arm-none-eabi-gcc 12.2.1", "metro-m0, clang 19"]
    assert steps == [
        "steps",
        "bit-exact 18,600 of 18,600 steps cycle-model",
        "bit-exact 18,598 of 18,600 steps silicon",
    ]
    assert page.row("gain: eGRU step over float GRU step")[1:] == ["100.0 times fewer cycles cycle-model", "none"]
    assert page.tags["svg"] == 8
    assert {"run-0", "run-1"} <= set(page.ids)
    assert page.text.index("metro-m0: sequence 3, step 17") < page.text.index("2 runs, side by side")


def test_names_are_escaped(tmp_path):
    """Markup, dollar signs and letters without a glyph in labels, notes and names are text."""
    odd = dataclasses.replace(
        BARE,
        model="<b>model</b>",
        labels=("<i>a</i>", "$x$ and $", "日本"),
        notes=("<script>alert(1)</script>",),
        confusion=RESULT.confusion,
        trajectories=(Trajectory("unit $3 <x>", STATES, STATES),),
    )
    page = _page(tmp_path, odd)

    assert page.tags["b"] == page.tags["i"] == page.tags["script"] == 0
    assert "<b>model</b>" in page.text
    assert "<script>alert(1)</script>" in page.text
    for label in odd.labels:
        assert label in page.svg_texts
    assert any(text.startswith("unit $3 <x>") for text in page.svg_texts)


@pytest.mark.parametrize(
    "change",
    [
        {"cycles": (46_012,) * 100},
        {"cycles": (46_012,)},
        {"cycles": tuple(range(40_000, 60_000, 7))},
        {"cycles": (1, 2_000_000_000) * 500},
        {"cycles": (), "output_cycles": (), "void_windows": 18_600},
        {"curves": {"float eGRU": (Epoch(1, 0.0, 1.0, 1.0),)}},
        {"curves": {"float GRU": (Epoch(1, float("nan"), 0.1, 0.1), Epoch(2, float("inf"), 0.1, 0.1))}},
        {"curves": {f"model {i}": RESULT.curves["float GRU"] for i in range(5)}},
        {"curves": {}, "confusion": (), "trajectories": (), "seconds": {}, "notes": ()},
        {"confusion": ((0, 0, 0),) * 3},
        {"labels": tuple("abcdefghijklmnopqrstuvwxyz"), "confusion": ((1,) * 26,) * 26},
        {"trajectories": RESULT.trajectories * 6},
        {"trajectories": (Trajectory("short", STATES[:3], STATES),)},
        {"trajectories": (Trajectory("empty", (), ()),)},
        {"accuracy": {"device": 1 / 3}},
        {"outputs": 0, "outputs_exact": 0, "steps": 0, "steps_exact": 0},
        {"parameter_bytes": 0, "float_parameter_bytes": 0},
        {"bench": {EGRU_STEP: ()}},
    ],
    ids=lambda change: " ".join(change),
)
def test_results_at_their_limits(change, tmp_path):
    """One step, equal steps, no step, a loss of 0, empty rows, many classes: each gives a page and a table."""
    result = dataclasses.replace(BARE, **change)
    page = _page(tmp_path, result)

    assert summary(result) in page.text
    assert summary(result) in _printed(result)
    assert page.tags["svg"] == sum(
        bool(part) for part in (result.curves, result.confusion, result.cycles, result.trajectories)
    )


def test_no_valid_window_is_said():
    """Without a valid window there is no cycle count, and the table says so."""
    void = dataclasses.replace(RESULT, cycles=(), output_cycles=(), void_windows=18_600)
    lines = {fact.name: fact for fact in facts(void)}

    assert "; no valid window; " in summary(void)
    assert (lines["median"].value, lines["median"].good) == ("no valid window", False)
    assert lines["windows left out (interrupt inside)"].value == "18,600"


def test_median_of_an_even_number_keeps_its_half():
    """The median of 10 and 11 is 10.5, not 10."""
    even = dataclasses.replace(RESULT, cycles=(10, 11))
    assert "10.5 cycles a step (median)" in summary(even)


def test_accuracy_that_is_no_count_has_no_count():
    """An accuracy over other clips than the outputs is shown without a made-up count."""
    odd = dataclasses.replace(RESULT, accuracy={"float GRU": 0.9512})
    assert [f.value for f in facts(odd) if f.name == "float GRU"] == ["95.1 %"]


def test_json_reads_back(tmp_path):
    """A result written as JSON reads back equal, difference and bench included."""
    for i, result in enumerate((RESULT, DIFFERENT, BENCHED)):
        write_json(result, tmp_path / "new" / f"{i}.json")
        assert result_from_json((tmp_path / "new" / f"{i}.json").read_text()) == result


def test_empty_report_is_refused(tmp_path):
    """No result, no page: the error says what to run, and nothing is written."""
    with pytest.raises(UsageError, match="at least one result"):
        write_html([], tmp_path / "report.html")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_html, write_json])
def test_report_that_cannot_be_written(write, tmp_path):
    """A path below a file is a UsageError; an old page stays whole and no part is left beside it."""
    blocked = tmp_path / "file"
    blocked.write_text("old")
    with pytest.raises(UsageError, match="cannot be written"):
        write(BARE, blocked / "report")
    (tmp_path / "folder").mkdir()
    with pytest.raises(UsageError, match="cannot be written"):
        write(BARE, tmp_path / "folder")

    assert blocked.read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder"]

"""Tables on stdout."""

from __future__ import annotations

import statistics

from rich.console import Console
from rich.table import Table

from hil.experiment.bench import EGRU, FLOAT_GRU, GRU8, Bench
from hil.experiment.predict import error_percent
from hil.experiment.result import Result
from hil.experiment.workspace import Workspace
from hil.firmware import Firmware
from hil.link.device import Hello
from hil.trace import Tier

REPORT = "report.html"


def show_result(result: Result, ws: Workspace) -> None:
    """The closing table, and the HTML report beside the result."""
    from hil.report import print_result, write_html

    with ws.progress.task("writing the report"):
        write_html(result, ws.path(REPORT))
    console = Console()
    print_result(result, console)
    console.print(f"report: {ws.path(REPORT)}", highlight=False, soft_wrap=True)


def show_firmware(firmware: Firmware) -> None:
    """Sizes by memory and section."""
    table = Table(title=f"{firmware.chip.name}, {firmware.compiler_version}, -O{firmware.optimize}")
    for heading in ("section", "bytes"):
        table.add_column(heading, justify="right" if heading == "bytes" else "left")
    for name, size in firmware.sections.items():
        table.add_row(name, str(size))
    table.add_section()
    table.add_row("flash", str(firmware.flash_bytes))
    table.add_row("RAM without stack", str(firmware.ram_bytes))
    console = Console()
    console.print(table)
    console.print(f"ELF {firmware.elf_sha256}\nbuild {firmware.build_id}", highlight=False)


def show_hello(hello: Hello) -> None:
    """Who answers."""
    table = Table(show_header=False)
    for name, value in (
        ("chip", f"DID {hello.device_id:#010x}, serial number {hello.serial}"),
        ("clock", f"{hello.clock_hz / 1e6:g} MHz"),
        ("build", hello.build_id),
        ("artefact", hello.artefact_hash),
        ("model", f"{hello.inputs} inputs, {hello.layers} layers, {hello.states} units, {hello.outputs} outputs"),
        ("flash wait states", f"{hello.nvm_ctrlb >> 1 & 15} (NVMCTRL.CTRLB {hello.nvm_ctrlb:#x})"),
        ("window overhead", f"{hello.overhead} cycles, subtracted"),
    ):
        table.add_row(name, value)
    Console().print(table, highlight=False)


def show_bench(bench: Bench) -> None:
    """Cycles by kernel, and the ratio."""
    table = Table(title=f"{bench.rig} ({bench.tier.value}), D={bench.inputs}, H={bench.units}, {bench.compiler}")
    table.add_column("kernel")
    counted = "instructions" if bench.tier is Tier.INSTRUCTION_COUNT else "cycles"
    for heading in (f"{counted} min", "median", "max", f"ms at {bench.clock_hz / 1e6:g} MHz"):
        table.add_column(heading, justify="right")
    for heading in ("cycle model", "its error") if bench.predicted else ():
        table.add_column(heading, justify="right")
    for name, cycles in bench.cycles.items():
        median = statistics.median(cycles)
        milliseconds = f"{1e3 * median / bench.clock_hz:.4f}" if counted == "cycles" else "-"
        row = [name, f"{min(cycles):,}", f"{median:,.1f}", f"{max(cycles):,}", milliseconds]
        if name in bench.predicted:
            said = statistics.median(bench.predicted[name])
            row += [f"{said:,.1f}", f"{error_percent(median, said):+.2f} %"]
        table.add_row(*row)
    console = Console()
    console.print(table)
    console.print(f"rig: {bench.rig} ({bench.tier.value}): {bench.rig_reason}", highlight=False, soft_wrap=True)
    rate = f"{bench.link_bytes_per_s:,.0f} bytes a second at {bench.baud:,} baud, both ways together"
    console.print(f"link: {rate} ({bench.tier.value})", highlight=False)
    if bench.ratio is not None:
        console.print(f"{FLOAT_GRU} / {EGRU}: {bench.ratio:.1f} ({bench.tier.value})", highlight=False)
    if EGRU in bench.cycles and GRU8 in bench.cycles:
        honest = statistics.median(bench.cycles[GRU8]) / statistics.median(bench.cycles[EGRU])
        console.print(f"{GRU8} / {EGRU}: {honest:.2f} ({bench.tier.value})", highlight=False)

"""A result on the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil.experiment.result import Result
from hil.report.facts import Fact, facts, first_difference, grouped, summary

_SHOWN_DIGITS = 16
"""Of a hash; the page and the JSON file have all of them."""


def print_result(result: Result, console: Console) -> None:
    """
    Show a result: the first difference if there is one, a table, notes, and a summary in one line.

    Args:
        result: What to show.
        console: Where; without colours where it has none.
    """
    if not result.bit_exact:
        console.print(Text(f"DIFFERENCE: {first_difference(result)}", style="bold red"))
    console.print(_table(result))
    for note in result.notes:
        console.print(Text(f"note: {note}", style="yellow"))
    style = "bold green" if result.bit_exact else "bold red"
    console.print(Text(summary(result), style=style), soft_wrap=True)


def _table(result: Result) -> Table:
    table = Table(title=Text(f"{result.model} on {result.rig}"), title_justify="left", show_header=True)
    table.add_column("", no_wrap=False)
    table.add_column("value", overflow="fold")
    table.add_column("tier", no_wrap=True)
    for group, lines in grouped(facts(result)).items():
        table.add_row(Text(group, style="bold"), "", "")
        for line in lines:
            table.add_row(Text(f"  {line.name}"), _value(line), Text(line.tier.value if line.tier else "", style="dim"))
        table.add_section()
    return table


def _value(line: Fact) -> Text:
    shown = line.value[:_SHOWN_DIGITS] if line.group == "Hashes" else line.value
    style = {True: "green", False: "bold red", None: ""}[line.good]
    return Text(shown, style=style)

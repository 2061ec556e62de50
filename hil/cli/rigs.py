"""`hil rigs`: rigs that are known by name, and what is attached now."""

from __future__ import annotations

import click

from hil.cli.common import examples, options


@click.command(short_help="Rigs, and what is attached now", epilog=examples("hil rigs"))
@options()
def rigs() -> None:
    """Rigs that are known by name, whether each is there now, and the probes and ports that are attached."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    from hil.cli.attached import Attached
    from hil.cli.progress import make_progress
    from hil.rig import load_rig_file, rig_files

    files = {path: load_rig_file(path) for path in rig_files().values()}
    with make_progress().task("looking for debug probes"):
        attached = Attached(list(files.values()))
    table = Table()
    for heading in ("rig", "kind", "chip", "here now", "what it is", "file"):
        table.add_column(heading)
    for path, file in files.items():
        chips = ", ".join(dict.fromkeys(variant.chip for variant in file.candidates()))
        chips = file.chip if file.kind != "board" else chips
        table.add_row(file.name, file.kind, chips, escape(attached.says(file)), escape(file.description), str(path))
    console = Console()
    console.print(table)
    for name, found, trouble in (
        ("debug probes", [str(probe) for probe in attached.probes], attached.trouble),
        ("serial ports", [str(port) for port in attached.ports], ""),
    ):
        shown = "; ".join(found) or trouble or "none"
        console.print(f"{name}: {shown}", highlight=False, markup=False, soft_wrap=True)

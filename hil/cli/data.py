"""``hil data``: the publishers' data sets, and whether sound files can be used."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import click

from hil.cli.common import DEBUG, examples


@click.group(
    name="data",
    short_help="Data sets: list, get, check",
    epilog=examples("hil data list", "hil data get fsdd", "hil data check esc10", "hil data check sounds/"),
)
def data() -> None:
    """
    Data sets of real sounds: which there are, downloads, and files that cannot be used.

    HIL_DATA names a folder of data sets that are already there, in their publishers' layout; downloads go to
    HIL_CACHE, else to the user's cache.
    """


@data.command(name="list", short_help="Data sets, and where they lie here", epilog=examples("hil data list"))
@DEBUG
def list_() -> None:
    """Data sets, their licences, and where they lie here."""
    from rich.console import Console
    from rich.table import Table

    from hil.datasets.sources import list_data

    table = Table(show_header=False, show_lines=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for line in list_data():
        size = line.source.archive_bytes or line.source.unpacked_bytes
        about = "" if line.source.archive_bytes else "at most "
        place = f"here: {line.place}" if line.place else f"not here: `hil data get {line.source.name}`"
        download = f"download: {about}{size / 1e6:,.0f} MB"
        table.add_row(line.source.name, "\n".join((line.source.title, line.source.licence, download, place)))
    Console().print(table)


@data.command(
    short_help="Download from the publisher",
    epilog=examples("hil data get fsdd", "HIL_CACHE=/big/disk hil data get speech-commands"),
)
@click.argument("name")
@DEBUG
def get(name: str) -> None:
    """
    Download a data set from its publisher, verify its SHA-256, and unpack it into the cache.

    Ctrl-C or a cut connection leaves a part; the same command continues there. What is there is not downloaded again.
    """
    from hil.cli.progress import make_progress
    from hil.datasets.places import download_folder, find_data
    from hil.datasets.sources import find_source, get_data

    source = find_source(name)
    progress = make_progress()
    place = find_data(source.name)
    if place is not None and place.parent != download_folder():
        progress.say(f"HIL_DATA ({os.environ.get('HIL_DATA')}) has it already; unset HIL_DATA to download it.")
        click.echo(place)
        return
    progress.say(f"{source.title}\nlicence: {source.licence}\nfrom {source.url}")
    with progress.task(f"download {source.name}") as update:
        folder = get_data(source, lambda what, done, total: update(done, total, f"{what} {source.name}, bytes"))
    click.echo(folder)


@data.command(
    short_help="Files that cannot be used",
    epilog=examples("hil data check fsdd", "hil data check sounds/"),
)
@click.argument("name_or_folder")
@DEBUG
def check(name_or_folder: str) -> int:
    """
    Read every sound file of a data set or folder, and list those that cannot be used, with the reason.

    Exit code 2 if there is one. Training refuses such files unless it is told to leave them out (--skip-bad).
    """
    from rich.console import Console
    from rich.table import Table

    from hil.cli.progress import make_progress
    from hil.datasets.audio import Sound, inspect_sounds, sound_files

    root = _root(name_or_folder)
    paths = sound_files(root)
    with make_progress().task(f"reading {root}") as update:
        found = dict(zip(paths, inspect_sounds(paths, progress=update), strict=True))
    table = Table(title=str(root), title_justify="left")
    for heading in ("folder", "files", "cannot be used", "minutes", "rates in Hz"):
        table.add_column(heading, justify="left" if heading in ("folder", "rates in Hz") else "right")
    for folder in sorted({path.parent for path in paths}):
        items = [item for path, item in found.items() if path.parent == folder]
        good = [item for item in items if isinstance(item, Sound)]
        minutes = sum(s.samples.size / s.rate_hz for s in good) / 60
        rates = ", ".join(f"{rate} ({count})" for rate, count in sorted(Counter(s.rate_hz for s in good).items()))
        name = folder.relative_to(root).as_posix()
        table.add_row(name, str(len(items)), str(len(items) - len(good)), f"{minutes:.1f}", rates)
    console = Console()
    console.print(table)
    bad = [f"{path.relative_to(root)}: {item}" for path, item in found.items() if isinstance(item, str)]
    for line in bad:
        console.print(line, highlight=False, markup=False, soft_wrap=True)
    console.print(f"{len(bad)} of {len(paths)} files cannot be used", highlight=False)
    return 2 if bad else 0


def _root(name_or_folder: str) -> Path:
    from hil.datasets.places import data_folder
    from hil.datasets.sources import find_source

    folder = Path(name_or_folder)
    if folder.is_dir():
        return folder
    return data_folder(find_source(name_or_folder).name)

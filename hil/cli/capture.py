"""``hil capture``: field recordings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from hil.cli.common import COMPILER, DEBUG, FAST_LOAD, examples, options
from hil.errors import UsageError

if TYPE_CHECKING:
    from hil.capture.reader import Capture, Segment


@click.group(
    name="capture",
    short_help="Field recordings",
    invoke_without_command=True,
    epilog=examples(
        "hil capture --rig none --out walk                      # the laptop's microphone alone",
        "hil capture --rig none --input walk.wav --out walk --fast",
        "hil capture --rig none --out walk --model keyword-demo --trigger detections",
        "hil capture --rig emulator --model speech-commands --input walk.wav --out walk --seconds 20 --fast",
        "hil capture --rig samd21 --model keyword-demo --out walk   # the device's own microphone",
        "hil capture --out walk --resume",
        "hil capture show walk",
    ),
)
@options(
    click.option(
        "--rig",
        default="none",
        show_default=True,
        help='"none": the host\'s sound alone; else a rig (see `hil rigs`) with a microphone of its own.',
    ),
    click.option(
        "--input",
        "given",
        default="",
        help="Device (number or part of its name) or sound file.  [default: the system's microphone]",
    ),
    click.option("--out", type=click.Path(path_type=Path), help="Folder for the capture."),
    click.option("--model", help="Decides about what is heard (on the host with --rig none)."),
    click.option(
        "--rate", type=click.IntRange(4000, 48000), help="Samples a second.  [default: the model's, else 16000]"
    ),
    click.option(
        "--trigger",
        type=click.Choice(["all", "detections", "features"]),
        default="all",
        show_default=True,
        help="Keep all sound, sound around detections, or feature vectors and no sound.",
    ),
    click.option(
        "--before",
        type=click.FloatRange(0, 60),
        default=2.0,
        show_default=True,
        help="Seconds kept before a detection.",
    ),
    click.option(
        "--after", type=click.FloatRange(0, 600), default=2.0, show_default=True, help="Seconds kept after it."
    ),
    click.option(
        "--segment", type=click.FloatRange(1, 3600), default=300.0, show_default=True, help="Longest segment, seconds."
    ),
    click.option("--seconds", type=click.FloatRange(0), help="Stop after so much sound.  [default: at Ctrl-C]"),
    click.option("--consent", help="Note about the consent of those who can be heard."),
    click.option("--resume", is_flag=True, help="Go on with a capture that was interrupted."),
    click.option("--fast", is_flag=True, help="Take a sound file, or an emulated chip's time, as fast as it goes."),
    click.option("--features", is_flag=True, help="With a rig: keep feature vectors beside the sound."),
    COMPILER,
    FAST_LOAD,
)
@click.pass_context
def capture(context: click.Context, /, **values: object) -> None:
    """
    Record sound, with decisions, so that whatever ends the recording leaves it readable.

    Sound goes into a checksummed journal that is on the disk after half a second, and into FLAC when a segment is
    full. After a killed process, a full disk, a pulled cable or a reset, everything up to the last second opens, and
    --resume goes on. Samples that are missing are listed as gaps of exactly that many samples; where nobody could
    count them the gap says that it is estimated. Ctrl-C ends a capture.

    There is no recording without a host: nothing is stored on the device (SD card, flash).

    Recording people may need their consent; --consent notes it beside the sound.
    """
    if context.invoked_subcommand is None:
        from hil.cli.capture_record import Asked, record

        record(Asked(**values))  # type: ignore[arg-type]
        return
    given = [name for name in values if context.get_parameter_source(name) is not ParameterSource.DEFAULT]
    if given:
        raise UsageError(f"hil capture {context.invoked_subcommand}: its options stand behind its name")


@capture.command(short_help="What a capture holds", epilog=examples("hil capture show walk"))
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--decisions", is_flag=True, help="List every decision.")
@DEBUG
def show(folder: Path, decisions: bool) -> None:
    """Segments, gaps, decisions and clocks of a capture; also of one that was interrupted or still runs."""
    from hil.capture import load_capture
    from hil.cli.capture_show import show_capture

    show_capture(load_capture(folder), decisions)


@capture.command(
    short_help="Labels of segments, to and from Audacity",
    epilog=examples(
        "hil capture labels walk --from-detections",
        "hil capture labels walk --write-tracks                 # segment-NNNNNN.txt beside each FLAC",
        "hil capture labels walk --read-tracks                  # after Audacity has changed them",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--from-detections", is_flag=True, help="Label the window of each detection.")
@click.option("--write-tracks", is_flag=True, help="Write a label track for Audacity beside each segment.")
@click.option("--read-tracks", is_flag=True, help="Take the labels from the tracks beside the segments.")
@DEBUG
def labels(folder: Path, from_detections: bool, write_tracks: bool, read_tracks: bool) -> None:
    """List, make or change the labels of a capture: labels.csv, with segment, start and end in seconds, label."""
    from hil.capture import labels as table
    from hil.capture import load_capture

    opened = load_capture(folder)
    if from_detections and read_tracks:
        raise UsageError("--from-detections and --read-tracks both write the table: use one of them")
    if from_detections or read_tracks:
        made = table.detected(opened) if from_detections else table.read_tracks(opened)
        table.check_labels(made, opened)
        table.write_labels(folder, made)
    known = table.read_labels(folder)
    if write_tracks:
        for path in table.write_tracks(opened, known):
            click.echo(path)
        return
    for label in known:
        click.echo(f"segment {label.segment}  {label.start_s:10.3f} to {label.end_s:10.3f} s  {label.label}")
    click.echo(f"{len(known)} labels in {folder / 'labels.csv'}")


@capture.command(
    short_help="Segments as tests, or labelled ones as training data",
    epilog=examples(
        "hil capture export walk --to tests/field               # then: pytest tests/field --rig samd21",
        "hil capture export walk --to tests/field --segments 0,3-5",
        "hil capture export walk --to sounds --as data          # then: hil train --data sounds",
    ),
)
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--to", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder to write into.")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["tests", "data"]),
    default="tests",
    show_default=True,
    help="A parametrized pytest case, or LABEL/*.flac.",
)
@click.option("--segments", default="", help="Such as 0,3-5.  [default: all]")
@click.option(
    "--longest", type=click.FloatRange(1, 3600), default=60.0, show_default=True, help="Longest test, seconds."
)
@DEBUG
def export(folder: Path, to: Path, kind: str, segments: str, longest: float) -> None:
    """
    Make a pytest case, or training data, of chosen segments.

    A test sends a stretch of sound to any rig, compares with the twin bit for bit, and with what was decided in the
    field. Training data are the labelled stretches (`hil capture labels`).
    """
    from hil.capture import load_capture
    from hil.capture.export import export_data, export_tests
    from hil.capture.labels import read_labels

    opened = load_capture(folder)
    chosen = chosen_segments(opened, segments)
    if kind == "tests":
        module = export_tests(opened, chosen, to, longest)
        click.echo(f"{module}: run it with `pytest {module} --rig NAME`")
        return
    numbers = {segment.number for segment in chosen}
    written, left_out = export_data(opened, [one for one in read_labels(folder) if one.segment in numbers], to)
    for line in left_out:
        click.echo(f"left out: {line}", err=True)
    click.echo(f"{to}: {written} files; train on them with `hil train --data {to}`")


def chosen_segments(opened: Capture, text: str) -> list[Segment]:
    """Segments by their numbers.  Raises `UsageError` for one that is not there."""
    known = {segment.number: segment for segment in opened.segments}
    if not text:
        return list(opened.segments)
    numbers: list[int] = []
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers += range(int(first), int(last or first) + 1)
    except ValueError:
        raise UsageError(f"--segments {text!r}: expected numbers and ranges such as 0,3-5") from None
    if missing := [str(number) for number in numbers if number not in known]:
        raise UsageError(f"--segments: {opened.folder} has no segment {', '.join(missing)}")
    return [known[number] for number in numbers]

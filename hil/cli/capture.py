"""``hil capture``: field recordings."""

from __future__ import annotations

from pathlib import Path

import click
from click.core import ParameterSource

from hil.cli.common import DEBUG, examples, options
from hil.errors import UsageError


@click.group(
    name="capture",
    short_help="Field recordings",
    invoke_without_command=True,
    epilog=examples(
        "hil capture --rig none --out walk                      # the laptop's microphone alone",
        "hil capture --rig none --input walk.wav --out walk --fast",
        "hil capture --rig none --out walk --model keyword-demo --trigger detections",
        "hil capture --out walk --resume",
        "hil capture show walk",
    ),
)
@options(
    click.option("--rig", default="none", show_default=True, help='"none": the host\'s sound alone.'),
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
    click.option("--fast", is_flag=True, help="Take a sound file as fast as it can be read."),
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

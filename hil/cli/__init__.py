"""The command ``hil``: one readable message for every error that has a cause a user can act on."""

from __future__ import annotations

import contextlib
import signal
import sys
import traceback
from types import FrameType

import click

from hil.cli.commands import hil
from hil.errors import DeviceError, RigError, ToolError, UsageError

EXIT_DIFFERENT, EXIT_USAGE, EXIT_TOOL, EXIT_RIG, EXIT_DEVICE, EXIT_BUG, EXIT_INTERRUPTED = 1, 2, 3, 4, 5, 70, 130
"""Exit codes: device and twin differ; your call or file; compiler or emulator; bench; firmware; hil itself; Ctrl-C."""
_KINDS: tuple[tuple[type[Exception], int], ...] = (
    (UsageError, EXIT_USAGE),
    (ToolError, EXIT_TOOL),
    (RigError, EXIT_RIG),
    (DeviceError, EXIT_DEVICE),
    (OSError, EXIT_USAGE),  # a full disk, a folder without permission
)


def main(arguments: list[str] | None = None) -> None:
    """Entry point; exits with one of the codes above, or 0."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: list[str]) -> int:
    """Carry out a command line; returns the exit code.  With ``--debug`` errors come with their traceback."""
    _end_on_terminate()
    try:
        code = hil.main(args=arguments, prog_name="hil", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo(
            "\ninterrupted: nothing is left half-written, and no process of hil's runs on. "
            "The same command goes on after the last finished stage.",
            err=True,
        )
        return EXIT_INTERRUPTED
    except Exception as error:
        return _told(error, "--debug" in arguments)
    return code if isinstance(code, int) else 0


def _told(error: Exception, debug: bool) -> int:
    """Print what went wrong; returns the exit code."""
    code = exit_code(error)
    if debug or code == EXIT_BUG:
        traceback.print_exception(error)
    else:
        click.echo(f"error: {error}", err=True)
    if code == EXIT_BUG:
        click.echo("This is a bug in hil. Please report it with the lines above.", err=True)
    return code


def exit_code(error: Exception) -> int:
    """Who has to act, as a number."""
    return next((code for kind, code in _KINDS if isinstance(error, kind)), EXIT_BUG)


def _end_on_terminate() -> None:
    """SIGTERM ends like an exception, so that temporary files and child processes go."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    with contextlib.suppress(ValueError):  # not the main thread: the caller handles signals
        signal.signal(signal.SIGTERM, end)

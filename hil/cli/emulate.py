"""`hil emulate`: any program on the emulated chip, or an emulated board for other programs."""

from __future__ import annotations

from pathlib import Path

import click

from hil.cli.common import RIG_FILE, examples, options
from hil.errors import UsageError

TABLE_ONLY = Path("-")
"""Value of ``--profile`` without a file."""
_ELF_MAGIC = b"\x7fELF"
_FILE = click.Path(path_type=Path, dir_okay=False)
_PROGRAM = click.Path(path_type=Path, exists=True, dir_okay=False)


@click.command(
    short_help="Any program on the emulated chip; an emulated board",
    epilog=examples(
        "hil emulate program.elf                       # until its exit, or Ctrl-C",
        "hil emulate program.elf --port-link /tmp/m0   # then: python -m serial.tools.miniterm /tmp/m0 115200",
        "hil emulate program.elf --realtime",
        "hil emulate program.elf --profile             # cycles by function and line",
        "hil emulate program.elf --profile p.folded    # for flamegraph.pl; *.json for speedscope.app",
        "hil emulate program.elf --trace trace.txt     # every instruction",
        "hil emulate program.elf --adc speech.wav      # what an analog microphone hears",
        "hil emulate program.elf --i2s speech.wav --sound-rate 16000 --sound-end silence",
        "hil emulate --probe                           # then: pyocd list, pyocd gdbserver",
        "hil emulate --probe --serial 0000000000000000000000000000000b",
    ),
)
@click.argument("program", required=False, type=_PROGRAM)
@options(RIG_FILE)
@click.option("--probe", is_flag=True, help="With a debug probe that pyOCD finds: `pyocd list`.")
@click.option(
    "--serial", help="The chip's serial number and the probe's id, 32 hexadecimal digits.  [default: the rig's]"
)
@click.option("--port-link", "--link", "link", type=_FILE, help="A name for the serial port: a symbolic link to make.")
@click.option("--elf", type=_PROGRAM, help="The same as PROGRAM, for a board that Ctrl-C ends and nothing else.")
@click.option("--realtime", is_flag=True, help="Let virtual time keep pace with the clock on the wall.")
@click.option("--adc", type=_PROGRAM, help="Sound file that a microphone at the ADC's pins hears.")
@click.option("--i2s", type=_PROGRAM, help="Sound file that a digital microphone on the I2S line hears.")
@click.option(
    "--sound-rate",
    type=click.IntRange(1000, 200_000),
    help="Bring the sound to this rate first.  [default: that of the rig's microphone, else the file's own]",
)
@click.option(
    "--sound-end",
    type=click.Choice(["silence", "stop"]),
    default="silence",
    show_default=True,
    help="Behind its end: silence, or no more samples, so that the program comes to rest.",
)
@click.option("--trace", type=_FILE, help="Write every instruction with what it changed. Large: 60 bytes for each.")
@click.option(
    "--profile",
    type=_FILE,
    is_flag=False,
    flag_value=str(TABLE_ONLY),
    metavar="[FILE]",
    help="Cycles by function and source line; with FILE also call paths as folded stacks, or for speedscope (.json).",
)
def emulate(
    program: Path | None,
    rig: str,
    probe: bool,
    serial: str | None,
    link: Path | None,
    elf: Path | None,
    realtime: bool,
    adc: Path | None,
    i2s: Path | None,
    sound_rate: int | None,
    sound_end: str,
    trace: Path | None,
    profile: Path | None,
) -> int:
    """
    Run PROGRAM on the emulated chip behind a serial port, until it ends, crashes or Ctrl-C.

    A program ends with BKPT or with semihosting's SYS_EXIT, whose status becomes that of this command; a fault that
    it does not survive ends it with a report and status 5. What it prints by semihosting goes to stdout, all else to
    stderr. Trace and profile make the chip several times slower, and change no cycle.

    Sound is read by virtual time from the first time that the program listens, between two samples of the file along
    a straight line. Full scale of the file is the whole supply at the ADC's pins, around half of it.

    Without PROGRAM, or with --probe or --elf, it is a board for other programs: what runs on it is theirs to say.
    """
    from hil.cli.emulated import Sound, emulate_board, run_and_tell

    if program is None and profile is not None and _is_program(profile):
        program, profile = profile, TABLE_ONLY  # `--profile program.elf`
    if program is not None and not (probe or elf):
        _refuse_overwriting(program, trace, profile)
        sound = Sound(adc, i2s, sound_rate, sound_end == "stop")
        return run_and_tell(
            program, rig, serial=serial, link=link, realtime=realtime, sound=sound, trace=trace, profile=profile
        )
    if realtime or trace or profile is not None or adc or i2s:
        raise UsageError("--realtime, --adc, --i2s, --trace and --profile go with PROGRAM, without --probe and --elf")
    if program is not None and elf is not None:
        raise UsageError(f"two programs, {program} and {elf}: name one")
    emulate_board(rig, probe=probe, serial=serial, link=link, elf=program or elf)
    return 0


def _is_program(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_ELF_MAGIC)) == _ELF_MAGIC
    except OSError:
        return False


def _refuse_overwriting(program: Path, *made: Path | None) -> None:
    for path in made:
        if path is not None and _is_program(path):
            raise UsageError(f"{path}: is a program, and would be overwritten. Name another file.")
    if len({p for p in made if p}) < sum(p is not None for p in made):
        raise UsageError(f"trace and profile of {program} cannot go to the same file")

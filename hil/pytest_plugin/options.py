"""The plug-in's options, and what a test may need of a rig."""

from __future__ import annotations

import os

import pytest

DEFAULT_RIG = "emulator"
NEEDS = {
    "silicon": "a chip",
    "energy": "an energy meter",
    "audio": "a real-time stream of sound",
    "cycles": "cycle counts",
    "clock": "a clock of its own",
    "debug": "evidence after a crash",
}
"""What `needs` may name, in words for the reason of a skip."""
FEATURES = {"audio": "sound"}
"""Needs whose feature in a rig's file has another name."""


def add(parser: pytest.Parser) -> None:
    """All options of the plug-in."""
    group = parser.getgroup("hil", "hil: tests on rigs")
    group.addoption(
        "--rig",
        action="append",
        metavar="NAME",
        help="Run tests that take a rig on this one (`hil rigs`); may be repeated: once for each, or with "
        f"pytest-xdist once on any that is free.  [default: {DEFAULT_RIG}]",
    )
    group.addoption("--rig-file", action="append", metavar="FILE", help="As --rig, from a .toml file.")
    group.addoption("--no-fallback", action="store_true", help="A rig that is not there is an error.")
    group.addoption(
        "--rig-timeout", type=float, metavar="SECONDS", help="How long to wait for each frame.  [default: the rig's]"
    )
    group.addoption("--model", metavar="PATH", help="The model of tests that do not name one.")
    group.addoption("--baseline", metavar="DIR", help="Hold measurements to the baselines in this folder.")
    group.addoption("--update-baseline", action="store_true", help="Write the baselines instead.")
    group.addoption("--hil-compiler", choices=["gcc", "zig"], help="The Arm compiler.  [default: gcc if on PATH]")
    group.addoption("--hil-summary", metavar="FILE", help="A Markdown summary, for a CI job's page.")
    group.addoption("--hil-html", metavar="FILE", help="One page for all rigs: cycles and states against the twin.")
    parser.addini("hil_model", "The model of tests that do not name one, relative to the configuration file.")


def check(config: pytest.Config) -> None:
    """Raises `pytest.UsageError` for options that do not fit together."""
    if config.getoption("--update-baseline") and not config.getoption("--baseline"):
        raise pytest.UsageError("--update-baseline needs --baseline DIR: where to write them")
    timeout = config.getoption("--rig-timeout")
    if timeout is not None and not 0 < timeout <= 600:
        raise pytest.UsageError(f"--rig-timeout {timeout}: must be above 0 and at most 600 seconds")
    for name in [*(config.getoption("--rig") or []), *(config.getoption("--rig-file") or [])]:
        _check_rig(name)


def _check_rig(name: str) -> None:
    from hil.errors import HilError
    from hil.rig import load_rig_file

    try:
        load_rig_file(name)
    except HilError as error:
        raise pytest.UsageError(str(error)) from error


def rig_names(config: pytest.Config) -> list[str]:
    """Rigs as asked for, names first."""
    asked = [*(config.getoption("--rig") or []), *(config.getoption("--rig-file") or [])]
    return asked or [DEFAULT_RIG]


def in_pool(config: pytest.Config) -> bool:
    """Whether the tests run in several workers of pytest-xdist, here or under this controller."""
    return bool(os.environ.get("PYTEST_XDIST_WORKER") or config.getoption("numprocesses", None))

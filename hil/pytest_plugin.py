"""Tests on rigs: ``--rig NAME`` and the fixture ``rig``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from hil.rig import Rig

DEFAULT_RIG = "emulator"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.getgroup("hil").addoption(
        "--rig",
        action="append",
        metavar="NAME",
        help=f"Run tests that take a rig on this one (`hil rigs`, or a .toml file); may be repeated. "
        f"Default: {DEFAULT_RIG}.",
    )


def pytest_report_header(config: pytest.Config) -> str:
    return f"hil: rigs {', '.join(_names(config))}"


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "rig" in metafunc.fixturenames:
        metafunc.parametrize("rig", _names(metafunc.config), indirect=True, scope="module")


@pytest.fixture(scope="module")
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """A rig, not yet flashed; let go of when the module ends."""
    from hil.rig import load_rig

    with load_rig(request.param) as opened:
        yield opened


def _names(config: pytest.Config) -> list[str]:
    return config.getoption("rig") or [DEFAULT_RIG]

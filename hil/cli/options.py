"""Options that commands share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from hil.rig import RigRequest

F = TypeVar("F", bound=Callable[..., Any])
_META, _TRACE = "hil.fallback", "hil.trace"


def rig_option(function: F) -> F:
    """``--rig NAME``, ``--no-fallback`` and ``--trace``: the parameter ``rig`` is a `hil.rig.RigRequest`."""
    asked = click.option(
        "--rig",
        default="emulator",
        show_default=True,
        callback=_request,
        help="Name (see `hil rigs`) or a .toml file. Where it is not there, what its file names stands in.",
    )
    strict = click.option(
        "--no-fallback",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_forbid,
        help="An error if the rig is not there; nothing stands in for it.",
    )
    trace = click.option(
        "--trace",
        is_flag=True,
        is_eager=True,
        expose_value=False,
        callback=_price,
        help="In Renode: price the executed instructions with the core's timing table (trace-priced).",
    )
    return asked(strict(trace(function)))


def _forbid(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_META] = not value


def _price(context: click.Context, _: click.Parameter, value: bool) -> None:
    context.meta[_TRACE] = value


def _request(context: click.Context, _: click.Parameter, value: str) -> RigRequest:
    from hil.rig import RigRequest

    return RigRequest(value, context.meta.get(_META, True), context.meta.get(_TRACE, False))

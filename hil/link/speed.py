"""At which line speed a silent device answers."""

from __future__ import annotations

import contextlib

from hil.errors import LinkTimeout, ProtocolError, RigError, WrongSpeed
from hil.link.conversation import Conversation
from hil.link.schema import PROTOCOL_VERSION, Kind

SPEEDS = (115_200, 500_000, 1_000_000, 57_600, 230_400, 460_800, 921_600)
"""Tried in this order."""
TRY_S = 0.3
"""For each: an answer of 140 bytes takes 25 ms at the slowest."""


def say_if_other_speed(talk: Conversation) -> None:
    """
    Look for a device that does not answer at the other speeds in use, and bring it back to this one.

    Returns if it answers nowhere; the port has the speed that it had.

    Raises:
        WrongSpeed: It answers at another speed.
        PortLost: The port went away.
    """
    here, timeout_s, repetitions = talk.baud, talk.timeout_s, talk.repetitions
    talk.timeout_s = min(timeout_s, TRY_S)
    try:
        found = next((speed for speed in SPEEDS if speed != here and _answers(talk, speed)), None)
        mended = found is not None and _brought_to(talk, here)
    finally:
        talk.timeout_s, talk.repetitions = timeout_s, repetitions
        talk.set_speed(here)
        talk.restart()
    if found is not None:
        raise WrongSpeed(talk.rig, here, found, mended)


def _answers(talk: Conversation, speed: int) -> bool:
    """Whether it does, and says itself that this is its speed (a pseudo-terminal lets any pass)."""
    talk.set_speed(speed)
    talk.restart()
    hello = talk.request(Kind.HELLO, protocol=PROTOCOL_VERSION)
    try:
        (frame,) = talk.exchange(hello, Kind.IS_HELLO, repeats=0)
        return bool(talk.fields(frame)["baud"] == speed)
    except (LinkTimeout, ProtocolError):
        return False


def _brought_to(talk: Conversation, speed: int) -> bool:
    with contextlib.suppress(RigError, ProtocolError):
        talk.ask(Kind.BAUD, Kind.ACK, baud=speed)
        return _answers(talk, speed)
    return False

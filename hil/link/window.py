"""Several requests under way at once: answers in order and complete, whatever is lost on the way."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from hil.errors import LinkTimeout, ProtocolError
from hil.link.codec import Frame
from hil.link.conversation import REPEATS, Conversation
from hil.link.schema import WINDOW, ErrorCode, Flag, Kind


@dataclass
class _UnderWay:
    """A request without its whole answer."""

    request: Frame
    deadline: float
    attempts: int = 1
    parts: list[Frame] = field(default_factory=list)
    whole: bool = False


_END: Any = object()


def ask_window(
    talk: Conversation, kind: Kind, bodies: Iterable[dict[str, Any] | None], want: Kind, window: int = WINDOW
) -> Iterator[list[Frame]]:
    """
    Send requests of one kind, at most ``window`` of them without an answer, and yield the answers in their order.

    A lost request makes the device refuse those after it, which are then sent again with it; a lost answer is kept by
    the device and asked for by repeating its request.  Nothing is carried out twice.

    Args:
        talk: HELLO has been said.
        kind: Of the requests; the device must allow `Flag.STREAM` for it.
        bodies: Fields of each request, taken as they can be sent; None: there is none yet, so answers are read first.
        want: Kind of the answer's last frame.
        window: At most `hil.link.schema.WINDOW`.

    Raises:
        LinkTimeout: A request stayed without an answer 1 + `REPEATS` times.
        DeviceRefusal, PortLost, FirmwareFault, UnexpectedReset, ProtocolError: As `Conversation.exchange`.
    """
    window = max(1, min(window, WINDOW))
    source, under_way, more = iter(bodies), dict[int, _UnderWay](), True
    while more or under_way:
        while more and len(under_way) < window:
            body = next(source, _END)
            more = body is not _END
            if body is _END or body is None:
                break
            request = replace(talk.request(kind, **body), flags=Flag.LAST | Flag.STREAM)
            under_way[request.seq] = _UnderWay(request, time.monotonic() + talk.timeout_s)
            talk.seq += 1
            talk.send(request)
        if under_way:
            _take(talk, under_way, want)
            while under_way and (first := next(iter(under_way.values()))).whole:
                del under_way[first.request.seq]
                yield first.parts


def _take(talk: Conversation, under_way: dict[int, _UnderWay], want: Kind) -> None:
    """One frame of an answer, or the repetition of what has been lost."""
    oldest = next(iter(under_way.values()))
    try:
        frame = talk.next(oldest.deadline, want.name)
    except LinkTimeout as error:
        if oldest.attempts > REPEATS:
            raise error.counted(oldest.attempts, talk.receiver.bad_frames) from None
        _repeat(talk, [oldest])
        return
    entry = under_way.get(frame.seq)
    if entry is None or entry.whole or frame.flags & Flag.UNSOLICITED:
        return  # of a request that has been answered
    if frame.kind == Kind.ERROR:
        _refused(talk, under_way, entry, frame)
    elif frame.flags & Flag.LAST:
        _end(talk, entry, frame, want)
    elif all(part.body != frame.body or part.kind != frame.kind for part in entry.parts):
        entry.parts.append(frame)  # a repetition may bring some of them a second time


def _refused(talk: Conversation, under_way: dict[int, _UnderWay], entry: _UnderWay, frame: Frame) -> None:
    values = talk.fields(frame)
    if values["code"] != ErrorCode.OUT_OF_ORDER:
        talk.seq = frame.seq + 1
        talk.raise_refusal(frame, entry.request.name)
    lost = under_way.get(values["detail"])
    if lost is None or entry is not _first_after(under_way, lost):
        return  # the refusals of those behind it say the same
    if lost.attempts > REPEATS:
        raise ProtocolError(
            f"{talk.rig}: {lost.request.name} was lost {lost.attempts} times in a row "
            f"({talk.receiver.bad_frames} damaged frames here). Check the cable, or use a lower baud rate."
        )
    _repeat(talk, _from(under_way, lost))


def _first_after(under_way: dict[int, _UnderWay], lost: _UnderWay) -> _UnderWay | None:
    behind = _from(under_way, lost)
    return behind[1] if len(behind) > 1 else None


def _from(under_way: dict[int, _UnderWay], lost: _UnderWay) -> list[_UnderWay]:
    entries = list(under_way.values())
    return entries[entries.index(lost) :]


def _end(talk: Conversation, entry: _UnderWay, frame: Frame, want: Kind) -> None:
    if frame.kind != want:
        raise ProtocolError(f"{talk.rig}: {frame.name} answers {entry.request.name}, expected {want.name}")
    values = talk.fields(frame)
    if values.get("parts", len(entry.parts)) == len(entry.parts):
        entry.parts.sort(key=lambda part: (part.kind, part.body[:4][::-1]))
        entry.parts.append(frame)
        entry.whole = True
    elif entry.attempts > REPEATS:
        raise ProtocolError(
            f"{talk.rig}: the answer to {entry.request.name} had {len(entry.parts)} of {values['parts']} frames, "
            f"{entry.attempts} times in a row. Check the cable, or use a lower baud rate."
        )
    else:
        _repeat(talk, [entry])


def _repeat(talk: Conversation, entries: list[_UnderWay]) -> None:
    for entry in entries:
        entry.attempts += 1
        entry.deadline = time.monotonic() + talk.timeout_s
        talk.repetitions += 1
        talk.send(entry.request)

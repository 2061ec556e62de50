"""A pyOCD probe that is the socket of an emulated board."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pyocd.board.board import Board
from pyocd.board.board_ids import BoardInfo
from pyocd.core import exceptions
from pyocd.probe.debug_probe import DebugProbe

from hil.errors import HilError
from hil.probe.client import ProbeClient, Transfer
from hil.probe.folder import Announcement, announcements, find
from hil.probe.wire import NRESET, SWCLK, Ack, WireError

T = TypeVar("T")
RESET_HOLD_S = 0.01
"""How long nRESET is held low; the emulated chip needs no time at all."""

_PINS = {DebugProbe.ProtocolPin.SWCLK_TCK: SWCLK, DebugProbe.ProtocolPin.nRESET: NRESET}


class EmulatedProbe(DebugProbe):  # type: ignore[misc]
    """
    Carries single DP and AP accesses, no more: bank and AP are selected by pyOCD through DP SELECT.

    While it is open it drives SWCLK low when idle, as most adapters do, so that `assert_reset` leaves the core held
    by the DSU, as it would on a board.
    """

    def __init__(self, found: Announcement) -> None:
        super().__init__()
        self._found = found
        self._client: ProbeClient | None = None
        self._connected = False
        self._guard = threading.RLock()

    @classmethod
    def get_all_connected_probes(cls, unique_id: str | None = None, is_explicit: bool = False) -> Sequence[DebugProbe]:
        """The boards that run; none if the folder cannot be read."""
        try:
            return [cls(found) for found in announcements()]
        except (HilError, OSError):
            return []

    @classmethod
    def get_probe_with_id(cls, unique_id: str, is_explicit: bool = False) -> DebugProbe | None:
        """The board of exactly this id."""
        try:
            found = find(unique_id)
        except (HilError, OSError):
            return None
        return cls(found) if found else None

    @property
    def vendor_name(self) -> str:
        return "hil"

    @property
    def product_name(self) -> str:
        return f"emulated {self._found.chip.upper()} on {self._found.port}"

    @property
    def unique_id(self) -> str:
        return self._found.uid

    @property
    def supported_wire_protocols(self) -> Collection[DebugProbe.Protocol]:
        return (DebugProbe.Protocol.DEFAULT, DebugProbe.Protocol.SWD)

    @property
    def wire_protocol(self) -> DebugProbe.Protocol | None:
        return DebugProbe.Protocol.SWD if self._connected else None

    @property
    def is_open(self) -> bool:
        return self._client is not None

    @property
    def capabilities(self) -> set[DebugProbe.Capability]:
        return {DebugProbe.Capability.PIN_ACCESS}

    @property
    def associated_board_info(self) -> BoardInfo:
        return BoardInfo(name=f"emulated {self._found.chip.upper()}", target=self._found.chip, vendor="hil")

    def create_associated_board(self) -> Board:
        """So that ``--target`` is not needed."""
        assert self.session is not None
        return Board(self.session, board_info=self.associated_board_info)

    def open(self) -> None:
        """Raises ``ProbeError`` if the board has ended or somebody else debugs it."""
        with self._guard, _as_pyocd():
            if self._client is None:
                self._client = ProbeClient(self._found)

    def close(self) -> None:
        with self._guard:
            if self._client is not None:
                self._client.close()
            self._client, self._connected = None, False

    def connect(self, protocol: DebugProbe.Protocol | None = None) -> None:
        self._connected = True

    def disconnect(self) -> None:
        self._connected = False

    def set_clock(self, frequency: float) -> None:
        """The emulated line has no speed."""

    def reset(self) -> None:
        """Pull nRESET low for a moment, SWCLK high, so that the DSU does not hold the core."""
        self._use(lambda client: client.pins(NRESET | SWCLK, SWCLK))
        time.sleep(RESET_HOLD_S)
        self._use(lambda client: client.pins(NRESET, NRESET))
        self._use(lambda client: client.pins(SWCLK, 0))

    def assert_reset(self, asserted: bool) -> None:
        self._use(lambda client: client.pins(NRESET, 0 if asserted else NRESET))

    def is_reset_asserted(self) -> bool:
        return not self._use(lambda client: client.pins()) & NRESET

    def get_accessible_pins(self, group: DebugProbe.PinGroup) -> tuple[int, int]:
        mask = sum(_PINS) if group is DebugProbe.PinGroup.PROTOCOL_PINS else 0
        return mask, mask

    def read_pins(self, group: DebugProbe.PinGroup, mask: int) -> int:
        levels = self._use(lambda client: client.pins())
        return sum(pin for pin, bit in _PINS.items() if mask & pin and levels & bit)

    def write_pins(self, group: DebugProbe.PinGroup, mask: int, value: int) -> None:
        drive, levels = (sum(bit for pin, bit in _PINS.items() if bits & pin) for bits in (mask, value))
        self._use(lambda client: client.pins(drive, levels))

    def read_dp(self, addr: int, now: bool = True) -> Any:
        return self._deferred(lambda client: client.read_dp(addr), now)

    def write_dp(self, addr: int, data: int) -> None:
        self._use(lambda client: client.write_dp(addr, data))

    def read_ap(self, addr: int, now: bool = True) -> Any:
        return self._deferred(lambda client: client.read_ap(addr & 0xC)[0], now)

    def write_ap(self, addr: int, data: int) -> None:
        self._use(lambda client: client.write_ap(addr & 0xC, (data,)))

    def read_ap_multiple(self, addr: int, count: int = 1, now: bool = True) -> Any:
        return self._deferred(lambda client: client.read_ap(addr & 0xC, count), now)

    def write_ap_multiple(self, addr: int, values: Sequence[int]) -> None:
        self._use(lambda client: client.write_ap(addr & 0xC, values))

    def _use(self, action: Callable[[ProbeClient], T]) -> T:
        with self._guard, _as_pyocd():
            if self._client is None:
                raise exceptions.ProbeError(f"{self.unique_id}: the probe is not open")
            return action(self._client)

    def _deferred(self, action: Callable[[ProbeClient], T], now: bool) -> T | Callable[[], T]:
        """Do it now; hand out the result, or the error, when it is asked for."""
        if now:
            return self._use(action)
        try:
            result = self._use(action)
        except exceptions.Error as error:
            kept = error

            def fail() -> T:
                raise kept

            return fail
        return lambda: result


@contextmanager
def _as_pyocd() -> Iterator[None]:
    """Errors of the socket as those that pyOCD expects of a probe."""
    try:
        yield
    except Transfer as error:
        if error.ack is Ack.FAULT:
            raise exceptions.TransferFaultError("the debug port answered FAULT") from error
        if error.ack is Ack.WAIT:
            raise exceptions.TransferTimeoutError("the debug port answered WAIT") from error
        raise exceptions.TransferError("the target does not answer: no power, or not connected") from error
    except WireError as error:
        raise exceptions.ProbeError(f"emulated board: {error}") from error

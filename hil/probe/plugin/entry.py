"""The entry point ``pyocd.probe``.  Whatever is wrong here must not break the user's pyOCD."""

from __future__ import annotations

import logging

from pyocd.core.plugin import Plugin
from pyocd.probe.debug_probe import DebugProbe

import hil

_LOG = logging.getLogger(__name__)


class EmulatedBoards(Plugin):  # type: ignore[misc]
    """Probes of emulated boards, and the SAMD21 targets for any probe."""

    def should_load(self) -> bool:
        """False, with a warning, if this installation is damaged."""
        try:
            from hil.probe.plugin import probe, targets

            targets.register()
            self._probe_class: type[DebugProbe] = probe.EmulatedProbe
        except Exception as error:  # pyOCD would not start at all
            _LOG.warning("hil's emulated boards and SAMD21 targets are not available: %s", error)
            return False
        return True

    def load(self) -> type[DebugProbe]:
        """The class of the probes."""
        return self._probe_class

    @property
    def version(self) -> str:
        """Of this package."""
        return hil.__version__

    @property
    def name(self) -> str:
        """As in ``--uid hil:ID``."""
        return "hil"

    @property
    def description(self) -> str:
        """For ``pyocd list --plugins``."""
        return "emulated SAMD21 boards (hil emulate --probe)"

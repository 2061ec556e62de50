"""The emulated chip as an ordinary debug target, and flashing through pyOCD.  Importing this does not need pyOCD."""

from hil.probe.folder import Announcement, announcements, find
from hil.probe.server import BoardPlan, ProbeServer, on_signals, serial_words, serve

__all__ = ["Announcement", "BoardPlan", "ProbeServer", "announcements", "find", "on_signals", "serial_words", "serve"]

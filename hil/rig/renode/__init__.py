"""Renode: found where it is installed, started headless, controlled through its monitor."""

from hil.rig.renode.process import find_renode
from hil.rig.renode.rig import RenodeRig

__all__ = ["RenodeRig", "find_renode"]

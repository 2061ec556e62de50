"""Rigs: whatever runs the firmware, behind one interface."""

from hil.rig.base import FlashReport, Rig, RigFile
from hil.rig.load import load_rig, load_rig_file, model_of, rig_files

__all__ = ["FlashReport", "Rig", "RigFile", "load_rig", "load_rig_file", "model_of", "rig_files"]

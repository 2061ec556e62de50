"""Rigs: whatever runs the firmware, behind one interface."""

from hil.rig.base import FlashReport, Rig, Target
from hil.rig.connect import Connection, connect
from hil.rig.file import RigFile
from hil.rig.load import RigRequest, load_rig, load_rig_file, model_of, more_rigs, predictor_of, rig_files, target_of

__all__ = [
    "Connection",
    "FlashReport",
    "Rig",
    "RigFile",
    "RigRequest",
    "Target",
    "connect",
    "load_rig",
    "load_rig_file",
    "model_of",
    "more_rigs",
    "predictor_of",
    "rig_files",
    "target_of",
]

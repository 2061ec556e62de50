"""The model file: integer arrays, their formats and where they came from (docs/artefact.md)."""

from hil.artefact.byte_layers import MAX_SHIFT, ByteRows, EventGruLayer, Gru8Layer
from hil.artefact.file import (
    FORMAT,
    FORMAT_VERSION,
    SOFTSIGN,
    Artefact,
    artefact_from_bytes,
    load_artefact,
)
from hil.artefact.layers import (
    BIAS3_LEVELS_Q17,
    BIAS16_LSB_Q17,
    AnyInput,
    AnyRows,
    DenseLayer,
    EmbeddedGruLayer,
    EventEmbeddedGruLayer,
    FrontEnd,
    RecurrentLayer,
    Rows,
    take_input,
)
from hil.artefact.sequence_input import SequenceInput

__all__ = [
    "BIAS3_LEVELS_Q17",
    "BIAS16_LSB_Q17",
    "FORMAT",
    "FORMAT_VERSION",
    "MAX_SHIFT",
    "SOFTSIGN",
    "AnyInput",
    "AnyRows",
    "Artefact",
    "ByteRows",
    "DenseLayer",
    "EmbeddedGruLayer",
    "EventEmbeddedGruLayer",
    "EventGruLayer",
    "FrontEnd",
    "Gru8Layer",
    "RecurrentLayer",
    "Rows",
    "SequenceInput",
    "artefact_from_bytes",
    "load_artefact",
    "take_input",
]

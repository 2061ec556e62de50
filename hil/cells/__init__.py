"""Recurrent cells and the network in torch: float, and in the exact integers of the twin."""

from hil.cells.embedded_gru import EmbeddedGRU
from hil.cells.event_embedded_gru import EventEmbeddedGRU, EventSequence
from hil.cells.event_gru import EventGRU, EventGruSequence
from hil.cells.gru import GRU
from hil.cells.network import (
    Network,
    arrays_of,
    event_readout_shift_for,
    network_from,
    parameters_by_name,
    readout_shift_for,
    row_formats,
)
from hil.cells.rows import QuantizedRows, RowFormat, bias_range, fake_quantize, straight_through
from hil.cells.surrogate import Surrogate

__all__ = [
    "GRU",
    "EmbeddedGRU",
    "EventEmbeddedGRU",
    "EventGRU",
    "EventGruSequence",
    "EventSequence",
    "Network",
    "QuantizedRows",
    "RowFormat",
    "Surrogate",
    "arrays_of",
    "bias_range",
    "event_readout_shift_for",
    "fake_quantize",
    "network_from",
    "parameters_by_name",
    "readout_shift_for",
    "row_formats",
    "straight_through",
]

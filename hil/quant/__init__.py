"""Twins: the integer kernels in Python, equal to the C bit for bit, and the quantizer.  Works without torch."""

from hil.arithmetic import softsign_q15
from hil.quant.kernels import (
    dense,
    embedded_gru_step,
    event_embedded_gru_step,
    hold_inputs,
    pre_activations_q15,
    readout_sum,
    row_sums_q17,
    sent_inputs,
)
from hil.quant.listen import ListenTwin, listen_twin
from hil.quant.paper import softsign_division_q15, truncated_dot_q15
from hil.quant.quantize import fit_exponents, quantization_settings, quantize, quantize_rows
from hil.quant.twin import MAX_STEPS, run_twin, run_twin_batch, run_twins, taken_inputs

__all__ = [
    "MAX_STEPS",
    "ListenTwin",
    "dense",
    "embedded_gru_step",
    "event_embedded_gru_step",
    "fit_exponents",
    "hold_inputs",
    "listen_twin",
    "pre_activations_q15",
    "quantization_settings",
    "quantize",
    "quantize_rows",
    "readout_sum",
    "row_sums_q17",
    "run_twin",
    "run_twin_batch",
    "run_twins",
    "sent_inputs",
    "softsign_division_q15",
    "softsign_q15",
    "taken_inputs",
    "truncated_dot_q15",
]

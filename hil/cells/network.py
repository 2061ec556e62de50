"""The whole network: recurrent layers, sum over time, one hidden dense layer, classes; to and from arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hil.cells.byte_rows import ByteFormat, fake_quantize_bytes
from hil.cells.embedded_gru import EmbeddedGRU
from hil.cells.event_embedded_gru import EventEmbeddedGRU
from hil.cells.event_gru_bytes import ByteEventGRU
from hil.cells.gru import GRU
from hil.cells.rows import QuantizedRows, RowFormat, bias_range, fake_quantize, straight_through
from hil.cells.surrogate import Surrogate
from hil.errors import UsageError
from hil.fixed import INT16_MAX, INT16_MIN, Q15_ONE
from hil.float_model import EVENT_KINDS, MAX_READOUT_SHIFT, FloatModel, Kind

AnyFormat = RowFormat | ByteFormat
"""How rows of 3-bit or 8-bit weights are rounded."""
GATE_SHIFT, DENSE_SHIFT = 10, 7
"""Of sums of 8-bit rows without a row scale (`hil.quant.quantize_bytes`)."""


def readout_shift_for(steps: int) -> int:
    """
    The smallest shift with which the sum over ``steps`` states cannot saturate.

    Raises:
        UsageError: More than 2**15 steps.
    """
    shift = max(0, int(steps) - 1).bit_length()
    if steps < 1 or shift > MAX_READOUT_SHIFT:
        raise UsageError(f"a clip of {steps} frames; must be within 1 and {1 << MAX_READOUT_SHIFT}: use a larger hop")
    return shift


def event_readout_shift_for(steps: int, activity: float) -> int:
    """
    The smallest shift with which the sum over ``steps`` cannot saturate for a unit that fires as often as ``activity``
    with events of one half; rarer units keep more bits that way, busier ones are clipped, in training too.

    Raises:
        UsageError: As `readout_shift_for`.
    """
    return readout_shift_for(max(1, min(steps, math.ceil(activity * steps / 2))))


class Network(nn.Module):
    """
    A sequence classifier.

    Args:
        kind: ``"embedded_gru"``, ``"event_embedded_gru"``, ``"event_gru"``, or ``"gru"`` for the GRU of the same shape.
        inputs: D.
        hidden: Units of each recurrent layer, input side first.
        dense: Units of the hidden dense layer.
        outputs: O, classes.
        readout_shift: States (events, of an event eGRU) are summed over time and divided by two to this.
        hold_q15: An input that moved by no more than this since it was last taken counts as unchanged.
        z_bias: Initial bias of the eGRU's gates.
        threshold: Initial threshold of units that send events; of an EGRU their mean.
        surrogate: Derivative that such cells learn with.
        generator: Of the initial weights.
    """

    def __init__(
        self,
        kind: Kind,
        inputs: int,
        hidden: tuple[int, ...],
        dense: int,
        outputs: int,
        readout_shift: int,
        *,
        hold_q15: int = 0,
        z_bias: float = -2.0,
        threshold: float = 0.05,
        surrogate: Surrogate | None = None,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.kind, self.inputs, self.hidden, self.outputs = kind, inputs, hidden, outputs
        self.readout_shift, self.hold_q15 = readout_shift, hold_q15
        widths = zip((inputs, *hidden[:-1]), hidden, strict=True)
        layers: list[nn.Module]
        if kind == "gru":
            layers = [GRU(D, H, generator=generator) for D, H in widths]
        elif kind == "event_gru":
            options = {"threshold_mean": threshold, "surrogate": surrogate, "generator": generator}
            layers = [ByteEventGRU(D, H, batch_first=True, **options) for D, H in widths]
        elif kind == "event_embedded_gru":
            layers = [
                EventEmbeddedGRU(
                    D, H, batch_first=True, z_bias=z_bias, threshold=threshold, surrogate=surrogate, generator=generator
                )
                for D, H in widths
            ]
        else:
            layers = [EmbeddedGRU(D, H, batch_first=True, z_bias=z_bias, generator=generator) for D, H in widths]
        self.recurrent = nn.ModuleList(layers)
        self.dense = nn.ModuleList([_linear(hidden[-1], dense, generator), _linear(dense, outputs, generator)])
        self.dense_formats: list[AnyFormat] = []

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """
        Classify sequences.

        Args:
            x: [N, T, D], Q15 features divided by 2**15.
            lengths: [N] steps of each; what is behind them does not count.  None: all T.

        Returns:
            [N, O] logits; quantized, float64 and the twin's integers divided by 2**15.
        """
        return self.run(x, lengths=lengths)[0]

    def run(self, x: Tensor, keep: Tensor | None = None, lengths: Tensor | None = None) -> tuple[Tensor, list[Tensor]]:
        """
        As `forward`, with how often each unit of each event layer fired.

        Args:
            x: As for `forward`.
            keep: [N, H] factors for the readout (dropout, while training); None: ones.
            lengths: As for `forward`.

        Returns:
            [N, O] logits, and for each event layer the mean of its events over clips and time, [H];
            their gradients go through the surrogate.
        """
        rates = []
        x = held_inputs(x, self.hold_q15) if self.hold_q15 else x
        counted = None if lengths is None else (torch.arange(x.shape[1]) < lengths[:, None])[:, :, None].to(x.dtype)
        for layer in self.recurrent:
            if isinstance(layer, EventEmbeddedGRU | ByteEventGRU):
                sequence = layer.run(x, traced=False) if isinstance(layer, ByteEventGRU) else layer.run(x)
                x = sequence.y
                rates.append(_mean(sequence.events, counted))
            else:
                x, _ = layer(x)
        x = x if counted is None else x * counted
        return (self._integer_output(x, keep) if self.dense_formats else self._real_output(x, keep)), rates

    def _real_output(self, states: Tensor, keep: Tensor | None) -> Tensor:
        r = states.sum(dim=1) / 2**self.readout_shift
        if self.kind in EVENT_KINDS:
            r = r.clamp(max=INT16_MAX / Q15_ONE)
        r = r if keep is None else r * keep
        return self.dense[1](torch.clamp(self.dense[0](r), 0, 1))

    def _integer_output(self, states: Tensor, keep: Tensor | None) -> Tensor:
        """Twin: `hil.quant.readout_sum` and `hil.quant.dense`."""
        total = states.double().sum(dim=1)
        half = (1 << self.readout_shift) >> 1
        r_q15 = ((total.detach() * Q15_ONE + half) / 2**self.readout_shift).floor().clamp(INT16_MIN, INT16_MAX)
        u = straight_through(total / 2**self.readout_shift, r_q15 / Q15_ONE)
        u = u if keep is None else u * keep
        first, last = (
            _quantized(layer.weight, layer.bias, row_format)
            for layer, row_format in zip(self.dense, self.dense_formats, strict=True)
        )
        return _integer_dense(torch.clamp(_integer_dense(u, first), 0, INT16_MAX / Q15_ONE), last)

    def quantize_(self, formats: Mapping[str, AnyFormat]) -> None:
        """
        Run in the twin's integers from now on.

        Args:
            formats: By layer: ``recurrent.0``, ..., ``dense.1``.

        Raises:
            UsageError: The network is a GRU.
        """
        if self.kind == "gru":
            raise UsageError(f"a {self.kind!r} cannot be quantized, only an eGRU")
        for i, layer in enumerate(self.recurrent):
            layer.format = formats[f"recurrent.{i}"]
        self.dense_formats = [formats[f"dense.{i}"] for i in range(len(self.dense))]

    @torch.no_grad()
    def clamp_(self) -> None:
        """Put parameters back into the ranges that the artefact can hold: thresholds, and biases once quantized."""
        for layer in self.recurrent:
            if isinstance(layer, EventEmbeddedGRU | ByteEventGRU):
                layer.clamp_()
        for bias, row_format in self.formatted_biases():
            bias.clamp_(*bias_range(row_format))

    def formats(self) -> dict[str, AnyFormat]:
        """Formats by layer, as given to `quantize_`; empty unless quantized."""
        if not self.dense_formats:
            return {}
        recurrent = {f"recurrent.{i}": layer.format for i, layer in enumerate(self.recurrent)}
        return recurrent | {f"dense.{i}": row_format for i, row_format in enumerate(self.dense_formats)}

    def formatted_biases(self) -> list[tuple[nn.Parameter, RowFormat]]:
        """Latent biases of 16 or 3 bits with the format of their rows; empty unless quantized."""
        if not self.dense_formats or self.kind == "event_gru":
            return []
        pairs = [(layer.bias, layer.format) for layer in self.recurrent]
        dense = zip(self.dense, self.dense_formats, strict=True)
        return [*pairs, *((layer.bias, f) for layer, f in dense if isinstance(f, RowFormat))]


def held_inputs(x: Tensor, least_q15: int) -> Tensor:
    """
    [N, T, D] inputs as they are taken: what moved by no more than ``least_q15`` since it was last taken is unchanged.

    Twin:
        `hil.quant.sent_inputs`; differences of Q15 values are exact in float32.
    """
    taken, last = torch.empty_like(x), torch.zeros_like(x[:, 0])
    for t, now in enumerate(x.unbind(1)):
        last = torch.where((now - last).abs() > least_q15 / Q15_ONE, now, last)
        taken[:, t] = last
    return taken


def _mean(events: Tensor, counted: Tensor | None) -> Tensor:
    """[H] mean of [N, T, H] over clips and those steps that count."""
    if counted is None:
        return events.mean(dim=(0, 1))
    return (events * counted).sum(dim=(0, 1)) / counted.sum()


def _linear(inputs: int, outputs: int, generator: torch.Generator | None) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    with torch.no_grad():
        nn.init.xavier_normal_(layer.weight, generator=generator)
        layer.bias.zero_()
    return layer


def _quantized(weight: Tensor, bias: Tensor, row_format: AnyFormat) -> QuantizedRows:
    if isinstance(row_format, RowFormat):
        return fake_quantize(weight, bias, row_format)
    return fake_quantize_bytes(weight, bias, row_format)


def _integer_dense(u: Tensor, rows: QuantizedRows) -> Tensor:
    """[N, O] float64, multiples of 2**-15, before any clipping."""
    real = torch.nn.functional.linear(u, rows.weight.double(), rows.bias.double())
    sums = torch.nn.functional.linear(u.detach() * Q15_ONE, rows.weight_q2.double(), rows.bias_half_q17.double())
    return straight_through(real, (sums * rows.scale).floor() / Q15_ONE)


_GRU_PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")


def parameters_by_name(network: Network) -> dict[str, nn.Parameter]:
    """Parameters under the names of `FloatModel.arrays`."""
    named: dict[str, nn.Parameter] = {}
    for i, layer in enumerate(network.recurrent):
        if network.kind in ("gru", "event_gru"):
            named |= {f"recurrent.{i}.{part}": getattr(layer, part) for part in _GRU_PARTS}
        else:
            named |= {f"recurrent.{i}.weight": layer.weight, f"recurrent.{i}.bias": layer.bias}
        if network.kind in EVENT_KINDS:
            named[f"recurrent.{i}.threshold"] = layer.threshold
    for i, layer in enumerate(network.dense):
        named |= {f"dense.{i}.weight": layer.weight, f"dense.{i}.bias": layer.bias}
    return named


def network_from(model: FloatModel, surrogate: Surrogate | None = None) -> Network:
    """A network with the model's parameters, quantized if the model was trained quantized."""
    shape = (model.inputs, model.hidden, model.dense, model.outputs, model.readout_shift)
    network = Network(model.kind, *shape, hold_q15=model.hold_q15, surrogate=surrogate)
    with torch.no_grad():
        for name, parameter in parameters_by_name(network).items():
            parameter.copy_(torch.tensor(model.arrays[name]))
    if model.exponents:
        network.quantize_(row_formats(model.exponents, model.quantization))
    return network


def row_formats(exponents: Mapping[str, Any], quantization: Mapping[str, Any]) -> dict[str, AnyFormat]:
    """Formats by layer from arrays of exponents and the settings of `FloatModel.quantization`."""
    if "weight_bits" in quantization:
        shifts = {layer: DENSE_SHIFT if layer.startswith("dense") else GATE_SHIFT for layer in exponents}
        return {layer: ByteFormat(torch.tensor(e), shifts[layer]) for layer, e in exponents.items()}
    zero, bits = quantization["zero_threshold"], quantization["bias_bits"]
    return {layer: RowFormat(torch.tensor(e), zero, bits) for layer, e in exponents.items()}


def arrays_of(network: Network) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """Copies of the parameters for `FloatModel.arrays`."""
    return {name: p.detach().numpy().astype(np.float32) for name, p in parameters_by_name(network).items()}

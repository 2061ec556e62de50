"""The event-based GRU (EGRU) for training: a GRU whose units send their state only when it crosses a threshold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from hil.cells import recurrent
from hil.cells.packed import at_ends, run_packed
from hil.cells.surrogate import Surrogate
from hil.errors import UsageError

Form = Literal["threshold", "value"]
State = tuple[Tensor, Tensor]
"""The state c or h that a unit keeps, and its last event y, each [N, H]."""

THRESHOLD_BETA = 3
"""Thresholds are drawn from Beta(a, 3) with ``a = 3 m / (1 - m)``, whose mean is m."""


@dataclass(frozen=True)
class EventGruSequence:
    """
    A layer's run over a sequence; arrays are shaped as the layer's output.

    Attributes:
        y: Graded events, 0 where a unit is silent.
        events: 1 where a unit fired, 0 elsewhere; gradients go through the surrogate.
        c: State that the threshold was compared with.
        trace: ``tr = decay tr + (1 - decay) y``, zeros before the first step: what to read out.
        state: After the last step of each sequence, to be given to the next call.
    """

    y: Tensor
    events: Tensor
    c: Tensor
    trace: Tensor
    state: State


class EventGRU(nn.Module):
    """
    One EGRU layer over a sequence, called as `torch.nn.LSTM`.

    Form ``"threshold"``: reset gate after the product, z weights the old state, the threshold is
    taken from the state at once.

        r, z = sigmoid(W x + b + R y + d)       g  = tanh(W_g x + b_g + r (R_g y + d_g))
        c  = z h + (1 - z) g                    o  = H(c - theta),  H(0) = 0
        y' = o c                                h' = c - o theta

    Form ``"value"``: reset gate before the product, z weights the new candidate, the event's whole
    value is taken from the state at the next step.

        r, z = sigmoid(W x + b + R y + d)       g  = tanh(W_g x + b_g + R_g (r y) + d_g)
        c' = z g + (1 - z) c - y                o  = H(c' - theta)
        y' = o c'

    A trained layer of the first form is what `hil.quant.quantize_bytes.event_gru_layer` rounds and
    ``firmware/kernels/event_gru.c`` runs.

    Args:
        input_size: D.
        hidden_size: H.
        batch_first: Sequences are [N, T, ...] rather than [T, N, ...].
        form: Which equations.
        threshold_mean: Mean of the initial thresholds, in (0, 1).
        surrogate: Derivative that training uses for H.
        zoneout: Probability that a unit keeps its state in a step while training; its mean is used otherwise.
            Of form ``"threshold"`` only.
        dropconnect: Probability that a recurrent weight is left out for a whole sequence while training.
        trace_decay: Of the output trace, in [0, 1).
        gain: Of the Glorot-normal weights.
        fused: On the CPU, floats run in compiled code (`hil.cells.recurrent`), which skips what silent units make
            needless and differs from the loop of torch's operations by the order of sums only.  False: always the
            loop, which can be differentiated twice.
        generator: Of weights and thresholds.

    Attributes:
        weight_ih: [3H, D], rows r, z, g, as `torch.nn.GRU`.
        weight_hh: [3H, H].
        bias_ih, bias_hh: [3H].
        threshold: [H] theta; values outside [0, 1] count as 0 and 1.

    Source:
        Subramoney and others 2023: form ``"value"`` is printed in the paper, ``"threshold"`` is what its authors'
        library computes.  docs/cells.md says where that library departs from its equations.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        batch_first: bool = False,
        form: Form = "threshold",
        threshold_mean: float = 0.3,
        surrogate: Surrogate | None = None,
        zoneout: float = 0.0,
        dropconnect: float = 0.0,
        trace_decay: float = 0.9,
        gain: float = 1.0,
        fused: bool = True,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        _check(form, threshold_mean, zoneout, dropconnect, trace_decay)
        self.input_size, self.hidden_size, self.batch_first = input_size, hidden_size, batch_first
        self.form, self.zoneout, self.dropconnect, self.trace_decay = form, zoneout, dropconnect, trace_decay
        self.surrogate, self.fused = surrogate or Surrogate(damping=0.7, support=1.0), fused
        self.weight_ih = nn.Parameter(torch.empty(3 * hidden_size, input_size))
        self.weight_hh = nn.Parameter(torch.empty(3 * hidden_size, hidden_size))
        self.bias_ih, self.bias_hh = (nn.Parameter(torch.zeros(3 * hidden_size)) for _ in range(2))
        self.threshold = nn.Parameter(torch.empty(hidden_size))
        with torch.no_grad():
            for weight in (self.weight_ih, self.weight_hh):
                for gate in weight.split(hidden_size):
                    nn.init.xavier_normal_(gate, gain, generator=generator)
            self.threshold.copy_(beta_thresholds(hidden_size, threshold_mean, generator))

    def forward(self, x: Tensor | PackedSequence, state: State | None = None) -> tuple[Tensor | PackedSequence, State]:
        """
        Run a sequence, or a packed batch of sequences.

        Args:
            x: [T, N, D], or [N, T, D] with ``batch_first``, or packed.
            state: Before the first step; zeros if omitted.

        Returns:
            Events after each step, shaped as x, and the state after the last step of each sequence.
        """
        if isinstance(x, PackedSequence):
            return run_packed(x, self.batch_first, lambda padded, lengths: self._outputs(padded, state, lengths))
        return self._outputs(x, state, None)

    def _outputs(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, State]:
        y, _, end = self._sequence(x, state, lengths)
        return self._turned(y), end

    def run(
        self, x: Tensor, state: State | None = None, lengths: Tensor | None = None, *, traced: bool = True
    ) -> EventGruSequence:
        """
        As `forward`, with everything that a loss may want.

        Args:
            x: [T, N, D], or [N, T, D] with ``batch_first``.
            state: Before the first step; zeros if omitted.
            lengths: [N] steps of each sequence; what is behind them is computed too, and means nothing.
            traced: Compute the trace; otherwise y stands in its place.
        """
        y, c, end = self._sequence(x, state, lengths)
        events = _fires(c - self.threshold.clamp(0, 1), self.surrogate)
        y, events, c, trace = (self._turned(part) for part in (y, events, c, self._trace(y) if traced else y))
        return EventGruSequence(y, events, c, trace, end)

    def _turned(self, x: Tensor) -> Tensor:
        """[T, N, ...] as [N, T, ...], or the other way round, with ``batch_first``."""
        return x.transpose(0, 1) if self.batch_first else x

    def _sequence(self, x: Tensor, state: State | None, lengths: Tensor | None) -> tuple[Tensor, Tensor, State]:
        """y and c, [T, N, H], and the state after the last step of each sequence."""
        x = self._turned(x)
        state = state or (x.new_zeros(x.shape[1], self.hidden_size),) * 2
        R = torch.nn.functional.dropout(self.weight_hh, self.dropconnect, self.training)
        theta = self.threshold.clamp(0, 1)
        moves = None
        if self.zoneout and self.training:
            moves = (torch.rand(*x.shape[:2], self.hidden_size, dtype=x.dtype, device=x.device) >= self.zoneout).to(x)
        if self.fused and type(self.surrogate) is Surrogate and recurrent.available(x):
            options = recurrent.Options(self.form, self.surrogate, move=1.0 if self.training else 1 - self.zoneout)
            y, c = recurrent.event_gru(x, *state, self.weight_ih, R, self.bias_ih, self.bias_hh, theta, moves, options)
        else:
            y, c = self._loop(x, state, R, theta, moves)
        y_end, c_end = at_ends(y, lengths), at_ends(c, lengths)
        if self.form == "threshold":
            c_end = c_end - _fires(c_end - theta, self.surrogate) * theta
        return y, c, (c_end, y_end)

    def _loop(self, x: Tensor, state: State, R: Tensor, theta: Tensor, moves: Tensor | None) -> tuple[Tensor, Tensor]:
        """y and c in torch's own operations, on any device."""
        kept, y = state
        from_x = torch.nn.functional.linear(x, self.weight_ih, self.bias_ih)
        steps: list[tuple[Tensor, Tensor]] = []
        for t, x_t in enumerate(from_x.unbind(0)):
            if self.form == "threshold":
                c = self._step_threshold(x_t, kept, y, R, None if moves is None else moves[t])
            else:
                c = self._step_value(x_t, kept, y, R)
            o = _fires(c - theta, self.surrogate)
            y = o * c
            kept = c - o * theta if self.form == "threshold" else c
            steps.append((y, c))
        ys, cs = (torch.stack(part) for part in zip(*steps, strict=True))
        return ys, cs

    def _step_threshold(self, from_x: Tensor, h: Tensor, y: Tensor, R: Tensor, moves: Tensor | None) -> Tensor:
        """c."""
        xr, xz, xg = from_x.chunk(3, dim=1)
        yr, yz, q = torch.nn.functional.linear(y, R, self.bias_hh).chunk(3, dim=1)
        r, z = torch.sigmoid(xr + yr), torch.sigmoid(xz + yz)
        g = torch.tanh(xg + r * q)
        c = z * h + (1 - z) * g
        if moves is not None:
            return h + moves * (c - h)
        return c if self.training or not self.zoneout else h + (1 - self.zoneout) * (c - h)

    def _step_value(self, from_x: Tensor, c: Tensor, y: Tensor, R: Tensor) -> Tensor:
        """c."""
        gates, H = 2 * self.hidden_size, self.hidden_size
        from_y = torch.nn.functional.linear(y, R[:gates], self.bias_hh[:gates])
        r, z = torch.sigmoid(from_x[:, :gates] + from_y).split(H, dim=1)
        g = torch.tanh(from_x[:, gates:] + torch.nn.functional.linear(r * y, R[gates:], self.bias_hh[gates:]))
        return z * g + (1 - z) * c - y

    def _trace(self, y: Tensor) -> Tensor:
        """[T, N, H]."""
        trace, traces = torch.zeros_like(y[0]), []
        for y_t in y.unbind(0):
            trace = self.trace_decay * trace + (1 - self.trace_decay) * y_t
            traces.append(trace)
        return torch.stack(traces)


class _Step(torch.autograd.Function):
    """1 above 0, else 0; the derivative is the surrogate's."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, surrogate: Surrogate) -> Tensor:
        ctx.save_for_backward(v)
        ctx.surrogate = surrogate
        return (v > 0).to(v.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (v,) = ctx.saved_tensors
        return ctx.surrogate(v) * gradients[0], None


def _fires(v: Tensor, surrogate: Surrogate) -> Tensor:
    fired: Tensor = _Step.apply(v, surrogate)
    return fired


def beta_thresholds(count: int, mean: float, generator: torch.Generator | None) -> Tensor:
    """Draws from Beta(a, 3): the product of ``U**(1 / (a + j))``, j = 0, 1, 2, of uniform U."""
    a = THRESHOLD_BETA * mean / (1 - mean)
    powers = 1 / (a + torch.arange(THRESHOLD_BETA, dtype=torch.float64))
    uniform = 1 - torch.rand(count, THRESHOLD_BETA, dtype=torch.float64, generator=generator)
    return (uniform**powers).prod(dim=1)


def _check(form: str, threshold_mean: float, zoneout: float, dropconnect: float, trace_decay: float) -> None:
    if form not in ("threshold", "value"):
        raise UsageError(f"form = {form!r}: 'threshold' or 'value'")
    if not 0 < threshold_mean < 1:
        raise UsageError(f"threshold_mean = {threshold_mean}: must be between 0 and 1")
    for name, value in (("zoneout", zoneout), ("dropconnect", dropconnect), ("trace_decay", trace_decay)):
        if not 0 <= value < 1:
            raise UsageError(f"{name} = {value}: must be at least 0 and below 1")
    if zoneout and form == "value":
        raise UsageError("zoneout is of form 'threshold' only")

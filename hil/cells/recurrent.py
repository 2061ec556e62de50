"""An event-based GRU's whole sequence as one differentiable operation, in compiled code that skips silent units."""

from __future__ import annotations

import functools
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import cffi
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hil.cells.build_recurrent import RECURRENT
from hil.cells.surrogate import Surrogate
from hil.errors import HilError, ToolError, UsageError

Products = Literal["by density", "dense", "sparse"]
"""Whether silent units are skipped: where that is faster, never, always.  The result is the same."""

DENSE_WEIGHTS_ABOVE = 0.35
"""Share of events from which the gradient of R is the faster dense."""

_PRODUCTS: dict[Products, int] = {"by density": 0, "dense": 1, "sparse": 2}
_FORMS = {"threshold": 0, "value": 1}
_CACHE_LINE = 64


@dataclass(frozen=True)
class Options:
    """
    How a sequence is run.

    Attributes:
        form: Of `hil.cells.EventGRU`.
        surrogate: Derivative of the step.
        move: Share of the way to its new value that a state goes, where no ``moves`` are given.
        products: Which products are sparse.
        level: Of vector code, below `levels`; None: the best that this machine runs.
    """

    form: Literal["threshold", "value"]
    surrogate: Surrogate
    move: float = 1.0
    products: Products = "by density"
    level: int | None = None


@functools.cache
def _load() -> tuple[Any, Any] | None:
    """The library and its cffi types; None, and a warning, if there is none and it cannot be built."""
    ffi = cffi.FFI()
    header = (RECURRENT.sources / "recurrent.h").read_text()
    ffi.cdef("\n".join(line for line in header.splitlines() if not line.startswith("#")))
    try:
        return ffi, ffi.dlopen(str(RECURRENT.ready()))
    except (HilError, OSError) as error:
        message = f"EventGRU trains in a loop of torch's operations, several times slower: {error}"
        warnings.warn(message, RuntimeWarning, stacklevel=2)
        return None


def available(x: Tensor) -> bool:
    """Whether sequences such as ``x`` can be run here: floats of the CPU, and a library."""
    return x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and _load() is not None


def levels() -> list[str]:
    """Names of the levels of vector code that this machine runs, slowest first."""
    ffi, lib = _library()
    return [ffi.string(lib.recurrent_level_name(level)).decode() for level in range(lib.recurrent_levels())]


def _library() -> tuple[Any, Any]:
    loaded = _load()
    if loaded is None:
        raise ToolError("there are no compiled recurrent loops here")
    return loaded


def event_gru(
    x: Tensor,
    h_0: Tensor,
    y_0: Tensor,
    weight_ih: Tensor,
    weight_hh: Tensor,
    bias_ih: Tensor,
    bias_hh: Tensor,
    theta: Tensor,
    moves: Tensor | None,
    options: Options,
) -> tuple[Tensor, Tensor]:
    """
    Events y and states c, [T, N, H], of inputs [T, N, D]: the equations of `hil.cells.EventGRU`.

    Args:
        x: Inputs.
        h_0, y_0: [N, H] state before the first step.
        weight_ih, weight_hh, bias_ih, bias_hh: As `hil.cells.EventGRU` has them.
        theta: [H] thresholds, none negative.
        moves: [T, N, H] share of the way to its new value that each state goes, or None.
        options: The rest.
    """
    result: tuple[Tensor, Tensor] = _Sequence.apply(
        x, h_0, y_0, weight_ih, weight_hh, bias_ih, bias_hh, theta, moves, options
    )
    return result


class _Sequence(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        h_0: Tensor,
        y_0: Tensor,
        weight_ih: Tensor,
        weight_hh: Tensor,
        bias_ih: Tensor,
        bias_hh: Tensor,
        theta: Tensor,
        moves: Tensor | None,
        options: Options,
    ) -> tuple[Tensor, Tensor]:
        steps, batch, width = x.shape
        x = x.contiguous()
        gates = torch.addmm(bias_ih, x.view(-1, width), weight_ih.T)
        inner, c, y = (x.new_empty(steps, batch, weight_hh.shape[1]) for _ in range(3))
        call = _Call(options, c.shape, x.dtype, h_0, y_0, weight_hh, theta, moves, gates, inner, c, y)
        call.arrays["d"] = bias_hh.contiguous()
        ctx.events = call.run("recurrent_event_gru_forward").events
        ctx.save_for_backward(x, h_0, y_0, weight_ih, weight_hh, theta, moves, gates, inner, c, y)
        ctx.options = options
        ctx.set_materialize_grads(False)
        return y, c

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_y: Tensor | None, d_c: Tensor | None) -> tuple[Tensor | None, ...]:
        x, h_0, y_0, weight_ih, weight_hh, theta, moves, gates, inner, c, y = ctx.saved_tensors
        needs, options = ctx.needs_input_grad, ctx.options
        units, rows = c.shape[2], c.shape[0] * c.shape[1]
        call = _Call(options, c.shape, x.dtype, h_0, y_0, weight_hh, theta, moves, gates, inner, c, y)
        d_pre = x.new_empty(rows, call.row_width())
        sums, d_h_0 = x.new_zeros(call.threads, 5 * units), torch.empty_like(h_0, memory_format=torch.contiguous_format)
        d_y_0 = torch.empty_like(d_h_0) if needs[2] else None
        call.arrays |= {"d_y": _contiguous(d_y), "d_c": _contiguous(d_c), "d_pre": d_pre, "sums": sums}
        call.arrays |= {"d_h_0": d_h_0, "d_y_0": d_y_0}
        call.run("recurrent_event_gru_backward")
        d_g, d_r, d_z, d_q, d_theta = sums.sum(0).split(units)
        to_inputs = d_pre[:, : 3 * units]  # g, r, z
        d_x = (to_inputs @ torch.cat([weight_ih[2 * units :], weight_ih[: 2 * units]])).view_as(x) if needs[0] else None
        d_W = (to_inputs.T @ x.view(rows, -1)).roll(-units, 0) if needs[3] else None
        d_R = _recurrent_gradient(call, ctx.events) if needs[4] else None
        d_b, d_d = torch.cat([d_r, d_z, d_g]), torch.cat([d_r, d_z, d_q])
        return d_x, d_h_0, d_y_0, d_W, d_R, d_b, d_d, d_theta, None, None


def _recurrent_gradient(call: _Call, events: int) -> Tensor:
    """d R, by the columns of units that spoke, or dense."""
    arrays, (steps, batch, units) = call.arrays, call.shape
    products = call.options.products
    if products == "sparse" or (products == "by density" and events < DENSE_WEIGHTS_ABOVE * steps * batch * units):
        d_R = call.arrays["d_R"] = torch.empty_like(arrays["R"])
        call.run("recurrent_event_gru_weights")
        return d_R
    heard = torch.cat([arrays["y_0"][None], arrays["y"][:-1]]).view(-1, units)
    d = arrays["d_pre"][:, units : 4 * units]
    if call.options.form == "threshold":
        return d.T @ heard
    reset = heard * arrays["gates"].view(-1, 3 * units)[:, :units]
    return torch.cat([d[:, : 2 * units].T @ heard, d[:, 2 * units :].T @ reset])


def _contiguous(tensor: Tensor | None) -> Tensor | None:
    return None if tensor is None else tensor.contiguous()


class _Call:
    """
    Arguments of the compiled functions.

    Attributes:
        arrays: Tensors, or None, by their names in ``struct recurrent_event_gru``.
    """

    def __init__(
        self,
        options: Options,
        shape: tuple[int, ...],
        dtype: torch.dtype,
        h_0: Tensor,
        y_0: Tensor,
        weight_hh: Tensor,
        theta: Tensor,
        moves: Tensor | None,
        *computed: Tensor,
    ):
        self.options, self.shape = options, shape
        self._double = dtype == torch.float64
        self.threads = max(1, min(torch.get_num_threads(), shape[1]))
        given = {"h_0": h_0, "y_0": y_0, "R": weight_hh, "theta": theta, "moves": moves}
        self.arrays: dict[str, Any] = {name: _contiguous(tensor) for name, tensor in given.items()}
        self.arrays |= dict(zip(("gates", "inner", "c", "y"), computed, strict=True))

    def row_width(self) -> int:
        """Elements of a row of ``d_pre``: an odd number of cache lines, so that rows do not share them."""
        _, lib = _library()
        line = _CACHE_LINE // (8 if self._double else 4)
        lines = -(-(4 * self.shape[2] + lib.recurrent_pad()) // line)
        return (lines | 1) * line

    def run(self, function: str) -> Any:
        """
        Call it; returns the struct.

        Raises:
            MemoryError: There is too little.
            UsageError: No such level.
        """
        ffi, lib = _library()
        steps, batch, units = self.shape
        level, surrogate = self.options.level, self.options.surrogate
        gru = ffi.new(
            "struct recurrent_event_gru *",
            {
                "steps": steps,
                "batch": batch,
                "units": units,
                "threads": self.threads,
                "level": lib.recurrent_levels() - 1 if level is None else level,
                "is_double": self._double,
                "form": _FORMS[self.options.form],
                "products": _PRODUCTS[self.options.products],
                "move": self.options.move,
                "damping": surrogate.damping,
                "support": surrogate.support,
            },
        )
        for name, tensor in self.arrays.items():
            if tensor is not None:
                setattr(gru, name, ffi.cast("void *", tensor.data_ptr()))
        d_pre = self.arrays.get("d_pre")
        if d_pre is not None:
            gru.d_stride = d_pre.shape[1]
        result = getattr(lib, function)(gru)
        if result == lib.RECURRENT_NO_MEMORY:
            raise MemoryError(f"{function}: no memory for {steps} steps of {batch} sequences of {units} units")
        if result == lib.RECURRENT_NO_LEVEL:
            raise UsageError(f"{function}: this machine has no level {level} of vector code")
        return gru

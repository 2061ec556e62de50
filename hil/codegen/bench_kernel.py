"""One kernel of a bench firmware: its inputs, its call, and numbers to fill them with."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from hil.codegen.c_text import constant
from hil.codegen.parts import Part
from hil.fixed import to_q15

STEPS = 8
"""Inputs of each kernel, used in turn from reset on."""

_KERNEL = """\
{definitions}static const {type} *{name}_x;
static unsigned {name}_calls;

static void prepare_{name}(void)
{{
    {name}_x = &{name}_inputs[{name}_calls % STEPS * {stride}u];
    {name}_calls++;{prepare}
}}

static void run_{name}(void)
{{
    {run}
}}
"""


@dataclass(frozen=True)
class BenchKernel:
    """
    One kernel to be measured; its name is that of its C function.

    Attributes:
        header: Where the function is declared.
        type: C type of its inputs, ``<name>_inputs[STEPS * stride]``.
        stride: Elements from one input to the next.
        definitions: What it needs at file scope.
        run: The call; its input is ``<name>_x``.
        prepare: Statements before each call, outside of the measured window.
        files: Further sources by name, such as generated assembly.
    """

    header: str
    type: str
    stride: int
    definitions: str
    run: str
    prepare: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def text(self, name: str) -> str:
        """Its C: inputs, ``prepare_<name>`` and ``run_<name>``."""
        return _KERNEL.format(
            name=name,
            type=self.type,
            stride=self.stride,
            definitions=self.definitions,
            run=self.run,
            prepare=f"\n    {self.prepare}" if self.prepare else "",
        )


Maker = Callable[[int, int, random.Random], BenchKernel]
"""D, H and a seeded generator to a kernel; those with a shape of their own ignore D and H."""


def uniform(rng: random.Random, count: int, bound: float) -> npt.NDArray[np.float32]:
    """[count] in (-bound, bound); the same in every version of Python."""
    return np.array([(2 * rng.random() - 1) * bound for _ in range(count)], np.float32)


def choose(rng: random.Random, values: Sequence[int], shape: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Elements of ``values``, the same in every version of Python."""
    picked = [values[int(rng.random() * len(values))] for _ in range(int(np.prod(shape)))]
    return np.array(picked, np.int64).reshape(shape)


def on_q15(
    name: str, header: str, inputs: int, part: Part, rng: random.Random, values: npt.NDArray[np.int16] | None = None
) -> BenchKernel:
    """
    A layer whose input is a vector of Q15.

    Args:
        name: Of its C function.
        header: Where that is declared.
        inputs: D.
        part: The layer; its input is ``<name>_x``.
        rng: Of random inputs.
        values: [STEPS, D] inputs; None: random ones.
    """
    stride = inputs + inputs % 2
    x = np.zeros((STEPS, stride), np.int16)
    if values is None:
        values = to_q15(uniform(rng, STEPS * inputs, 0.99)).reshape(STEPS, inputs)
    x[:, :inputs] = values
    table = constant(f"{name}_inputs", x, "[STEPS][D] Q15, D rounded up to even: a step's x is aligned to 4")
    return BenchKernel(header, "int16_t", stride, table + part.definitions, part.run)

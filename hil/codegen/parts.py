"""What a layer's C is made of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hil.artefact import Rows
from hil.layer_build import LayerBuild


@dataclass(frozen=True)
class Part:
    """
    The C of one layer.

    Attributes:
        definitions: Arrays, buffers and structures at file scope.
        run: Statement that computes it.
        result: Expression of its output, the input of the next layer.
        reset: Statement that starts a sequence, or ``""``.
        inspect: Initializer of its ``struct model_layer``, or ``""``.
        files: Further sources by name, such as generated assembly.
    """

    definitions: str
    run: str
    result: str
    reset: str = ""
    inspect: str = ""
    files: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class RowSums:
    """
    How the sums of some rows are computed.

    Attributes:
        definitions: Constants and declarations at file scope.
        call: Expressions of input, state and sums to the statement; a dense layer's state is ``"0"``.
        files: As `Part.files`.
        reset: Statement that starts a sequence, or ``""``.
    """

    definitions: str
    call: Callable[[str, str, str], str]
    files: Mapping[str, str] = field(default_factory=dict)
    reset: str = ""


RowsKernel = Callable[[str, Rows, int, LayerBuild], RowSums]
"""Of a name prefix, the rows, how many of their columns belong to the input (the rest is state), and the choice."""

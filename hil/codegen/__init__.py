"""C from an artefact: ``emit_c`` writes a model, ``emit_bench_c`` kernels to be measured without one,
``emit_calibration`` the micro-benchmarks of the cycle model."""

from hil.codegen.bench import BENCH_KERNELS, emit_bench_c
from hil.codegen.calibration import CalibrationKernel, calibration_kernels, emit_calibration
from hil.codegen.kernels import complete_build, kernels_of, layers_of
from hil.codegen.model import emit_c

__all__ = [
    "BENCH_KERNELS",
    "CalibrationKernel",
    "calibration_kernels",
    "complete_build",
    "emit_bench_c",
    "emit_c",
    "emit_calibration",
    "kernels_of",
    "layers_of",
]

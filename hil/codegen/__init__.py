"""C from an artefact: ``emit_c`` writes a model, ``emit_bench_c`` kernels to be measured without one."""

from hil.codegen.bench import BENCH_KERNELS, FRONT_ENDS, emit_bench_c
from hil.codegen.model import emit_c

__all__ = ["BENCH_KERNELS", "FRONT_ENDS", "emit_bench_c", "emit_c"]

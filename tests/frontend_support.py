"""Front ends compiled for this machine, called from Python: the same C that runs on the chip."""

from __future__ import annotations

import cffi
import numpy as np

from hil.artefact import FrontEnd
from hil.codegen.frontend import frontend_buffers, frontend_constants
from hil.features.spectrum import padded
from hil.firmware.host import compile_host_library

_RUN = """\
uint32_t run_{name}(const int16_t *samples, int16_t *x);
uint32_t run_{name}(const int16_t *samples, int16_t *x)
{{
    for (unsigned i = 0; i < {window}u; i++) {{
        {name}_samples[i] = samples[i];
    }}
    return frontend_frame(&{name}, {name}_samples, {name}_work, x);
}}

void begin_{name}(void);
void begin_{name}(void)
{{
    frontend_reset(&{name});
}}
"""
_HEAD = '#include "frontend/frontend.h"\n\n#include <stddef.h>\n\n'


def sources(frontends: dict[str, FrontEnd]) -> dict[str, str]:
    """A C file that has ``run_<name>`` for each front end."""
    parts = (
        frontend_constants(name, fe) + frontend_buffers(name, fe) + _RUN.format(name=name, window=fe.window)
        for name, fe in frontends.items()
    )
    return {"frontends.c": _HEAD + "\n".join(parts)}


class HostFrontEnds:
    """Front ends by name, under UBSan."""

    def __init__(self, frontends: dict[str, FrontEnd], folder) -> None:
        self.frontends = frontends
        ffi = cffi.FFI()
        for name in frontends:
            ffi.cdef(f"uint32_t run_{name}(const int16_t *samples, int16_t *x); void begin_{name}(void);")
        ffi.cdef("int32_t log2_q10(uint32_t value); uint32_t sqrt_rounded(uint32_t value);")
        self.ffi = ffi
        self.lib = ffi.dlopen(str(compile_host_library(sources(frontends), folder, parts=("frontend",))))

    def extract(self, name: str, samples, frontend: FrontEnd | None = None) -> tuple[np.ndarray, int]:
        """What `hil.features.extract` gives; ``frontend``: another hop or number of frames."""
        fe = frontend or self.frontends[name]
        whole = padded(samples, fe.window, fe.hop, fe.frames)
        x = np.zeros((fe.frames, fe.features), np.int16)
        run, clipped = getattr(self.lib, f"run_{name}"), 0
        getattr(self.lib, f"begin_{name}")()
        for t in range(fe.frames):
            frame = np.ascontiguousarray(whole[t * fe.hop : t * fe.hop + fe.window])
            clipped += run(self.ffi.from_buffer("int16_t[]", frame), self.ffi.from_buffer("int16_t[]", x[t]))
        return x, clipped

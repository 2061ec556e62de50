import cffi
import numpy as np
import pytest

from hil.firmware import compile_host_library
from hil.link.c_header import HEADER_FILE, c_header
from hil.link.codec import encode_body
from hil.link.schema import BODIES, Kind
from hil.resources import resource

SCALARS = {kind: [f for f in fields if f.count == 1] for kind, fields in BODIES.items()}
ARRAYS = {kind: [f for f in fields if f.count != 1] for kind, fields in BODIES.items()}
WIDTH = {"u8": 1, "u16": 2, "u32": 4, "i16": 2, "i32": 4}


def c_function(signature, lines):
    return [f"{signature};", signature, "{", "    (void)body;", "    (void)v;", *lines, "}", ""]


def c_driver():
    """Functions of each kind that write and read every scalar field, and a table of the arrays' places."""
    text = ['#include "link/link_schema.h"', ""]
    for kind, fields in SCALARS.items():
        name = kind.name.lower()
        puts = [f"    link_{name}_put_{f.name}(body, (uint{8 * WIDTH[f.type]}_t)v[{i}]);" for i, f in enumerate(fields)]
        gets = [f"    v[{i}] = link_{name}_get_{f.name}(body);" for i, f in enumerate(fields)]
        places = [f"LINK_{kind.name}_BYTES", *(f"LINK_{kind.name}_{f.name.upper()}_AT" for f in ARRAYS[kind])]
        text += c_function(f"void put_{name}(uint8_t *body, const uint32_t *v)", puts)
        text += c_function(f"void get_{name}(const uint8_t *body, uint32_t *v)", gets)
        text += [f"extern const uint32_t at_{name}[];", f"const uint32_t at_{name}[] = {{{', '.join(places)}}};", ""]
    return "\n".join(text)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    ffi = cffi.FFI()
    for kind in BODIES:
        name = kind.name.lower()
        ffi.cdef(f"void put_{name}(uint8_t *, const uint32_t *); void get_{name}(const uint8_t *, uint32_t *);")
        ffi.cdef(f"extern const uint32_t at_{name}[];")
    path = compile_host_library({"driver.c": c_driver()}, tmp_path_factory.mktemp("schema"), parts=("link",))
    return ffi, ffi.dlopen(str(path))


def test_the_committed_header_is_what_the_schema_gives():
    """``python -m hil.link.c_header`` would change nothing."""
    assert (resource("firmware") / HEADER_FILE).read_text(encoding="utf-8") == c_header()


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.name)
def test_c_and_python_put_every_field_in_the_same_place(library, kind):
    """Distinct bytes in every scalar field give equal bodies, and C reads back what it wrote."""
    ffi, lib = library
    scalars, arrays = SCALARS[kind], ARRAYS[kind]
    rng = np.random.default_rng(kind)
    values = [int(rng.integers(1, 1 << 8 * WIDTH[f.type])) for f in scalars]
    given = {f.name: v for f, v in zip(scalars, values, strict=True)}
    given |= {f.name: [0] * f.count for f in arrays}
    expected = encode_body(kind, **given)

    body, read = ffi.new("uint8_t[]", 256), ffi.new("uint32_t[]", 32)
    getattr(lib, f"put_{kind.name.lower()}")(body, values)
    getattr(lib, f"get_{kind.name.lower()}")(body, read)

    assert bytes(body)[: len(expected)] == expected
    assert list(read)[: len(values)] == values


@pytest.mark.parametrize("kind", BODIES, ids=lambda kind: kind.name)
def test_c_knows_where_arrays_begin(library, kind):
    """LINK_..._BYTES is the fixed part; LINK_..._AT is the sum of the sizes before the array."""
    _, lib = library
    sizes = [WIDTH[f.type] * f.count for f in BODIES[kind]]
    places = [sum(sizes[:i]) for i, f in enumerate(BODIES[kind]) if f.count != 1]

    got = getattr(lib, f"at_{kind.name.lower()}")

    assert [sum(sizes), *places] == [got[i] for i in range(1 + len(places))]


def test_request_kinds_are_consecutive_and_answers_have_the_top_bit():
    """The firmware looks requests up in a table indexed by kind."""
    asked = sorted(kind for kind in Kind if kind < 0x80)
    assert asked == list(range(1, len(asked) + 1))

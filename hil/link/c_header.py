"""
``firmware/link/link_schema.h`` from the tables of `hil.link.schema`.

Run it with ``python -m hil.link.c_header``; a test compares the committed file with `c_header`.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from hil.link import schema
from hil.link.schema import BODIES, HEADER
from hil.link.schema_field import Field
from hil.resources import resource

HEADER_FILE = "link/link_schema.h"
"""Inside the ``firmware`` folder."""

_BYTES = {"u8": 1, "u16": 2, "u32": 4, "i16": 2, "i32": 4}
_C_TYPES = {"u8": "uint8_t", "u16": "uint16_t", "u32": "uint32_t", "i16": "int16_t", "i32": "int32_t"}

_TOP = """\
/* link_schema.h -- the link's frames as C constants and field accessors.
 *
 * Written by `python -m hil.link.c_header` from hil/link/schema.py: change that file, not this one.
 * docs/link.md explains every byte. A body is a packed byte array, little-endian:
 *
 *   LINK_<KIND>_BYTES        length of the body, or of its part before an array of variable length
 *   LINK_<KIND>_<FIELD>_AT   where an array begins in the body
 *   link_<kind>_get_<field>, link_<kind>_put_<field>   a scalar field, whatever its alignment
 */
#ifndef LINK_LINK_SCHEMA_H
#define LINK_LINK_SCHEMA_H

#include <stdint.h>
"""

_PRIMITIVES = """\
static inline uint8_t link_get_u8(const uint8_t *at)
{
    return at[0];
}

static inline uint16_t link_get_u16(const uint8_t *at)
{
    return (uint16_t)((uint32_t)at[0] | (uint32_t)at[1] << 8);
}

static inline uint32_t link_get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline void link_put_u8(uint8_t *at, uint8_t value)
{
    at[0] = value;
}

static inline void link_put_u16(uint8_t *at, uint16_t value)
{
    at[0] = (uint8_t)value;
    at[1] = (uint8_t)(value >> 8);
}

static inline void link_put_u32(uint8_t *at, uint32_t value)
{
    link_put_u16(at, (uint16_t)value);
    link_put_u16(at + 2, (uint16_t)(value >> 16));
}

static inline void link_put_i16(uint8_t *at, int16_t value)
{
    link_put_u16(at, (uint16_t)value);
}

static inline void link_put_i32(uint8_t *at, int32_t value)
{
    link_put_u32(at, (uint32_t)value);
}
"""


def c_header() -> str:
    """The whole header file."""
    parts = [
        _TOP,
        _limits(),
        _enum("link_kind", "LINK_", schema.Kind, "frame types; answers have the top bit set"),
        _enum("link_flag", "LINK_", schema.Flag, "bits of a header's flags"),
        _enum("link_error", "LINK_ERROR_", schema.ErrorCode, "code of an ERROR frame"),
        _enum("link_detail", "LINK_DETAIL_", schema.Detail, "what STEP frames carry, as BEGIN says"),
        _enum("link_listen", "LINK_LISTEN_", schema.Listen, "bits of a LISTEN request's flags"),
        _enum("link_content", "LINK_CONTENT_", schema.Content, "bits of a CAPTURE request's content"),
        _enum("link_trigger", "LINK_TRIGGER_", schema.Trigger, "trigger of a CAPTURE request"),
        _enum("link_microphone", "LINK_MICROPHONE_", schema.Microphone, "where samples come from"),
        _enum("link_crash", "LINK_CRASH_", schema.Crash, "how of a CRASH request"),
        _PRIMITIVES,
        _body("header", HEADER),
        *(_body(kind.name.lower(), fields) for kind, fields in BODIES.items()),
        "#endif\n",
    ]
    return "\n".join(parts)


def _limits() -> str:
    sizes = ("MAX_BODY", "MAX_REPLY", "WINDOW", "MAX_STREAM_LINE", "MAX_STREAM_REPLY", "HEADER_BYTES", "CRC_BYTES")
    names = ("PROTOCOL_VERSION", *sizes)
    lines = [f"#define LINK_{name} {getattr(schema, name)}u" for name in names]
    lines += [f"#define LINK_{name} 0x{getattr(schema, name):02X}u" for name in ("FRAME_TAG", "DELIMITER")]
    return "\n".join(lines) + "\n"


def _enum(name: str, prefix: str, members: Iterable[enum.IntEnum | enum.IntFlag], meaning: str) -> str:
    lines = [f"    {prefix}{member.name} = 0x{int(member):02X}," for member in members]
    return "\n".join([f"enum {name} {{ /* {meaning} */", *lines, "};\n"])


def _body(name: str, fields: tuple[Field, ...]) -> str:
    placed = list(_offsets(fields))
    size = next((at for field, at in placed if field.count == 0), sum(_size(field) for field, _ in placed))
    lines = [f"/* {name.upper()} */"]
    if name != "header":
        lines.append(f"#define LINK_{name.upper()}_BYTES {size}u")
    for field, at in placed:
        lines.append(_array(name, field, at) if field.count != 1 else _scalar(name, field, at))
    return "\n".join(lines) + "\n"


def _offsets(fields: tuple[Field, ...]) -> Iterator[tuple[Field, int]]:
    at = 0
    for field in fields:
        yield field, at
        at += _size(field)


def _size(field: Field) -> int:
    return _BYTES[field.type] * field.count


def _array(name: str, field: Field, at: int) -> str:
    count = field.count or "rest"
    return f"#define LINK_{name.upper()}_{field.name.upper()}_AT {at}u /* {field.type}[{count}]: {field.meaning} */"


def _scalar(name: str, field: Field, at: int) -> str:
    """Accessors of one field; those of signed fields are never read by the firmware, so only written."""
    kind, c_type, where = field.type, _C_TYPES[field.type], f"body + {at}" if at else "body"
    lines = [f"/* {field.meaning} */"]
    if kind.startswith("u"):
        lines.append(f"static inline {c_type} link_{name}_get_{field.name}(const uint8_t *body)")
        lines.append(f"{{\n    return link_get_{kind}({where});\n}}")
    lines.append(f"static inline void link_{name}_put_{field.name}(uint8_t *body, {c_type} value)")
    lines.append(f"{{\n    link_put_{kind}({where}, value);\n}}")
    return "\n".join(lines)


def main() -> None:
    """Write the header into the ``firmware`` folder."""
    path: Path = resource("firmware") / HEADER_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.write_text(c_header(), encoding="utf-8")
    temporary.replace(path)
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

"""Writes docs/units.md, the table of every contract field: `python docs/make_units.py`.

Everything in it comes from the contracts; a test says when the file is no longer what they say.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pydantic.fields import FieldInfo

from openvrc.contracts.columns import BATCH_LEVEL, Column, columns_of
from openvrc.contracts.messages import MESSAGES, MessageType
from openvrc.contracts.messages.record import (
    ID_PATTERN,
    NANOSECONDS_1970_TO_2200,
    TOPIC_ID_PATTERN,
    EdgeMarks,
    Record,
)

PAGE = Path(__file__).with_name("units.md")
NO_BOUND = 2.0**62
"""Bounds from here on only say "an integer that fits"."""
TYPE_OF_KIND = {"i64": "integer", "f64": "number", "f32": "number", "text": "text"}
HEAD = f"""\
# Fields and units

Generated from `openvrc/contracts/messages/` by `python docs/make_units.py`; do not edit.

SI units, and the unit stands in the name. Positions are WGS-84, times nanoseconds since the UTC
epoch. **Required** fields are bold; any other is left out when its value is not known. Ranges are
inclusive; a value outside is rejected as `out_of_range`. Step is the resolution at which our own
senders round. Ids match `{ID_PATTERN}`, ids in topics (zone, source, run)
`{TOPIC_ID_PATTERN}`.

Privacy: *public* is about the road or the platform, *vehicle* about one vehicle, *personal* tells
where a person is or was.
"""
TABLE = "| field | unit | range | step | privacy | meaning |\n|---|---|---|---|---|---|\n"
COMMON = "every message"


def page() -> str:
    """The whole document."""
    shared = [row_of(name, field) for name, field in Record.model_fields.items()]
    marks = [row_of(name, field) for name, field in EdgeMarks.model_fields.items()]
    parts = [
        HEAD,
        _section(f"Fields of {COMMON}", "What a sender says of itself and its record.", shared),
        _section("What the edge adds to every message", "A sender may not set these.", marks),
        *map(_message_section, MESSAGES.values()),
    ]
    return "\n".join(parts)


def _message_section(message: MessageType) -> str:
    own = {n: f for n, f in message.model.model_fields.items() if n not in Record.model_fields}
    marks = {n: f for n, f in message.marks.model_fields.items() if n not in EdgeMarks.model_fields}
    rows = [row_of(name, field, message.name) for name, field in own.items()]
    rows += [row_of(name, field, message.name, is_mark=True) for name, field in marks.items()]
    text = " ".join((message.model.__doc__ or "").split())
    return _section(f"`{message.name}`", f"{text} Sent by: {', '.join(message.senders)}.", rows)


def row_of(
    name: str, field: FieldInfo, message: str = "vehicle_state", *, is_mark: bool = False
) -> str:
    """One table row; the message says where the field's column is found."""
    if name in BATCH_LEVEL:
        return _batch_level_row(name, field)
    column = next(column for column in columns_of(message) if column.name == name)
    shown = f"**{name}**" if column.is_required and not column.is_mark else name
    step = "" if column.decimals is None else f"{10.0**-column.decimals:.{column.decimals}f}"
    meaning = f"{column.description} (set by the edge)" if is_mark else column.description
    cells = (shown, column.unit, _range(column, field), step, column.privacy, meaning)
    return _row(cells)


def _batch_level_row(name: str, field: FieldInfo) -> str:
    extra: Any = field.json_schema_extra
    words = getattr(field.annotation, "__args__", ())
    cells = (name, "", ", ".join(words) or "text", "", extra["privacy"], field.description or "")
    return _row(cells)


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _range(column: Column, field: FieldInfo) -> str:
    if column.is_bool:
        return "false, true"
    if column.kind == "code":
        return ", ".join(column.values)
    if column.kind == "text":
        longest = next((r.max_length for r in field.metadata if hasattr(r, "max_length")), None)
        return f"text up to {longest:,} characters" if longest else "text"
    bounds = _bounds(column)
    return f"list, each {bounds}" if column.kind == "f32_list" else bounds


def _bounds(column: Column) -> str:
    kind = "number" if column.kind == "f32_list" else TYPE_OF_KIND[column.kind]
    if (column.low, column.high) == NANOSECONDS_1970_TO_2200:
        return "1970 to 2200"
    high = None if column.high is None or column.high >= NO_BOUND else column.high
    if column.low is None and high is None:
        return kind
    if high is None:
        return f"{kind}, from {_plain(column.low)}"
    return f"{kind}, {_plain(column.low)} to {_plain(high)}"


def _plain(bound: float | None) -> str:
    value = bound or 0.0
    return f"{value:,.0f}" if value.is_integer() else f"{value:g}"


def _section(title: str, text: str, rows: list[str]) -> str:
    return f"## {title}\n\n{text}\n\n{TABLE}{''.join(rows)}"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""Named SQL statements from `queries/*.sql`.

A statement begins with "-- name: x"; the comment lines behind it say what it does and what its
`%(parameters)s` are.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

QUERIES = Path(__file__).parent / "queries"
_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements() -> dict[str, str]:
    """Every statement by its name. Raises ValueError for a name used twice."""
    found: dict[str, str] = {}
    for path in sorted(QUERIES.glob("*.sql")):
        parts = _NAME.split(path.read_text(encoding="utf-8"))
        for name, text in zip(parts[1::2], parts[2::2], strict=True):
            if name in found:
                raise ValueError(f"{path.name}: statement {name!r} is defined twice")
            found[name] = _without_comments(text)
    return found


def _without_comments(text: str) -> str:
    """Descriptions name the {placeholders}: they must not be filled in."""
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("--")]
    return "\n".join(lines).strip().rstrip(";")


def statement(name: str) -> bytes:
    """One statement, as bytes: psycopg takes them for any text."""
    return statements()[name].encode()

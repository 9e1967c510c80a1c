"""`vrc inspect gbt32960 HEX|FILE`: what every byte of a frame means."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from openvrc.contracts.gbt32960.inspect import Line

ROW_BYTES = 10
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2})+")
_BETWEEN = re.compile(r"0[xX]|\\x|[\s:,;'\"\[\]{}()-]")
"""What stands between hex digits in dumps, sources and logs."""
_IN_TEXT = re.compile(r"(?:0x)?(2323|2424|23[ ,]+(?:0x)?23|24[ ,]+(?:0x)?24)"
                      r"(?:[ ,]*(?:0x)?[0-9a-f]{2}){20,}", re.IGNORECASE)  # fmt: skip
"""A frame somewhere in a line of text: its start, and at least a head behind it."""


@click.group()
def inspect() -> None:
    """Show what foreign frames mean, byte by byte."""


@inspect.command()
@click.argument("source")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a field")
def gbt32960(source: str, is_json: bool) -> None:
    """Frames of GB/T 32960.3 in SOURCE: hex digits, a file of hex, text or bytes, - for stdin."""
    from openvrc.contracts.gbt32960.inspect import NO_FRAME
    from openvrc.contracts.gbt32960.inspect import inspect as lines_of

    pieces = lines_of(_bytes_of(source))
    for place, lines in enumerate(pieces):
        if not is_json:
            click.echo(f"{'' if place == 0 else chr(10)}piece {place + 1} of {len(pieces)}")
        for line in lines:
            click.echo(json.dumps(line.to_json()) if is_json else _text(line))
    if not pieces or any(line.field == NO_FRAME for lines in pieces for line in lines):
        sys.exit(1)


def _text(line: Line) -> str:
    """One field; the bytes of a long one go on below it."""
    digits = line.hex.split(" ")
    rows = [" ".join(digits[at : at + ROW_BYTES]) for at in range(0, len(digits), ROW_BYTES)]
    head = f"{line.offset:>6}  {rows[0]:<{3 * ROW_BYTES}} {line.field:<28}  {line.raw:>20}"
    below = [f"{'':>6}  {row}" for row in rows[1:]]
    return "\n".join([f"{head}  {line.meaning} {line.unit}".rstrip(), *below])


def _bytes_of(source: str) -> bytes:
    if source == "-":
        return _bytes_in(sys.stdin.buffer.read())
    if _HEX.fullmatch(_BETWEEN.sub("", source)):
        return _bytes_in(source.encode())
    if Path(source).is_file():
        return _bytes_in(Path(source).read_bytes())
    raise click.UsageError(f"{source[:60]!r} is neither hex digits nor a file")


def _bytes_in(data: bytes) -> bytes:
    """What hex digits say, or the frames that a text holds; other bytes as they are."""
    text = data.decode("latin-1")
    plain = _BETWEEN.sub("", text)
    if _HEX.fullmatch(plain):
        return bytes.fromhex(plain)
    found = [match.group() for match in _IN_TEXT.finditer(text)] if data.isascii() else []
    return bytes.fromhex("".join(_BETWEEN.sub("", part) for part in found)) if found else data

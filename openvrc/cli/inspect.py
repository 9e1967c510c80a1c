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
_HEX = re.compile(r"(?:[0-9A-Fa-f]{2}[\s:,]*)+")


@click.group()
def inspect() -> None:
    """Show what foreign frames mean, byte by byte."""


@inspect.command()
@click.argument("source")
@click.option("--json", "is_json", is_flag=True, help="One JSON object a field")
def gbt32960(source: str, is_json: bool) -> None:
    """Frames of GB/T 32960.3 in SOURCE: hex digits, a file of hex or of bytes, or - for stdin."""
    from openvrc.contracts.gbt32960.inspect import inspect as lines_of

    pieces = lines_of(_bytes_of(source))
    for place, lines in enumerate(pieces):
        if not is_json:
            click.echo(f"{'' if place == 0 else chr(10)}piece {place + 1} of {len(pieces)}")
        for line in lines:
            click.echo(json.dumps(line.to_json()) if is_json else _text(line))
    if not pieces or any(line.field == "no frame" for lines in pieces for line in lines):
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
        data = sys.stdin.buffer.read()
    elif _HEX.fullmatch(source.strip()):
        data = source.encode()
    elif Path(source).is_file():
        data = Path(source).read_bytes()
    else:
        raise click.UsageError(f"{source[:60]!r} is neither hex digits nor a file")
    text = data.decode("latin-1").strip()
    return bytes.fromhex(re.sub(r"[\s:,]", "", text)) if _HEX.fullmatch(text) else data

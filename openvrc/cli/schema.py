"""`vrc schema`: the contracts as JSON Schema and AsyncAPI 3 files."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import click

from openvrc.contracts.messages import MESSAGES
from openvrc.contracts.schema import asyncapi, json_schema


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=Path("schema"), show_default=True)
def schema(out: Path) -> None:
    """Write OUT/<message>.schema.json for every message and OUT/asyncapi.json."""
    out.mkdir(parents=True, exist_ok=True)
    documents = {f"{name}.schema.json": json_schema(row) for name, row in MESSAGES.items()}
    documents["asyncapi.json"] = asyncapi(version("openvrc"))
    for name, document in documents.items():
        (out / name).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    click.echo(f"wrote {len(documents)} files to {out}/")

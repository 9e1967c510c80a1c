"""`vrc trace SOURCE SESSION SEQ`: where one message went, stage by stage."""

from __future__ import annotations

import json
from urllib.parse import quote

import click

from openvrc.cli.client import Api
from openvrc.settings import load_settings


@click.command()
@click.argument("source")
@click.argument("session", type=int)
@click.argument("seq", type=int)
@click.option("--cloud", "cloud_url", help="Base URL of the cloud")
def trace(source: str, session: int, seq: int, cloud_url: str | None) -> None:
    """Tell where record SEQ of SOURCE's SESSION went, with times, as JSON."""
    settings = load_settings(cloud_url=cloud_url)
    api = Api(settings.cloud_url, settings.api_key)
    answer = api.get(f"/v1/trace/{quote(source, safe='')}/{session}/{seq}")
    click.echo(json.dumps(answer, indent=2))

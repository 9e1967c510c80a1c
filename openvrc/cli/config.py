"""`vrc config show`: each setting, its value and where the value came from."""

from __future__ import annotations

import os
import tomllib
from typing import Any
from urllib.parse import urlsplit

import click

from openvrc.settings import CONFIG_FILE, ENV_PREFIX, Settings, load_settings

_SECRET = ("api_key", "cloud_api_keys")
_URLS = ("database_url", "broker_url")


@click.group()
def config() -> None:
    """Look at the configuration."""


def source_of(name: str, file_values: dict[str, Any]) -> str:
    """Where a value came from: environment, the file's name, or "default"."""
    if f"{ENV_PREFIX}{name}".upper() in {key.upper() for key in os.environ}:
        return f"environment {ENV_PREFIX}{name.upper()}"
    return str(CONFIG_FILE) if name in file_values else "default"


def shown(name: str, value: Any) -> str:
    """The value as text, secrets masked."""
    if name in _SECRET and value:
        return "(set)"
    if name in _URLS and value and urlsplit(value).password:
        return str(value).replace(f":{urlsplit(value).password}@", ":***@")
    return str(value) if value != "" else "(empty)"


@config.command()
def show() -> None:
    """Print every setting: value, source, meaning."""
    settings = load_settings()
    file_values = tomllib.loads(CONFIG_FILE.read_text("utf-8")) if CONFIG_FILE.exists() else {}
    for name, field in Settings.model_fields.items():
        value = shown(name, getattr(settings, name))
        click.echo(f"{name} = {value}   [{source_of(name, file_values)}]   {field.description}")

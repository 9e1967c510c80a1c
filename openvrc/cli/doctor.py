"""`vrc doctor`: what this machine and its servers offer, and what would be used."""

from __future__ import annotations

import platform as machine
import socket
import sys
from urllib.parse import urlsplit

import click

from openvrc.settings import Settings, load_settings

MQTT_PORT = 1883


@click.command()
def doctor() -> None:
    """Check Python, broker, database and cloud; exit 1 if something configured fails."""
    settings = load_settings()
    click.echo(f"python      {machine.python_version()} on {machine.system()} {machine.machine()}")
    checks = [_check_broker(settings), _check_database(settings), _check_cloud(settings)]
    sys.exit(0 if all(checks) else 1)


def _report(name: str, ok: bool, text: str) -> bool:
    click.echo(f"{name:<11} {'ok' if ok else 'FAILED'}: {text}")
    return ok


def _check_broker(settings: Settings) -> bool:
    from openvrc.embedded.broker import find_mosquitto

    click.echo(f"embedded    broker would be {find_mosquitto() or 'amqtt (no mosquitto found)'}")
    parts = urlsplit(settings.broker_url)
    address = (parts.hostname or "127.0.0.1", parts.port or MQTT_PORT)
    try:
        with socket.create_connection(address, timeout=2):
            return _report("broker", True, f"{address[0]}:{address[1]} accepts connections")
    except OSError as error:
        is_default = settings.broker_url == Settings.model_fields["broker_url"].default
        note = " (vrc demo starts its own)" if is_default else ""
        return _report("broker", is_default, f"{address[0]}:{address[1]}: {error}{note}")


def _check_database(settings: Settings) -> bool:
    if not settings.database_url:
        return _report("database", True, "none configured; vrc demo starts an embedded PostgreSQL")
    import psycopg

    try:
        with psycopg.connect(settings.database_url, connect_timeout=3) as connection:
            row = connection.execute(
                "SELECT current_setting('server_version'), EXISTS(SELECT 1 FROM "
                "pg_available_extensions WHERE name = 'timescaledb')"
            ).fetchone()
    except psycopg.Error as error:
        return _report("database", False, str(error).strip())
    assert row is not None
    timescale = "with" if row[1] else "without"
    return _report("database", True, f"PostgreSQL {row[0]}, {timescale} TimescaleDB")


def _check_cloud(settings: Settings) -> bool:
    from openvrc.cli.client import Api

    is_default = settings.cloud_url == Settings.model_fields["cloud_url"].default
    is_ready = Api(settings.cloud_url, settings.api_key, timeout_s=2).is_ready()
    text = f"{settings.cloud_url} is {'ready' if is_ready else 'not answering'}"
    return _report("cloud", is_ready or is_default, text)

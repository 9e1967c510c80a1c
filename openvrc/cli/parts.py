"""`vrc edge`, `vrc cloud`, `vrc migrate`: one part of the platform in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from openvrc.settings import load_settings


@click.command()
@click.option("--broker", "broker_url", help="mqtt[s]://[user:password@]host[:port]")
@click.option("--cloud", "cloud_url", help="Base URL of the cloud")
@click.option("--id", "edge_id", help="Name of this edge")
@click.option("--zone", "edge_zone", help="Zone to serve, + for every zone")
@click.option("--data-dir", type=click.Path(path_type=Path), help="Where the spool lives")
@click.option("--workers", "edge_workers", type=int, help="Processes that decode; needs mosquitto")
@click.option(
    "--forget-sessions",
    "edge_forget_sessions",
    is_flag=True,
    default=None,
    help="Other workers than before: give up what the broker holds for those",
)
def edge(**flags: object) -> None:
    """Run an edge aggregator: MQTT in, checked and condensed batches out."""
    from edge.service import run_edge

    sys.exit(run_edge(load_settings(**flags)))


@click.command()
@click.option("--database", "database_url", help="postgresql://... of the database")
@click.option("--host", "cloud_host", help="Address to listen on")
@click.option("--port", "cloud_port", type=int, help="Port to listen on, 0 for any")
@click.option("--detectors", "cloud_detectors", help="Rules that run: names or globs, all: *")
def cloud(**flags: object) -> None:
    """Run the cloud service: ingest, detectors, alerts, API and page."""
    from cloud.service import run_cloud

    sys.exit(run_cloud(load_settings(**flags)))


@click.command()
@click.option("--database", "database_url", help="postgresql://... of the database")
def migrate(**flags: object) -> None:
    """Bring the database to the current schema; safe to run at any time."""
    import psycopg

    from cloud.store.migrate import migrate as run_migrations

    settings = load_settings(**flags)
    if not settings.database_url:
        raise click.UsageError("no database named: give --database or set VRC_DATABASE_URL")
    with psycopg.connect(settings.database_url) as connection:
        layout = run_migrations(connection, chunk_days=settings.cloud_chunk_days)
    click.echo(f"the schema is current; time series are cut by {layout.partitioning}")

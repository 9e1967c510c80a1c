"""The flags that `vrc replay` and `vrc analyse` share, and how they open a recording."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from openvrc.cli.fault_options import fault_options
from openvrc.contracts.messages.record import TOPIC_ID_PATTERN
from openvrc.contracts.units import ns_from_iso

DEFAULT_EPOCH = "2026-01-01T00:00:00Z"
F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option(
        "--map",
        "map_path",
        type=click.Path(exists=True, path_type=Path),
        help="Network of the recording, if it does not lie beside it",
    ),
    click.option(
        "--mapping",
        type=click.Path(exists=True, path_type=Path),
        help="TOML file that names a table's columns, units and sentinels",
    ),
    click.option(
        "--penetration",
        type=click.FloatRange(0, 1),
        default=1.0,
        show_default=True,
        help="Share of vehicles that are connected",
    ),
    click.option(
        "--rsu-share",
        type=click.FloatRange(0, 1),
        default=0.8,
        show_default=True,
        help="Share of them that roadside units relay where in range",
    ),
    click.option(
        "--noise",
        "noise_m",
        type=click.FloatRange(min=0),
        default=0.0,
        show_default=True,
        help="Standard deviation of the position noise per axis, m",
    ),
    click.option(
        "--loss",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Share of records lost on the way; they show as missing",
    ),
    click.option("--seed", type=int, default=1, show_default=True, help="Seed of every draw"),
    click.option("--overlay", default="", help="wrongway,misbehaviour: rows to add or replace"),
    click.option(
        "--epoch",
        default=DEFAULT_EPOCH,
        show_default=True,
        help="What time 0 of a recording with relative times means",
    ),
    click.option("--of-zone", default="", help="Which zone of a recording by vrc record"),
    click.option("--of-run", default="", help="Which run of it"),
)


def recording_options(command: F) -> F:
    """Add the shared flags to a click command."""
    command = fault_options(command)
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def zone_argument(_context: click.Context, _option: click.Parameter, value: str | None) -> Any:
    """A zone's name as topics allow it; anything else would wait for an edge in vain."""
    if value is not None and not re.match(TOPIC_ID_PATTERN, value):
        raise click.BadParameter(f"{value!r}, expected text matching {TOPIC_ID_PATTERN}")
    return value


def open_world(path: Path, *, zone: str, run_id: str, **flags: Any) -> Any:
    """The recording as a world, with its faults. Raises a usage error for a bad --epoch."""
    from simulator.faults.faulty_world import with_faults
    from simulator.faults.spec import parse_all
    from simulator.replay import open_recording

    try:
        epoch_ns = ns_from_iso(flags.pop("epoch"))
    except ValueError as error:
        raise click.UsageError(f"--epoch: {error}") from error
    overlay = tuple(part for part in flags.pop("overlay").split(",") if part)
    specs = parse_all(flags.pop("faults"))
    world = open_recording(
        path, zone=zone, run_id=run_id, epoch_ns=epoch_ns, overlay=overlay, **flags
    )
    return with_faults(world, specs, flags["seed"])


def zone_name(path: Path) -> str:
    """A zone's name from a recording's: what is no letter or digit becomes "-"."""
    stem = path.name.split(".")[0]
    return "".join(c if c.isalnum() or c in "_-" else "-" for c in stem) or "zone"

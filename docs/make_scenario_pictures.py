"""Draw the space-time diagrams of docs/scenarios.md; needs matplotlib, which no test needs.

    python docs/make_scenario_pictures.py

Writes docs/scenario-NAME.png: each dot a report of a vehicle that drives east on one street, by
time and by place along it, coloured by its speed. Fleets whose cars have no street in common get a
line for each car, coloured by its charge or by its hottest probe.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
import matplotlib.pyplot as plt

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from openvrc.contracts.plugins import discover  # noqa: E402

SECONDS = 240.0
STREETS_M = {  # y of the street's middle, and half its width
    "corridor": (0.0, 12.0),
    "freeway-incident": (3.0, 8.0),
    "city": (0.0, 12.0),
    "school-zone": (0.0, 8.0),
    "work-zone": (0.0, 12.0),
    "storm": (0.0, 20.0),
    "blackout": None,
    "crossroads": None,
    "port": (-95.0, 14.0),
}
"""None: the crossroads' own street, whatever its place."""
FLEETS = {  # column of battery_state, its label, colours
    "fleet": ("soc_ratio", "charge", "viridis"),
    "thermal-runaway": ("probe_temperatures_degc", "hottest probe [degC]", "inferno"),
}


def drawn(name: str) -> None:
    """One scenario's picture."""
    world = discover("simulator.scenarios")[name].make(zone="z", run_id="r", duration_s=SECONDS)
    frame_of_map = world.road_map.frame
    street = STREETS_M[name]
    when, where, how_fast = [], [], []
    for frame in world.frames():
        for batch in frame.batches():
            if batch.message != "vehicle_state":
                continue
            lat_deg, lon_deg = batch.column("lat_deg"), batch.column("lon_deg")
            x_m, y_m = frame_of_map.to_xy_m(lat_deg, lon_deg)
            heads_east = np.abs(batch.column("heading_deg") - 90.0) < 35.0
            middle_m, half_m = street or (0.0, 12.0)
            on = heads_east & (np.abs(y_m - middle_m) < half_m)
            # When it is heard: what a blackout holds back comes late.
            when.append(np.full(on.sum(), (frame.zone_time_ns - world.start_ns) / 1e9))
            where.append(x_m[on])
            how_fast.append(batch.column("speed_mps")[on] * 3.6)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=80)
    dots = axes.scatter(
        np.concatenate(when), np.concatenate(where), c=np.concatenate(how_fast), s=1.2,
        cmap="RdYlGn", vmin=0.0, linewidths=0,
    )  # fmt: skip
    figure.colorbar(dots, label="speed [km/h]")
    axes.set(title=f"{name}, eastbound", xlabel="heard at [s]", ylabel="place [m]")
    axes.set_xlim(0.0, SECONDS)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / f"scenario-{name}.png", pil_kwargs={"optimize": True})
    plt.close(figure)


def drawn_fleet(name: str) -> None:
    """One fleet's picture: a car a line."""
    world = discover("simulator.scenarios")[name].make(zone="z", run_id="r", duration_s=SECONDS)
    column, label, colours = FLEETS[name]
    when, who, what = [], [], []
    for frame in world.frames():
        for batch in frame.batches():
            if batch.message != "battery_state":
                continue
            for record in batch.to_records():
                value = record[column]
                when.append((frame.zone_time_ns - world.start_ns) / 1e9)
                who.append(int(record["subject_id"].split("-")[1]))
                what.append(max(value) if isinstance(value, list) else value)
    figure, axes = plt.subplots(figsize=(6.4, 3.2), dpi=80)
    dots = axes.scatter(when, who, c=what, s=4.0, cmap=colours, linewidths=0)
    figure.colorbar(dots, label=label)
    axes.set(title=f"{name}, reports of packs", xlabel="heard at [s]", ylabel="car")
    axes.set_xlim(0.0, SECONDS)
    figure.tight_layout()
    figure.savefig(ROOT / "docs" / f"scenario-{name}.png", pil_kwargs={"optimize": True})
    plt.close(figure)


if __name__ == "__main__":
    for scenario in sys.argv[1:] or (*STREETS_M, *FLEETS):
        (drawn_fleet if scenario in FLEETS else drawn)(scenario)

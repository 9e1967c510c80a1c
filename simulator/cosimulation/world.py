"""`vrc simulate sumo:CONFIG`: a real SUMO's vehicles, signals and loops as a zone's messages.

Who is connected and who is relayed, how positions are blurred and what a vehicle knows of itself
are those of a replay (`simulator.replay.traffic_world`); only the rows come from a SUMO that is
driven on, second by second. Truth is what SUMO knows: vehicles that stand on the road by plan,
brakings harder than its drivers' choice, and lanes that are shut (by a rerouter).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from openvrc.contracts.units import NS_PER_S
from openvrc.mapformats import read_map
from simulator.cosimulation.feeds import LiveLoops, LiveSignals
from simulator.cosimulation.session import is_installed, opened
from simulator.cosimulation.stepper import Header, Report
from simulator.emission import topic_id
from simulator.faults.kind import Parameter
from simulator.replay.net_projection import NetProjection, elements, read_projection
from simulator.replay.options import DEFAULT_EPOCH_NS, RecordingError, ReplayOptions
from simulator.replay.traffic_world import TrafficWorld
from simulator.replay.vehicles import TrafficRows, Vehicles
from simulator.rsus import place_rsus
from simulator.scenarios import ScenarioError
from simulator.scenarios.roads import values_of
from simulator.world import TruthEvent

BRAKING_S, SAME_BRAKING_S = 1.0, 3.0
"""A report covers a second; a pause of 3 s makes it another braking."""


@dataclass
class SumoScenario:
    """A configuration of SUMO as a scenario."""

    config: Path
    name: str = "sumo"
    description: str = "a SUMO configuration, stepped by SUMO itself (needs libsumo)"
    parameters: tuple[Parameter, ...] = (
        Parameter("penetration", 1.0, "share of vehicles that are connected", low=0.0, high=1.0),
        Parameter("rsu_share", 0.8, "of them: relayed by a unit in reach", low=0.0, high=1.0),
        Parameter("noise_m", 0.0, "position noise per axis", low=0.0),
    )

    def make(
        self,
        *,
        zone: str,
        run_id: str,
        seed: int = 1,
        duration_s: float | None = None,
        vehicles: int | None = None,
        start_ns: int | None = None,
        **more: Any,
    ) -> TrafficWorld:
        """See Scenario. Zone time is `start_ns` plus SUMO's time."""
        if not is_installed():
            raise ScenarioError(
                "sumo: needs libsumo, which is not installed: .venv/bin/pip install libsumo"
            )
        if vehicles is not None:
            raise ScenarioError("vehicles: how many there are is said by SUMO's configuration")
        values = values_of(self.parameters, more)
        options = ReplayOptions(
            zone=zone,
            run_id=run_id,
            penetration=float(values["penetration"]),
            rsu_share=float(values["rsu_share"]),
            noise_m=float(values["noise_m"]),
            seed=seed,
            epoch_ns=DEFAULT_EPOCH_NS if start_ns is None else start_ns,
        )
        return world_of(self.config, options, duration_s)


def world_of(config: Path, options: ReplayOptions, duration_s: float | None) -> TrafficWorld:
    """The world of a configuration. Raises ScenarioError for one that names no net."""
    net, begin_s = _named_by(config)
    road_map = read_map(net)
    rsus = place_rsus(road_map)
    vehicles = Vehicles(options)
    signals, loops = LiveSignals(options.epoch_ns), LiveLoops(options.epoch_ns, road_map, rsus)
    truth = _Truth(options.epoch_ns)
    run = _Run(config, options, read_projection(net), vehicles, signals, loops, truth, duration_s)
    return TrafficWorld(
        options=options,
        title=f"SUMO {config.name}",
        road_map=road_map,
        rsus=rsus,
        vehicles=vehicles,
        start_ns=options.epoch_ns + round(begin_s * NS_PER_S),
        steps=run.steps,
        feeds=[signals, loops],
        truth=truth.events,
        origin="simulated",
    )


def _named_by(config: Path) -> tuple[Path, float]:
    """The net a configuration names, and the time it begins at."""
    if not config.is_file():
        raise ScenarioError(f"{config}: no such file, expected a SUMO configuration")
    net, begin_s = None, 0.0
    try:
        for tag, attributes in elements(config):
            value = attributes.get("value", attributes.get("v", ""))
            if tag in ("net-file", "net", "n"):
                net = config.parent / value
            elif tag in ("begin", "b"):
                begin_s = _seconds(value)
    except (RecordingError, ValueError) as error:
        raise ScenarioError(f"{config.name}: {error}, expected a SUMO configuration") from error
    if net is None or not net.is_file():
        raise ScenarioError(f"{config.name}: net-file is {net}, expected a file that is there")
    return net, begin_s


def _seconds(value: str) -> float:
    """SUMO's times: seconds, or [days:]hours:minutes:seconds.

    >>> _seconds("07:30:00")
    27000.0
    """
    total_s = 0.0
    parts = [float(part) for part in value.split(":")]
    for part, unit_s in zip(reversed(parts), (1.0, 60.0, 3600.0, 86400.0), strict=False):
        total_s += part * unit_s
    return total_s


@dataclass
class _Run:
    """Rows of each report; the feeds and the truth see it first."""

    config: Path
    options: ReplayOptions
    projection: NetProjection
    vehicles: Vehicles
    signals: LiveSignals
    loops: LiveLoops
    truth: _Truth
    duration_s: float | None

    def steps(self) -> Iterator[TrafficRows]:
        """SUMO runs while these are taken; a second in which nobody drives has no rows."""
        with opened(self.config, self.options.seed) as session:
            header = session.header
            self.loops.begin(header)
            for report in session.reports():
                rows = self._rows(report)
                self.signals.see(report)
                self.loops.see(report)
                self.truth.see(report, rows)
                if len(rows.vehicle):
                    yield rows
                if self._is_over(header, report):
                    break

    def _is_over(self, header: Header, report: Report) -> bool:
        return self.duration_s is not None and report.time_s >= header.begin_s + self.duration_s

    def _rows(self, report: Report) -> TrafficRows:
        numbers = [
            self.vehicles.number_of(name, kind)
            for name, kind in zip(report.vehicles, report.types, strict=True)
        ]
        lat_deg, lon_deg = self.projection.lat_lon_deg(
            np.array(report.x_m, np.float64), np.array(report.y_m, np.float64)
        )
        heading_deg = np.array(report.heading_deg, np.float64)
        n = len(numbers)
        if n:
            heading_deg = self.projection.true_heading_deg(heading_deg, lat_deg, lon_deg)
        now_ns = self.options.epoch_ns + round(report.time_s * NS_PER_S)
        return TrafficRows(
            time_ns=np.full(n, now_ns, np.int64),
            vehicle=np.array(numbers, np.int32),
            lat_deg=lat_deg,
            lon_deg=lon_deg,
            speed_mps=np.array(report.speed_mps, np.float64),
            heading_deg=heading_deg,
            accel_long_mps2=np.array(report.accel_mps2, np.float64),
            lights=np.array(report.lights, np.int32),
        )


@dataclass
class _Truth:
    """What truly happened, from SUMO's own knowledge; open events have no end."""

    epoch_ns: int
    events: list[TruthEvent] = field(default_factory=list)
    _standing: dict[str, int] = field(default_factory=dict)  # vehicle -> place in `events`
    _braked_s: dict[str, float] = field(default_factory=dict)
    _shut: dict[str, int] = field(default_factory=dict)  # lane -> place in `events`

    def see(self, report: Report, rows: TrafficRows) -> None:
        """A report and its rows, in the same order."""
        at_ns = self.epoch_ns + round(report.time_s * NS_PER_S)
        self._see_closures(report, at_ns)
        place = {name: number for number, name in enumerate(report.vehicles)}
        for name in [name for name in self._standing if name not in set(report.stopped)]:
            number = self._standing.pop(name)
            self.events[number] = _ended(self.events[number], at_ns)
        for name in report.stopped:
            if name not in self._standing:
                self._standing[name] = len(self.events)
                row = place[name]
                self.events.append(_event("traffic.stopped_vehicle", report, rows, row, at_ns))
        for name, _ in report.braking:
            is_new = report.time_s - self._braked_s.get(name, -np.inf) > SAME_BRAKING_S
            self._braked_s[name] = report.time_s
            if is_new and name in place:
                begin_ns = at_ns - round(BRAKING_S * NS_PER_S)
                event = _event("traffic.hard_braking", report, rows, place[name], begin_ns)
                self.events.append(_ended(event, at_ns))

    def _see_closures(self, report: Report, at_ns: int) -> None:
        for lane in self._shut.keys() - set(report.closed):
            number = self._shut.pop(lane)
            self.events[number] = _ended(self.events[number], at_ns)
        for lane in report.closed:
            if lane not in self._shut:
                self._shut[lane] = len(self.events)
                edge, _, index = lane.rpartition("_")
                self.events.append(
                    TruthEvent("traffic.lane_closed", edge, at_ns, segment_id=edge, component=index)
                )


def _event(rule: str, report: Report, rows: TrafficRows, row: int, from_ns: int) -> TruthEvent:
    edge, _, index = report.lanes[row].rpartition("_")
    return TruthEvent(
        rule=rule,
        subject_id=topic_id(report.vehicles[row]),
        from_ns=from_ns,
        segment_id=edge,
        component=index,
        lat_deg=round(float(rows.lat_deg[row]), 7),
        lon_deg=round(float(rows.lon_deg[row]), 7),
    )


def _ended(event: TruthEvent, to_ns: int) -> TruthEvent:
    return TruthEvent(**{**event.__dict__, "to_ns": to_ns})

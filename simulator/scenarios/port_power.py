"""Packs and chargers of a terminal's automated trucks, and what both say."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulator.emission import Emitter
from simulator.energy import charging
from simulator.energy.driven import DrivenPacks
from simulator.energy.faults import Fault
from simulator.energy.models import VehicleModel
from simulator.scenarios.fleet_world import battery_columns
from simulator.scenarios.port_work import CONTAINER_KG, Work
from simulator.traffic.engine import Traffic
from simulator.traffic.events import Truth
from simulator.traffic.world import TrafficWorld
from simulator.world import Outgoing, TruthEvent

PORT_TRUCK = VehicleModel(
    name="VRC Port Truck",
    chemistry="lfp",
    series=200,
    parallel=70,
    module_cells=20,
    probes=40,
    mass_kg=26_000.0,
    drag_area_m2=6.0,
    rolling_ratio=0.008,
    auxiliary_w=4_000.0,
    regeneration_w=120_000.0,
    fast_charge_w=180_000.0,
    insulation_top_ohm=10e6,
)
"""A battery-driven container carrier: 224 kWh at 640 V, as makers state for such vehicles."""
STATION_ID = "station-port"
BATTERY_EVERY_S, CHARGER_EVERY_S = 10, 10
CHARGER_RULE = "fault.charger"
IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class ChargerFault:
    """The first stall's charger gives nothing for a while."""

    from_s: float
    for_s: float
    stall: str = "stall_0"

    def is_on(self, now_s: float) -> bool:
        """Whether it acts at that time."""
        return self.from_s <= now_s < self.from_s + self.for_s


@dataclass
class Power:
    """A Runner and an Extra: drives the packs as the traffic goes, and shares the grid's power."""

    packs: DrivenPacks
    grid_w: float
    charger_fault: ChargerFault
    charge_to: float
    work: Work = field(init=False)
    _told: set[str] = field(default_factory=set)

    def soc_ratio(self) -> NDArray[np.float64]:
        """(n,) as the trucks believe it."""
        return self.packs.believed_ratio

    @property
    def faults(self) -> Sequence[Fault]:
        """Of packs."""
        return self.packs.faults

    def before_step(self, traffic: Traffic) -> None:
        """Break and mend the charger."""
        fault = self.charger_fault
        self.work.failed = {fault.stall} if fault.is_on(traffic.now_s) else set()

    def after_step(self, traffic: Traffic, truth: Truth) -> None:
        """Take every pack on by the step, and write down what has broken."""
        packs, n, rows = self.packs, len(self.packs.vehicle_ids), traffic.rows
        row = traffic.rows_of(np.arange(n))
        self._share()
        laden = np.array([self.work.is_laden(vehicle) for vehicle in range(n)])
        packs.step(
            traffic.dt_s,
            rows.speed_mps[row],
            rows.accel_mps2[row],
            np.where(laden, CONTAINER_KG, 0),
        )
        self._tell(traffic.now_s, truth)

    def _share(self) -> None:
        """The grid's power to who is plugged in at a stall that works."""
        packs = self.packs
        before = packs.charge_w > 0
        packs.charge_w = np.zeros(len(before))
        plugged = [v for stall, v in self.work.charging().items() if stall not in self.work.failed]
        if plugged:
            most_w = np.full(len(plugged), PORT_TRUCK.fast_charge_w)
            packs.charge_w[plugged] = charging.shared_w(most_w, self.grid_w)
        for vehicle in np.flatnonzero(~before & (packs.charge_w > 0)).tolist():
            packs.plug(vehicle)

    def _tell(self, now_s: float, truth: Truth) -> None:
        fault = self.charger_fault
        if fault.is_on(now_s) and CHARGER_RULE not in self._told:
            self._told.add(CHARGER_RULE)
            name = f"{STATION_ID}:{int(fault.stall.split('_')[1]) + 1}"
            until_ns = truth.ns(fault.from_s + fault.for_s)
            truth.events.append(
                TruthEvent(CHARGER_RULE, STATION_ID, truth.ns(fault.from_s), until_ns,
                           component=name)
            )  # fmt: skip
        for pack_fault in self.faults:
            if pack_fault.from_s <= now_s and pack_fault.rule not in self._told:
                self._told.add(pack_fault.rule)
                detail = {"severity": pack_fault.severity, "unit": pack_fault.unit}
                truth.events.append(
                    TruthEvent(
                        pack_fault.rule,
                        truth.ids[pack_fault.vehicle],
                        truth.ns(pack_fault.from_s),
                        component=pack_fault.component,
                        detail=detail | pack_fault.detail,
                    )
                )

    def __call__(
        self, emitter: Emitter, world: TrafficWorld, second: int, now_ns: int
    ) -> list[Outgoing]:
        """See Extra."""
        n = len(self.packs.vehicle_ids)
        ids = list(self.packs.vehicle_ids)
        sources = np.array([emitter.source("vehicle", name) for name in ids], np.int64)
        messages: list[Outgoing] = []
        if second == 0:
            subjects = (np.arange(n, dtype=np.int32), ids)
            messages += emitter.emit("vehicle_profile", sources, subjects, _profile(n, now_ns))
        due = np.flatnonzero((np.arange(n) + second) % BATTERY_EVERY_S == 0)
        if due.size:
            columns = battery_columns(self.packs.reports(due, self.charge_to))
            columns["sampled_at_ns"] = np.full(len(due), now_ns, np.int64)
            subjects = (due.astype(np.int32), ids)
            messages += emitter.emit("battery_state", sources[due], subjects, columns)
        if second % CHARGER_EVERY_S == 0:
            messages += self._chargers(emitter, world, now_ns)
        return messages

    def _chargers(self, emitter: Emitter, world: TrafficWorld, now_ns: int) -> list[Outgoing]:
        """Every stall."""
        terminal, charging_at = self.work.terminal, self.work.charging()
        stalls = [f"stall_{k}" for k in range(terminal.stalls)]
        places = [terminal.berth(stall) for stall in stalls]
        x_m, y_m, _ = world.network.place(
            np.array([lane for lane, _ in places]), np.array([at_m for _, at_m in places])
        )
        lat_deg, lon_deg = world.road_map.frame.to_lat_lon_deg(x_m, y_m)
        users = [charging_at.get(stall) for stall in stalls]
        failed = [stall in self.work.failed for stall in stalls]
        packs = self.packs
        states = [
            "faulted" if has_failed else "available" if user is None else "charging"
            for user, has_failed in zip(users, failed, strict=True)
        ]
        is_on = [state == "charging" for state in states]
        columns = {
            "sampled_at_ns": np.full(len(stalls), now_ns, np.int64),
            "station_id": STATION_ID,
            "lat_deg": lat_deg,
            "lon_deg": lon_deg,
            "state": states,
            "power_w": _of(users, is_on, packs.power_w),
            "energy_j": _of(users, is_on, packs.charged_j),
            "fault_text": ["gives no power" if has_failed else None for has_failed in failed],
        }
        source = np.full(len(stalls), emitter.source("charger", STATION_ID), np.int64)
        words = [f"{STATION_ID}:{k + 1}" for k in range(len(stalls))]
        subjects = (np.arange(len(stalls), dtype=np.int32), words)
        return emitter.emit("charger_state", source, subjects, columns)


def _of(
    users: Sequence[int | None], is_on: Sequence[bool], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Each stall's value of who charges there, 0 where nobody does."""
    return np.array(
        [
            max(float(values[user]), 0.0) if user is not None and on else 0.0
            for user, on in zip(users, is_on, strict=True)
        ]
    )


def _profile(n: int, now_ns: int) -> dict[str, object]:
    model = PORT_TRUCK
    return {
        "sampled_at_ns": np.full(n, now_ns, np.int64),
        "model": model.name,
        "chemistry": model.chemistry,
        "rated_capacity_ah": np.full(n, model.rated_capacity_ah),
        "cells_in_series": np.full(n, model.series),
        "probe_count": np.full(n, model.probes),
        "mass_kg": np.full(n, model.mass_kg),
        "report_period_s": np.full(n, float(BATTERY_EVERY_S)),
    }

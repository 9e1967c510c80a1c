"""Days of packs: conservation, regeneration, charging with taper, stations, plans."""

from dataclasses import replace

import numpy as np
import pytest

from simulator.energy import bms, cell, charging, day, drivers, incidents, pack, plan, prepare
from simulator.energy.drivers import DAY_S, Session
from simulator.energy.driving import ROADS, speed_trace_mps, traces_of
from simulator.energy.faults import drawn_fault
from simulator.energy.models import MODELS, VehicleModel
from simulator.energy.road_load import traction_power_w

COMPACT, FAMILY, CAB = MODELS
TRACES = tuple(traces_of(model, np.random.default_rng(1)) for model in MODELS)
HONEST = bms.BmsErrors(*(np.array([value]) for value in (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)))


def vehicle(model: VehicleModel = COMPACT, **changed: object) -> prepare.Vehicles:
    """One car of a model, with a perfect BMS."""
    code = MODELS.index(model)
    chemistry = np.array([0 if model.chemistry == "nmc" else 1])
    one = np.ones(1)
    plain = prepare.Vehicles(
        model=np.array([code]),
        series=np.array([model.series], np.float32),
        parallel=np.array([model.parallel], np.float32),
        pace=np.ones(1, np.float32),
        auxiliary_w=np.array([model.auxiliary_w], np.float32),
        charge_limit_v=np.array([model.cell.charge_limit_v], np.float32),
        cells=cell.cells_of(chemistry, one, one),
        errors=HONEST,
        sensor_gain=np.zeros(1),
        sensor_offset_a=np.zeros(1),
        sensor_from_s=np.full(1, np.inf),
        cooling_ratio=one,
        cooling_from_s=np.full(1, np.inf),
        charges_cold=np.zeros(1, np.bool_),
    )
    return replace(plain, **changed)  # type: ignore[arg-type]


def live(
    sessions: list[Session],
    own: prepare.Vehicles,
    *,
    soc: float = 0.6,
    degc: float = 20.0,
    model: VehicleModel = COMPACT,
) -> tuple[day.PackState, day.Trace, prepare.Prepared]:
    steps = plan.steps_of([sessions], [model], np.random.default_rng(3))
    ambient = np.full(steps.mode.shape, degc, np.float32)
    ready = prepare.prepared(own, steps, TRACES, ambient)
    start = day.rested(own.cells, np.array([soc]), np.array([degc]))
    after, trace = day.run(start, own, ready)
    return after, trace, ready


def test_every_vehicle_s_steps_make_a_day() -> None:
    days = [
        [],
        [Session("drive", 3600, 1805)],
        [Session("drive", 7000, 900), Session("ac_charge", 9000, 20_000, limit_w=7e3)],
    ]
    steps = plan.steps_of(days, [COMPACT, FAMILY, CAB], np.random.default_rng(1))
    assert steps.dt_s.sum(axis=0, dtype=np.float64).tolist() == [DAY_S] * 3
    assert sorted(steps.order.tolist()) == [0, 1, 2]
    active = (steps.dt_s > 0).sum(axis=1)
    assert steps.n_active.tolist() == active.tolist()


def test_what_leaves_the_charge_went_through_the_terminals() -> None:
    own = vehicle()
    after, trace, _ = live([Session("drive", 3600, 3600, road=1)], own)
    drawn_ah = after.discharged_ah[0] - after.charged_ah[0]
    lost = 0.6 - after.cell.soc_ratio[0]
    assert lost * own.cells.capacity_ah[0] * COMPACT.parallel == pytest.approx(drawn_ah, rel=1e-9)
    assert after.charged_ah[0] > 0  # regeneration
    assert after.believed_ratio[0] == pytest.approx(after.cell.soc_ratio[0], abs=2e-3)
    km = after.odometer_m[0] / 1000
    kwh = drawn_ah * float(np.mean(trace.voltage_v)) * COMPACT.series / 1000
    assert 8 < 100 * kwh / km < 30  # an ordinary electric car's consumption


def test_regeneration_stays_within_the_car_s_limit() -> None:
    speed = np.linspace(1, 35, 50)
    power = traction_power_w(speed, np.full(50, -4.0), COMPACT)
    assert power.min() == -COMPACT.regeneration_w
    assert (traction_power_w(speed, np.full(50, 1.0), COMPACT) > 0).all()
    coasting = traction_power_w(np.array([15.0]), np.array([-1.0]), COMPACT)[0]
    kinetic_w = COMPACT.mass_kg * 1.0 * 15.0
    assert -kinetic_w * COMPACT.efficiency_ratio < coasting < 0


@pytest.mark.parametrize("road", ROADS, ids=lambda road: road.name)
def test_a_trace_stops_and_never_leaves_what_a_car_can_do(road: object) -> None:
    speed = speed_trace_mps(road, 5000, np.random.default_rng(2))  # type: ignore[arg-type]
    assert speed.min() == 0.0
    assert speed.max() < 45.0
    assert np.abs(np.diff(speed) / 2.0).max() < 4.0


@pytest.mark.parametrize("model", [COMPACT, FAMILY], ids=lambda model: model.chemistry)
def test_a_full_charge_tapers_at_the_voltage_limit_and_then_ends(model: VehicleModel) -> None:
    session = Session("dc_charge", 3600, 4 * 3600, limit_w=model.fast_charge_w)
    after, trace, ready = live([session], vehicle(model), soc=0.4, degc=28.0, model=model)
    charging_now = (ready.steps.mode[:, 0] == plan.DC) & ~trace.is_complete[:, 0]
    current = trace.current_a[charging_now, 0]
    volts = trace.voltage_v[charging_now, 0]
    assert (current < 0).all()
    assert volts.max() <= model.cell.charge_limit_v + 0.01
    assert abs(current[-1]) < 0.3 * abs(current).max()
    assert trace.is_complete[:, 0].any()
    assert after.cell.soc_ratio[0] > 0.9
    assert trace.is_told[ready.steps.mode[:, 0] == plan.DC, 0].sum() < len(charging_now)


def test_a_charge_ends_at_what_the_bms_takes_for_its_target() -> None:
    session = Session("ac_charge", 600, 8 * 3600, limit_w=7e3, target_ratio=0.8)
    _, trace, _ = live([session], vehicle(), soc=0.5)
    first = int(np.flatnonzero(trace.is_complete[:, 0])[0])
    assert trace.believed_ratio[first, 0] == pytest.approx(0.8, abs=0.005)
    assert trace.soc_ratio[-1, 0] > 0.79  # plugged in and asleep, it keeps what it has
    assert (trace.current_a[first + 1 :, 0] >= 0).all()


def test_the_cold_slows_a_charge_unless_the_bms_is_at_fault() -> None:
    session = Session("dc_charge", 600, 1200, limit_w=90e3)
    slow, slow_trace, _ = live([session], vehicle(), degc=-5.0)
    fault, _, _ = live([session], vehicle(charges_cold=np.ones(1, np.bool_)), degc=-5.0)
    assert fault.charged_ah[0] > 2.5 * slow.charged_ah[0]
    assert fault.cold_charged_ah[0] > 0
    assert slow_trace.temperature_degc.max() > 0  # the heater is on


def test_a_failing_cooler_lets_a_fast_charge_heat_the_pack() -> None:
    session = Session("dc_charge", 600, 2400, limit_w=90e3)
    _, sound, _ = live([session], vehicle(), soc=0.2, degc=30.0)
    broken = vehicle(cooling_ratio=np.array([0.1]), cooling_from_s=np.array([0.0]))
    _, hot, _ = live([session], broken, soc=0.2, degc=30.0)
    assert hot.temperature_degc.max() > sound.temperature_degc.max() + 5


def test_a_false_current_sensor_counts_falsely_from_its_time_on() -> None:
    session = Session("ac_charge", 36_000, 3 * 3600, limit_w=7e3)
    own = vehicle(sensor_gain=np.array([0.1]), sensor_from_s=np.array([36_000.0]))
    _, trace, ready = live([session], own)
    on = ready.steps.mode[:, 0] == plan.AC
    ratio = trace.sensed_a[on, 0] / trace.current_a[on, 0]
    assert ratio == pytest.approx(1.1, rel=1e-3)
    first, last = np.flatnonzero(on)[[0, -1]]
    gained, counted = (
        np.diff(trace.soc_ratio[[first, last], 0]),
        np.diff(trace.believed_ratio[[first, last], 0]),
    )
    assert counted[0] == pytest.approx(1.1 * gained[0], rel=0.01)


def test_frames_of_a_slow_charge_lie_on_lines_between_its_steps() -> None:
    session = Session("ac_charge", 600, 3600, limit_w=7e3)
    _, trace, ready = live([session], vehicle())
    rows = np.flatnonzero(ready.steps.mode[:, 0] == plan.AC)
    told = plan.told_frames(ready.steps, rows, 0)
    assert np.diff(told.end_s).tolist() == [10.0] * (len(told.end_s) - 1)
    assert len(told.end_s) == 360
    soc = told.of(trace.soc_ratio)
    assert (np.diff(soc) > 0).all()
    assert told.of(trace.soc_ratio)[-1] == trace.soc_ratio[rows[-1], 0]


def test_a_site_shares_what_it_has_and_nobody_gets_more_than_asked() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        asked = random.uniform(5e3, 150e3, random.integers(1, 9))
        given = charging.shared_w(asked, 240e3)
        assert (given <= asked + 1e-6).all()
        assert given.sum() == pytest.approx(min(asked.sum(), 240e3))
        if asked.sum() > 240e3:
            capped = given < asked - 1e-6
            assert np.ptp(given[capped]) < 1e-6
            assert given[capped].min() >= given.max() - 1e-6


def test_a_queue_waits_for_a_stall_and_everybody_gets_the_energy() -> None:
    site = charging.Site(stalls=2, grid_w=100e3)
    visits = [charging.Visit(t, 60e6, 80e3) for t in (0.0, 0.0, 10.0, 20.0)]
    services = charging.served(site, visits)
    # Two share 100 kW: 60 MJ at 50 kW take 1200 s; then the next two.
    assert [s.starts_s for s in services] == pytest.approx([0, 0, 1200, 1200])
    assert [s.ends_s for s in services] == pytest.approx([1200, 1200, 2400, 2400])
    alone = charging.served(site, [charging.Visit(5.0, 40e6, 80e3)])[0]
    assert (alone.starts_s, alone.ends_s) == pytest.approx((5.0, 505.0))


def test_a_swap_station_serves_as_many_at_once_as_it_has_bays() -> None:
    services = charging.swapped(charging.Site(2, 0.0, is_swap=True), [0.0, 10.0, 20.0], 300.0)
    assert [s.starts_s for s in services] == [0.0, 10.0, 300.0]


def test_a_parked_car_wakes_as_its_model_does() -> None:
    steps = plan.steps_of([[]], [CAB], np.random.default_rng(1))
    times = steps.end_s[steps.is_frame[:, 0], 0]
    assert np.diff(times).tolist() == [CAB.wake_every_s] * (len(times) - 1)
    assert len(times) == DAY_S // CAB.wake_every_s - 1


def test_nobody_sets_out_without_charge_and_home_is_where_most_charge() -> None:
    random = np.random.default_rng(5)
    driver = replace(
        drivers.driver_of(COMPACT, random), has_home_charger=True, plugs_in_below_ratio=0.5
    )
    trips = [Session("drive", 20_000, 3600, road=2)]
    common = {"capacity_ah": 150.0, "climate_w": 0.0, "vehicle": 0, "random": random}
    sessions, needs = drivers.charges_of(driver, COMPACT, trips, soc_ratio=0.6, **common)  # type: ignore[arg-type]
    assert [s.activity for s in sessions] == ["drive", "ac_charge"]
    assert not needs
    empty, _ = drivers.charges_of(driver, COMPACT, trips, soc_ratio=0.1, **common)  # type: ignore[arg-type]
    assert [s.activity for s in empty] == ["ac_charge"]


def test_a_burning_car_stands_or_drives_as_its_fault_says_and_is_silent_after() -> None:
    usual = [Session("drive", 20_000, 1800), Session("drive", 60_000, 1800)]
    fault = drawn_fault(
        "thermal_event", 0, COMPACT, from_s=50_000.0, random=np.random.default_rng(1)
    )
    parked = replace(fault, detail=fault.detail | {"parked": True})
    sessions = incidents.with_incident(usual, parked, 0.0)
    assert [s.activity for s in sessions] == ["drive", "stand"]
    assert sessions[-1].start_s == 50_015
    driven = replace(fault, detail=fault.detail | {"parked": False})
    activities = [s.activity for s in incidents.with_incident(usual, driven, 0.0)]
    assert activities == ["drive", "drive", "stand"]
    assert incidents.silent_from_s(parked) == 50_000 + incidents.TELLS_FOR_S


def test_a_full_charge_takes_no_healthy_cell_above_its_limit() -> None:
    random = np.random.default_rng(4)
    for model in MODELS:
        spread = pack.drawn_spread(model, random)
        limit_v = model.cell.charge_limit_v
        mean = pack.MeanFrames(
            *(
                np.array([value], np.float32)
                for value in (limit_v - pack.highest_v(spread, model), 0.01, 0.99, 25.0)
            )
        )
        code = 0 if model.chemistry == "nmc" else 1
        assert pack.cells_v(mean, spread, code).max() < limit_v + 0.004

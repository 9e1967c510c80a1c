"""`battery.current_sensor`: the measured current and the charge that moved do not agree.

Each UTC day gives two sums, one over parked charging and one over all else, between frames at most
60 s apart: ampere-hours Q of the reported current, ampere-hours X that the displayed SoC moved
times the rated capacity, and hours T. Pooled with a time constant of ten days they are two
equations for two unknowns,

    Q_drive  = a X_drive  + o T_drive        Q_charge = a X_charge + o T_charge

`a` is the sensor's gain times the state of health, `o` an offset that the fit needs and that is
not used: hours awake are few. The gain counts when it has moved by 4.5 % from its mean over the
vehicle's first ten days, faster than a pack ages, and by four standard errors; asked only where the
pooled charge is 0.4 of the rated capacity in both directions.

The standard error is the car's own. A display moves in steps of 1 %, so that a drive of 5 % is
known to a tenth only: a sound car of short drives came to +5.2 % for days while its charges stayed
within 1 %. With R = Q / X of a way, the days' residuals q - R x (at least the rounding of one
display step, s / sqrt 6) give the variance of R as sum (q - R x)^2 / X^2; `a` is a mean of both
ways' R, weighted by X_drive T_charge and X_charge T_drive. Four, because a thousand cars are asked
anew every ten days for months. A gain that the BMS shares (it counts by the same sensor) shows only
where the display is put right while awake: in simulated cars, which are put right in their sleep,
it does not.

An offset is told only where it contradicts itself: at a standstill without a charger no current
can flow in, so a steady -1 A and less (five frames in a day that differ from the one before by
under 0.3 A) is the sensor (shunts and Hall sensors of cars keep 0.5 A). Below -3.5 A it is a
charger that the charging state missed (seen in a real log). A positive offset cannot be told from
a heater and is not looked for.

Three of the last five days raise, five days under half of both limits clear; days without a step of
the display and without a steady inflow are none. The displayed SoC must not stem from the same
faulty sensor alone: a BMS corrects itself by voltage and at full charge, which is what makes the
fault visible over days.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Detector, Finding, Phase, Rule, Severity
from openvrc.contracts.units import NS_PER_MS, NS_PER_S, iso_from_ns
from openvrc.detectors.battery.action import workshop
from openvrc.detectors.battery.frames import NEVER_NS, SEEN, Rows, chained, usable_rows
from openvrc.detectors.battery.masks import some
from openvrc.detectors.battery.profiles import Profiles
from openvrc.detectors.battery.view import View, ordered
from openvrc.detectors.battery_health.previous import previous_values
from openvrc.detectors.keyed import Keyed

DAY_NS = 86_400 * NS_PER_S
LONGEST_GAP_NS = 60 * NS_PER_S
LARGEST_STEP = 0.03
"""A larger step of SoC in one frame is the BMS's correction or a jump, not a flow."""
MEMORY_DAYS = 10.0
LEAST_SHARE = 0.4
BASELINE_DAYS = 10
OFFSET_LIMIT_A, GAIN_LIMIT = 1.0, 0.045
LEAST_SIGMAS = 4.0
LEAST_GAIN = 0.5  # that a relative error is taken of: a dead sensor has none
DISPLAY_STEP = 0.01
"""Displays and GB/T 32960 tell the charge in whole percents."""
MOST_OFFSET_A = 3.5  # a household plug gives 4 A at 350 V and more
STEADY_A, LEAST_IDLE = 0.3, 5
STILL_MPS = 0.1
VOTES_OF, VOTES_TO_RAISE, HEALTHY_DAYS = 5, 3, 5

_COUNTS_PER_A, _COUNTS_PER_SOC = 100, 10_000
_COUNTS_PER_AH = 2 * _COUNTS_PER_A * 3_600_000
_MS_PER_H = 3_600_000
_WAYS = ("drive", "charge")

RULE = Rule(
    name="battery.current_sensor",
    title="Current sensor is off",
    meaning="The reported current explains the change of charge only with a false gain or offset.",
    advice="Have the current sensor calibrated: charge estimation and power limits rely on it.",
    actionable_for_s=604_800.0,
)

_FIELDS: dict[str, tuple[Any, Any]] = {
    **SEEN,
    "flow_at_ns": (np.int64, NEVER_NS),
    "soc": (np.int64, 0),
    "amps": (np.int64, 0),
    "day": (np.int64, -1),
    **{f"{way}_{what}": (np.int64, 0) for way in _WAYS for what in ("q", "x", "t")},
    **{f"{way}_{what}_pool": (np.float64, 0.0) for way in _WAYS for what in ("q", "x", "t")},
    "idle_n": (np.int64, 0),  # steady frames at a standstill into which current flows
    "idle_sum": (np.int64, 0),
    "speed": (np.float32, np.nan),
    "pool_day": (np.int64, -1),
    **{f"{way}_e2_pool": (np.float64, 0.0) for way in _WAYS},  # squared residuals of days, A h
    "n_days": (np.int64, 0),
    "gain_sum": (np.float64, 0.0),
    "variance_sum": (np.float64, 0.0),  # of the gain, over the first days
    "votes": (np.int64, 0),
    "healthy_days": (np.int64, 0),
    "started_at_ns": (np.int64, NEVER_NS),  # of the open episode
    "first_vote_ns": (np.int64, NEVER_NS),
}


@dataclass
class State:
    """Sums of the day and of the days before, votes, episodes."""

    vehicles: Keyed = field(default_factory=lambda: Keyed(_FIELDS))
    profiles: Profiles = field(default_factory=Profiles)


@dataclass(frozen=True)
class _Fit:
    gain: float = np.nan
    drift: float = 0.0
    """Gain over its baseline, less one."""
    sigma: float = 0.0
    """Standard error of the drift."""
    offset_a: float = 0.0
    """Mean of the steady currents that flow in at a standstill; 0 if there are none."""

    @property
    def is_off(self) -> bool:
        return abs(self.offset_a) >= OFFSET_LIMIT_A or self.has_drifted

    @property
    def has_drifted(self) -> bool:
        return abs(self.drift) >= max(GAIN_LIMIT, LEAST_SIGMAS * self.sigma)

    @property
    def is_healthy(self) -> bool:
        return abs(self.offset_a) < OFFSET_LIMIT_A / 2 and abs(self.drift) < GAIN_LIMIT / 2


class CurrentSensor:
    """See the module's text."""

    name = RULE.name
    rule = RULE
    inputs: tuple[str, ...] = ("vehicle_profile", "battery_state")
    partition: Literal["zone", "vehicle"] = "vehicle"

    def initial(self, context: Context) -> State:  # noqa: ARG002 - the zone does not matter
        """Nothing seen."""
        return State()

    def update(self, state: State, batch: Batch) -> tuple[State, list[Finding]]:
        """Fold frames or profiles; a day is judged at the vehicle's first frame of the next."""
        if batch.message == "vehicle_profile":
            state.profiles.fold(batch)
            return state, []
        view = ordered(batch)
        vehicles = state.vehicles
        rows = usable_rows(batch, vehicles)
        keep = ~np.isnan(rows.of(view.soc_ratio)) & ~np.isnan(rows.of(view.current_a))
        rows = chained(rows.where(keep), vehicles, "flow_at_ns")
        if len(rows) == 0:
            return state, []
        day = rows.at_ns // DAY_NS
        turns = np.flatnonzero(_turns(rows, day, vehicles))
        flows = _flows(rows, view, vehicles)
        findings, begin = [], 0
        for turn in [*turns.tolist(), len(rows)]:
            # Days of different vehicles may turn within one batch: add up to each turn in order.
            _add(vehicles, rows, flows, slice(begin, turn))
            begin = turn
            if turn < len(rows):
                findings += _close(state, view, rows, turn)
                vehicles["day"][rows.slot[turn]] = day[turn]
        return state, findings

    def advance(self, state: State, watermark_ns: int) -> tuple[State, list[Finding]]:  # noqa: ARG002
        """Nothing: a vehicle's own next frame ends its day."""
        return state, []

    def snapshot(self, state: State) -> Arrays:
        """All fields."""
        return state.vehicles.snapshot() | state.profiles.snapshot()

    def restore(self, context: Context, arrays: Arrays) -> State:  # noqa: ARG002
        """What `snapshot` wrote; without the gain's spread, of older ones, its first days anew."""
        if "variance_sum" not in arrays:
            n = len(arrays["n_days"])
            zeros = ("drive_e2_pool", "charge_e2_pool", "n_days", "gain_sum", "variance_sum")
            arrays = arrays | {name: np.zeros(n, _FIELDS[name][0]) for name in zeros}
        return State(Keyed.restore(_FIELDS, arrays), Profiles.restore(arrays))


def _turns(rows: Rows, day: npt.NDArray[np.int64], vehicles: Keyed) -> npt.NDArray[np.bool_]:
    """(n,) a vehicle's first row of a day."""
    if rows.is_single:
        alone: npt.NDArray[np.bool_] = day != vehicles["day"][rows.slot]
        return alone
    before = np.empty_like(day)
    before[1:] = day[:-1]
    before[rows.is_first] = vehicles["day"][rows.slot[rows.is_first]]
    turns: npt.NDArray[np.bool_] = day != before
    return turns


@dataclass(frozen=True)
class _Flows:
    """Between each row and the one before (n,): charge, displayed charge, time, which way."""

    q: npt.NDArray[np.int64]
    x: npt.NDArray[np.int64]
    t_ms: npt.NDArray[np.int64]
    is_charge: npt.NDArray[np.bool_]
    is_idle: npt.NDArray[np.bool_]
    """At a standstill, steady, and yet flowing in."""
    amps: npt.NDArray[np.int64]


def _flows(rows: Rows, view: View, vehicles: Keyed) -> _Flows:
    amps = np.rint(rows.of(view.current_a) * _COUNTS_PER_A).astype(np.int64)
    soc = np.rint(rows.of(view.soc_ratio) * _COUNTS_PER_SOC).astype(np.int64)
    amps_before = previous_values(rows, amps, vehicles, "amps")
    soc_before = previous_values(rows, soc, vehicles, "soc")
    gap_ns = rows.at_ns - np.maximum(rows.previous_at_ns, 0)
    step = soc_before - soc
    joins = (gap_ns <= LONGEST_GAP_NS) & (np.abs(step) <= LARGEST_STEP * _COUNTS_PER_SOC)
    t_ms = np.where(joins, gap_ns // NS_PER_MS, 0)
    is_charge = rows.of(view.is_parked_charging)
    speed = rows.of(view.scalar("vehicle_speed_mps"))
    stands = (speed < STILL_MPS) & (previous_values(rows, speed, vehicles, "speed") < STILL_MPS)
    stands &= joins & ~is_charge
    is_steady = np.abs(amps - amps_before) < STEADY_A * _COUNTS_PER_A
    is_offset = (amps <= -OFFSET_LIMIT_A * _COUNTS_PER_A) & (amps >= -MOST_OFFSET_A * _COUNTS_PER_A)
    return _Flows(
        q=(amps + amps_before) * t_ms,
        x=np.where(joins, step, 0),
        t_ms=t_ms,
        is_charge=is_charge,
        is_idle=stands & is_steady & is_offset,
        amps=amps,
    )


def _add(vehicles: Keyed, rows: Rows, flows: _Flows, part: slice) -> None:
    slot, is_charge = rows.slot[part], flows.is_charge[part]
    if len(slot) == 0:
        return
    for way, picked in (("drive", ~is_charge), ("charge", is_charge)):
        if not some(picked):
            continue
        for what, values in (("q", flows.q), ("x", flows.x), ("t", flows.t_ms)):
            if rows.is_single:
                vehicles[f"{way}_{what}"][slot[picked]] += values[part][picked]
            else:
                np.add.at(vehicles[f"{way}_{what}"], slot[picked], values[part][picked])
    idle = flows.is_idle[part]
    if not some(idle):
        return
    np.add.at(vehicles["idle_n"], slot[idle], 1)
    np.add.at(vehicles["idle_sum"], slot[idle], flows.amps[part][idle])


def _close(state: State, view: View, rows: Rows, turn: int) -> list[Finding]:
    """Judge the day of the vehicle whose next day begins with row `turn`."""
    vehicles, slot = state.vehicles, int(rows.slot[turn])
    day = int(vehicles["day"][slot])
    if day < 0:
        return []
    rated_ah = float(state.profiles.rated_ah(view)[rows.at[turn]])
    has_stood = not any(vehicles[f"{way}_x"][slot] for way in _WAYS)
    _pool(vehicles, slot, day, rated_ah)
    if has_stood and not vehicles["idle_n"][slot]:
        return []  # nothing new: what the days before say has voted already
    fit = replace(_gain(vehicles, slot, rated_ah), offset_a=_offset_a(vehicles, slot))
    votes = int(vehicles["votes"][slot]) << 1 & ((1 << VOTES_OF) - 1) | int(fit.is_off)
    if votes == 1:
        vehicles["first_vote_ns"][slot] = day * DAY_NS
    vehicles["votes"][slot] = votes
    is_raised = fit.is_off and votes.bit_count() >= VOTES_TO_RAISE
    phase = _turn(vehicles, slot, fit, is_raised=is_raised)
    if phase is None:
        return []
    finding = _finding(vehicles, view, rows, turn, fit, phase)
    if phase == "clear":
        vehicles["started_at_ns"][slot] = NEVER_NS
    return [finding]


def _pool(vehicles: Keyed, slot: int, day: int, rated_ah: float) -> None:
    was = int(vehicles["pool_day"][slot])
    keep = float(np.exp((was - day) / MEMORY_DAYS)) if was >= 0 else 0.0
    vehicles["pool_day"][slot] = day
    for way in _WAYS:
        today: list[float] = []
        for what, unit in (("q", _COUNTS_PER_AH), ("x", _COUNTS_PER_SOC), ("t", _MS_PER_H)):
            name = f"{way}_{what}"
            today.append(float(vehicles[name][slot]) / unit)
            pooled = float(vehicles[f"{name}_pool"][slot]) * keep
            vehicles[f"{name}_pool"][slot] = pooled + today[-1]
            vehicles[name][slot] = 0
        residual = _squared_residual(vehicles, slot, way, today[0], today[1], rated_ah)
        pooled = float(vehicles[f"{way}_e2_pool"][slot]) * keep**2
        vehicles[f"{way}_e2_pool"][slot] = pooled + residual


def _squared_residual(
    vehicles: Keyed, slot: int, way: str, q_ah: float, x_ratio: float, rated_ah: float
) -> float:
    """What a day's charge is off the pooled ratio of its way, squared (A h)^2; 0 if none moved."""
    all_q, all_x = (float(vehicles[f"{way}_{what}_pool"][slot]) for what in ("q", "x"))
    if x_ratio == 0.0 or all_x == 0.0 or not rated_ah > 0:
        return 0.0
    rounding = (DISPLAY_STEP * rated_ah) ** 2 / 6
    return max((q_ah - all_q / all_x * x_ratio) ** 2, rounding)


def _gain(vehicles: Keyed, slot: int, rated_ah: float) -> _Fit:
    """Gain of the pooled days against its mean over the first days, which it keeps."""

    def pooled(name: str) -> float:
        return float(vehicles[f"{name}_pool"][slot])

    x_drive, x_charge = pooled("drive_x"), pooled("charge_x")
    if not rated_ah > 0 or min(x_drive, -x_charge) < LEAST_SHARE:
        return _Fit()
    t_drive, t_charge = pooled("drive_t"), pooled("charge_t")
    determinant = (x_drive * t_charge - x_charge * t_drive) * rated_ah
    gain = (pooled("drive_q") * t_charge - pooled("charge_q") * t_drive) / determinant
    share = x_drive * t_charge * rated_ah / determinant
    variance = (
        pooled("drive_e2") * (share / x_drive) ** 2
        + pooled("charge_e2") * ((1.0 - share) / x_charge) ** 2
    ) / (max(abs(gain), LEAST_GAIN) * rated_ah) ** 2
    vehicles["n_days"][slot] += 1
    n_days = int(vehicles["n_days"][slot])
    if n_days <= BASELINE_DAYS:
        vehicles["gain_sum"][slot] += gain
        vehicles["variance_sum"][slot] += variance
        return _Fit(gain)
    # The first days share most of their charge: their mean is hardly surer than one of them.
    variance += float(vehicles["variance_sum"][slot]) / BASELINE_DAYS
    drift = gain / (float(vehicles["gain_sum"][slot]) / BASELINE_DAYS) - 1.0
    return _Fit(gain, drift, float(np.sqrt(variance)))


def _offset_a(vehicles: Keyed, slot: int) -> float:
    """Mean of the day's steady currents that flow in at a standstill; 0 with fewer than five."""
    n, total = int(vehicles["idle_n"][slot]), int(vehicles["idle_sum"][slot])
    vehicles["idle_n"][slot] = vehicles["idle_sum"][slot] = 0
    return total / n / _COUNTS_PER_A if n >= LEAST_IDLE else 0.0


def _turn(vehicles: Keyed, slot: int, fit: _Fit, *, is_raised: bool) -> Phase | None:
    is_open = vehicles["started_at_ns"][slot] != NEVER_NS
    if not is_open:
        if not is_raised:
            return None
        vehicles["started_at_ns"][slot] = vehicles["first_vote_ns"][slot]
        vehicles["healthy_days"][slot] = 0
        return "raise"
    vehicles["healthy_days"][slot] = vehicles["healthy_days"][slot] + 1 if fit.is_healthy else 0
    return "clear" if vehicles["healthy_days"][slot] >= HEALTHY_DAYS else None


def _finding(
    vehicles: Keyed, view: View, rows: Rows, turn: int, fit: _Fit, phase: Phase
) -> Finding:
    slot, at_ns = int(rows.slot[turn]), int(rows.at_ns[turn])
    started_at_ns = int(vehicles["started_at_ns"][slot])
    is_offset = abs(fit.offset_a) >= OFFSET_LIMIT_A
    what = (
        f"{fit.offset_a:+.1f} A offset"
        if is_offset
        else f"{fit.drift * 100:+.1f} % of gain against its first days"
    )
    text = (
        f"The current sensor has {what}, by "
        f"{'the current at a standstill' if is_offset else 'charge against displayed charge'}."
        if phase == "raise"
        else "The current sensor agrees with the displayed charge again."
    )
    return Finding(
        rule=RULE.name,
        phase=phase,
        subject_type="vehicle",
        subject_id=vehicles.keys[slot],
        at_ns=at_ns,
        started_at_ns=started_at_ns,
        severity=Severity.WARNING,
        confidence=0.8,
        evidence={
            "text": text,
            "offset_a": round(fit.offset_a, 2),
            "gain_ratio": None if np.isnan(fit.gain) else round(fit.gain, 4),
            "gain_change_ratio": round(fit.drift, 4),
            "limit_offset_a": OFFSET_LIMIT_A,
            "limit_gain_ratio": round(max(GAIN_LIMIT, LEAST_SIGMAS * fit.sigma), 4),
            "gain_error_ratio": round(fit.sigma, 4),
            **workshop(30),
            "span_started_at": iso_from_ns(started_at_ns),
            "span_ended_at": iso_from_ns(at_ns),
            "bms_alarm_level": view.bms_alarm_level(int(rows.at[turn])),
        },
        is_late=bool(rows.is_late[turn]),
    )


PLUGIN: Detector = CurrentSensor()

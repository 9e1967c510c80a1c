"""The process that steps SUMO: reports on standard output, one each second of simulated time.

    python -m simulator.cosimulation.stepper CONFIG SEED

A process of its own because libsumo brings another build of the libraries that pyarrow stands on.
Each report is a length (4 bytes, little-endian) and msgpack of a `Header`, then of `Report`s. It
ends where the configuration ends, where nobody is left, or when the reader closes the pipe.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
from typing import Any, BinaryIO

import msgspec

LENGTH = struct.Struct("<I")
REPORT_EVERY_S = 1.0
EMERGENCY_MPS2 = -5.5
"""Harder than SUMO's drivers brake by choice (they are cut off at -4.5)."""


class Phase(msgspec.Struct):
    """One phase of a signal program; durations are those of actuated control where it has them."""

    state: str
    duration_s: float
    min_s: float
    max_s: float
    has_jumps: bool


class Loop(msgspec.Struct):
    """An induction loop."""

    loop_id: str
    lane: str
    at_m: float


class Header(msgspec.Struct):
    """What does not change."""

    begin_s: float
    loops: list[Loop]


class Signal(msgspec.Struct):
    """A controller now. `phases` only where its program has changed since the last report."""

    signal_id: str
    state: str
    phase: int
    spent_s: float
    next_switch_s: float
    phases: list[Phase] | None


class Passed(msgspec.Struct):
    """What a loop has seen since the last report."""

    count: int
    speed_sum_mps: float
    occupied_share: float


class Report(msgspec.Struct):
    """Everything at one time. Vehicle arrays are of one length."""

    time_s: float
    vehicles: list[str]
    types: list[str]
    x_m: list[float]
    y_m: list[float]
    speed_mps: list[float]
    heading_deg: list[float]
    accel_mps2: list[float]
    lights: list[int]
    lanes: list[str]
    stopped: list[str]  # stands on the road by plan, not at a bus stop, parking or charging
    braking: list[tuple[str, float]]  # vehicle and deceleration of emergency brakings
    signals: list[Signal]
    passed: list[Passed]  # per loop of the header
    closed: list[str]  # lanes that cars may not use any more


def main() -> None:
    """Step SUMO to its end."""
    # Ctrl-C reaches the whole process group: the reader ends the run, by closing the pipe.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    config, seed = sys.argv[1:3]
    # SUMO itself prints to standard output: the reports take over its descriptor.
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    import libsumo  # noqa: PLC0415  optional, and only in this process

    words = ["sumo", "-c", config, "--no-step-log", "true", "--no-warnings", "true"]
    libsumo.start([*words, "--seed", seed])
    try:
        _run(libsumo, out)
    except BrokenPipeError:
        pass  # the reader has seen enough
    finally:
        libsumo.close()


def _run(sumo: Any, out: BinaryIO) -> None:
    loops = [
        Loop(name, sumo.inductionloop.getLaneID(name), sumo.inductionloop.getPosition(name))
        for name in sorted(sumo.inductionloop.getIDList())
    ]
    begin_s, end_s = float(sumo.simulation.getTime()), float(sumo.simulation.getEndTime())
    send(out, Header(begin_s, loops))
    watch = _Watch(sumo, [loop.loop_id for loop in loops])
    due_s = begin_s
    while sumo.simulation.getMinExpectedNumber() > 0:
        now_s = float(sumo.simulation.getTime())
        if 0.0 <= end_s <= now_s:
            break
        sumo.simulationStep()
        watch.step()
        now_s = float(sumo.simulation.getTime())
        if now_s >= due_s - 1e-6:
            send(out, watch.report(now_s))
            due_s = now_s + REPORT_EVERY_S


def send(out: BinaryIO, message: msgspec.Struct) -> None:
    """Write a message."""
    body = msgspec.msgpack.encode(message)
    out.write(LENGTH.pack(len(body)) + body)
    out.flush()


class _Watch:
    """What has to be seen at every step, and the report of it."""

    def __init__(self, sumo: Any, loops: list[str]) -> None:
        self._sumo, self._loops = sumo, loops
        self._seen = [Passed(0, 0.0, 0.0) for _ in loops]
        self._braking: dict[str, float] = {}
        self._programs: dict[str, str] = {}
        self._steps = 0
        lanes = [name for name in sumo.lane.getIDList() if not name.startswith(":")]
        self._lanes = sorted(name for name in lanes if not self._is_closed(name))

    def _is_closed(self, lane: str) -> bool:
        """Whether cars may not use a lane: `all` where it is shut to everybody."""
        return not CLOSED_TO.isdisjoint(self._sumo.lane.getDisallowed(lane))

    def step(self) -> None:
        """After each step."""
        sumo = self._sumo
        self._steps += 1
        for name, seen in zip(self._loops, self._seen, strict=True):
            seen.occupied_share += sumo.inductionloop.getLastStepOccupancy(name) / 100.0
            for _, length_m, entered_s, left_s, _ in sumo.inductionloop.getVehicleData(name):
                if left_s > entered_s >= 0.0:
                    seen.count += 1
                    seen.speed_sum_mps += length_m / (left_s - entered_s)
        for name in sumo.vehicle.getIDList():
            accel = sumo.vehicle.getAcceleration(name)
            if accel < EMERGENCY_MPS2:
                self._braking[name] = min(accel, self._braking.get(name, 0.0))

    def report(self, now_s: float) -> Report:
        """The report of what was since the last."""
        vehicle = self._sumo.vehicle
        names = sorted(vehicle.getIDList())
        points = [vehicle.getPosition(name) for name in names]
        passed = [Passed(s.count, s.speed_sum_mps, s.occupied_share / self._steps)
                  for s in self._seen]  # fmt: skip
        report = Report(
            time_s=now_s,
            vehicles=names,
            types=[vehicle.getTypeID(name) for name in names],
            x_m=[x for x, _ in points],
            y_m=[y for _, y in points],
            speed_mps=[vehicle.getSpeed(name) for name in names],
            heading_deg=[vehicle.getAngle(name) for name in names],
            accel_mps2=[vehicle.getAcceleration(name) for name in names],
            lights=[vehicle.getSignals(name) for name in names],
            lanes=[vehicle.getLaneID(name) for name in names],
            stopped=[name for name in names if vehicle.getStopState(name) == STOPS_ON_THE_ROAD],
            braking=sorted(self._braking.items()),
            signals=[self._signal(name) for name in sorted(self._sumo.trafficlight.getIDList())],
            passed=passed,
            closed=[name for name in self._lanes if self._is_closed(name)],
        )
        self._seen = [Passed(0, 0.0, 0.0) for _ in self._loops]
        self._braking, self._steps = {}, 0
        return report

    def _signal(self, name: str) -> Signal:
        light = self._sumo.trafficlight
        program = light.getProgram(name)
        phases = None
        if self._programs.get(name) != program:
            self._programs[name] = program
            phases = self._phases(name, program)
        return Signal(
            signal_id=name,
            state=light.getRedYellowGreenState(name),
            phase=light.getPhase(name),
            spent_s=light.getSpentDuration(name),
            next_switch_s=light.getNextSwitch(name),
            phases=phases,
        )

    def _phases(self, name: str, program: str) -> list[Phase]:
        for logic in self._sumo.trafficlight.getAllProgramLogics(name):
            if logic.programID == program:
                return [_phase(phase, is_fixed=logic.type == STATIC) for phase in logic.phases]
        return []


CLOSED_TO = frozenset({"passenger", "all"})
STATIC = 0
"""libsumo's type of a fixed-time program; 3 is actuated, 4 NEMA, 5 delay-based."""
STOPS_ON_THE_ROAD = 1
"""Stop state with no other bit: neither parking nor at a bus, container or charging stop
(https://sumo.dlr.de/docs/TraCI/Vehicle_Value_Retrieval.html)."""


def _phase(phase: Any, *, is_fixed: bool) -> Phase:
    low, high = float(phase.minDur), float(phase.maxDur)
    if is_fixed or low < 0.0 or high < 0.0:
        low = high = float(phase.duration)
    return Phase(phase.state, float(phase.duration), low, high, len(phase.next) > 1)


if __name__ == "__main__":
    main()

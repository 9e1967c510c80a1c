"""The engine: partitions, clocks, maps, faults, exact continuation."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest

from cloud.alerting import AlertTransition
from cloud.engine import Engine
from openvrc.contracts.batch import Batch
from openvrc.contracts.detection import Arrays, Context, Finding, Rule
from openvrc.contracts.map_document import Lane, Segment
from openvrc.contracts.maps import RoadMap
from openvrc.contracts.units import NS_PER_S
from tests.support.store_world import START_NS, OverSpeed, one_row, tick, vehicle_states


class Watcher:
    """Remembers which contexts, batches and watermarks it was given; finds nothing."""

    rule = Rule("data.watch", "Watch", "Nothing.", "Nothing.")
    name = "data.watch"
    inputs: tuple[str, ...] = ("vehicle_state",)

    def __init__(self, partition: Literal["zone", "vehicle"]) -> None:
        self.partition: Literal["zone", "vehicle"] = partition
        self.contexts: list[Context] = []
        self.watermarks_ns: list[int] = []
        self.zones: list[str] = []

    def initial(self, context: Context) -> dict[str, int]:
        self.contexts.append(context)
        return {"rows": 0}

    def update(self, state: Any, batch: Batch) -> tuple[Any, list[Finding]]:
        self.zones.append(batch.zone)
        state["rows"] += batch.n_rows
        return state, []

    def advance(self, state: Any, watermark_ns: int) -> tuple[Any, list[Finding]]:
        self.watermarks_ns.append(watermark_ns)
        return state, []

    def snapshot(self, state: Any) -> Arrays:
        return {"rows": np.array([state["rows"]])}

    def restore(self, context: Context, arrays: Arrays) -> Any:
        return {"rows": int(arrays["rows"][0])}


class Faulty(OverSpeed):
    """Fails on the batch whose first record has number `bad_seq`."""

    name = "traffic.faulty"

    def __init__(self, bad_seq: int) -> None:
        self.bad_seq = bad_seq

    def update(self, state: Any, batch: Batch) -> tuple[Any, list[Finding]]:
        if int(batch.column("seq")[0]) == self.bad_seq:
            raise ZeroDivisionError("of course")
        return super().update(state, batch)


def seconds_of_traffic(n_seconds: int, *, zone: str = "west") -> list[list[Batch]]:
    made = []
    for number in range(n_seconds):
        at_ns = START_NS + number * NS_PER_S
        records = vehicle_states(
            60, at_ns=at_ns, first_seq=number * 60, n_vehicles=6, seed=number, zone=zone
        )
        made.append([records, tick(at_ns + NS_PER_S, zone=zone)])
    return made


def told_by(engine: Engine, bodies: list[list[Batch]]) -> list[AlertTransition]:
    return [told for body in bodies for told in engine.process(body).transitions]


def test_any_split_into_bodies_and_batches_gives_the_same_alerts() -> None:
    bodies = seconds_of_traffic(6)
    whole = told_by(Engine({OverSpeed.name: OverSpeed()}), bodies)
    assert whole
    fine = [
        [records.slice(start, 7)]
        for body in bodies
        for records in body
        for start in range(0, 60, 7)
    ]
    fine = [body for body in fine if body[0].n_rows]
    assert told_by(Engine({OverSpeed.name: OverSpeed()}), fine) == whole
    one = [[batch for body in bodies for batch in body]]
    assert told_by(Engine({OverSpeed.name: OverSpeed()}), one) == whole


@pytest.mark.parametrize("partition", ["zone", "vehicle"])
def test_a_restored_engine_goes_on_exactly(partition: Literal["zone", "vehicle"]) -> None:
    def detectors() -> dict[str, Any]:
        detector = OverSpeed()
        detector.partition = partition
        return {detector.name: detector}

    bodies = seconds_of_traffic(6)
    whole = told_by(Engine(detectors()), bodies)
    for split in range(len(bodies) + 1):
        first, second = Engine(detectors()), Engine(detectors())
        told = told_by(first, bodies[:split])
        second.restore(first.snapshot())
        assert told + told_by(second, bodies[split:]) == whole


def test_a_vehicle_partition_advances_with_the_slowest_zone() -> None:
    watcher = Watcher("vehicle")
    engine = Engine({watcher.name: watcher})
    engine.process([vehicle_states(5), vehicle_states(5, zone="east")])
    at = [START_NS + s * NS_PER_S for s in range(10)]
    for at_ns, zone in ((at[5], "west"), (at[3], "east"), (at[4], "east"), (at[9], "east")):
        engine.process([tick(at_ns, zone=zone)])
    offset_ns = 2 * NS_PER_S
    assert watcher.watermarks_ns == [at[5] - offset_ns]  # east never came past west
    engine.process([tick(at[8])])
    assert watcher.watermarks_ns[1:] == [at[8] - offset_ns]
    assert [context.zone for context in watcher.contexts] == [""]


def test_a_zone_partition_has_a_state_per_zone_and_run() -> None:
    watcher = Watcher("zone")
    engine = Engine({watcher.name: watcher})
    engine.process([vehicle_states(5), vehicle_states(5, zone="east")])
    engine.process([vehicle_states(5, run_id="run-2"), vehicle_states(5)])
    where = [(context.zone, context.run_id) for context in watcher.contexts]
    assert where == [("west", "run-1"), ("east", "run-1"), ("west", "run-2")]


def road_map(length_m: float) -> RoadMap:
    line = ((10.0, 53.5), (10.0 + length_m / 66_000, 53.5))
    lane = Lane(id="a_0", index=0, length_m=length_m, coordinates=line)
    segment = Segment(
        id="a", length_m=length_m, speed_limit_mps=13.9, lanes=(lane,), coordinates=line
    )
    return RoadMap.build([segment])


def announce(state: str = "running", *, at_ns: int = START_NS, **columns: Any) -> Batch:
    return one_row("zone_announce", at_ns=at_ns, state=state, clock="driven", **columns)


def test_a_map_that_is_told_later_makes_a_fresh_state_and_the_same_map_again_does_not() -> None:
    watcher = Watcher("zone")
    engine = Engine({watcher.name: watcher})
    near, far = road_map(100.0), road_map(200.0)
    for known in (None, near, near, far):
        document = known.to_document() if known else None
        engine.process([announce(map_document=document), vehicle_states(5)])
    versions = [c.road_map.map_version if c.road_map else None for c in watcher.contexts]
    assert versions == [None, near.map_version, far.map_version]
    again = Engine({watcher.name: watcher})
    again.restore(engine.snapshot())
    again.process([announce(map_document=far.to_document()), vehicle_states(5)])
    assert len(watcher.contexts) == 3


def test_a_map_nobody_can_read_is_reported_and_the_old_one_stays() -> None:
    watcher = Watcher("zone")
    engine = Engine({watcher.name: watcher})
    good = road_map(100.0)
    engine.process([announce(map_document=good.to_document()), vehicle_states(5)])
    output = engine.process([announce(map_document="nonsense"), vehicle_states(5)])
    assert [t.alert.rule for t in output.transitions] == ["platform.detector_failed"]
    assert output.transitions[0].alert.component == "map"
    assert len(watcher.contexts) == 1


def test_a_run_that_ended_is_forgotten_after_its_last_tick_and_its_alerts_stay_open() -> None:
    engine = Engine({OverSpeed.name: OverSpeed()})
    engine.process([vehicle_states(1, speed_mps=30.0)])
    assert engine.open_alerts()
    end_ns = START_NS + NS_PER_S
    engine.process([tick(end_ns), announce("ended", at_ns=end_ns)])
    assert engine.open_alerts()
    last = tick(end_ns + NS_PER_S, watermark_ns=end_ns + 60 * NS_PER_S)
    assert engine.process([last]).transitions == ()
    assert engine.open_alerts() == []
    assert len(engine.snapshot()) < 200


def test_a_last_tick_before_the_announcement_ends_the_run_too() -> None:
    engine = Engine({OverSpeed.name: OverSpeed()})
    engine.process([vehicle_states(1, speed_mps=30.0), tick(START_NS, watermark_ns=START_NS + 1)])
    engine.process([announce("ended")])
    assert engine.open_alerts() == []


def test_a_detector_that_fails_is_reset_and_reported_and_the_others_go_on() -> None:
    bodies = seconds_of_traffic(4)
    detectors: dict[str, Any] = {"traffic.faulty": Faulty(60), OverSpeed.name: OverSpeed()}
    engine = Engine(detectors)
    outputs = [engine.process(body) for body in bodies]
    assert [output.n_failures for output in outputs] == [0, 1, 0, 0]
    told = [t for output in outputs for t in output.transitions]
    (failed,) = [t.alert for t in told if t.alert.rule == "platform.detector_failed"]
    assert (failed.component, failed.zone) == ("traffic.faulty", "west")
    assert "ZeroDivisionError: of course" in failed.evidence["error"]
    alone = told_by(Engine({OverSpeed.name: OverSpeed()}), bodies)
    healthy = {t.alert.id for t in told if t.alert.rule == OverSpeed.name}
    assert {t.alert.id for t in alone} <= healthy
    late = engine.process([tick(START_NS + 700 * NS_PER_S)]).transitions
    assert [(t.alert.rule, t.change) for t in late if t.alert.kind == "platform"] == [
        ("platform.detector_failed", "cleared")
    ]


def test_a_tick_that_goes_back_or_is_repeated_advances_nothing() -> None:
    watcher = Watcher("zone")
    engine = Engine({watcher.name: watcher})
    later, earlier = START_NS + NS_PER_S, START_NS
    engine.process([tick(later), tick(earlier), tick(later)])
    assert watcher.watermarks_ns == [later - 2 * NS_PER_S]

"""Every scenario keeps a world's promises: the same bytes, gapless numbers, a true ground truth."""

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from openvrc.contracts.plugins import discover
from openvrc.contracts.topics import Topic, parse_topic
from openvrc.contracts.units import NS_PER_S
from simulator.faults.faulty_world import FaultyWorld
from simulator.scenarios import Scenario, ScenarioError
from simulator.service import write_ground_truth
from simulator.world import Frame, World
from tests.support.faulty_runs import payloads as payloads_of

SCENARIOS: dict[str, Scenario] = discover("simulator.scenarios")
JSON = discover("openvrc.contracts.codecs")["json"]
RUN_S = 8.0


LESS: dict[str, dict[str, Any]] = {
    "crossroads": {"vehicles": 60},
    "blackout": {"vehicles": 60, "cut_s": 4.0},
    "city": {"columns": 4, "rows": 4},
    "fleet": {"vehicles": 20},
    "port": {"vehicles": 12, "cranes": 3},
    "thermal-runaway": {"vehicles": 20},
}
"""Of what would cost most, or begin too late; the promises are the same."""


def run(scenario: Scenario, seed: int = 1, run_s: float = RUN_S) -> tuple[World, list[Frame]]:
    world = scenario.make(
        zone="zone-1",
        run_id="run-1",
        seed=seed,
        duration_s=run_s,
        **LESS.get(scenario.name, {}),
    )
    return world, list(world.frames())


def payloads(frames: list[Frame]) -> list[bytes]:
    return [payload for frame in frames for _, payload in payloads_of(frame)]


@pytest.fixture(scope="module", params=sorted(SCENARIOS))
def scenario(request: pytest.FixtureRequest) -> Scenario:
    return SCENARIOS[request.param]


@pytest.fixture(scope="module")
def ran(scenario: Scenario) -> tuple[World, list[Frame]]:
    return run(scenario)


def test_a_scenario_describes_itself(scenario: Scenario) -> None:
    assert scenario.name
    assert scenario.description


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    scenario: Scenario, ran: tuple[World, list[Frame]]
) -> None:
    assert payloads(run(scenario, 1)[1]) == payloads(ran[1])
    assert payloads(run(scenario, 2)[1]) != payloads(ran[1])


def test_every_message_has_a_valid_topic_and_only_records_its_contract_takes(
    ran: tuple[World, list[Frame]],
) -> None:
    for frame in ran[1][::5]:
        for outgoing in frame.messages:
            topic = Topic("zone-1", outgoing.kind, outgoing.source_id, outgoing.batch.message)
            assert parse_topic(str(topic)) == topic
            if outgoing.damage is not None:
                continue
            decoded = JSON.decode(topic, JSON.encode(outgoing.batch), 0)
            assert not decoded.rejects
            assert sum(b.n_rows for b in decoded.batches) == outgoing.batch.n_rows


def test_numbers_are_gapless_and_the_last_frame_states_every_sender_s_count(
    ran: tuple[World, list[Frame]],
) -> None:
    numbers: dict[tuple[str, str], list[int]] = defaultdict(list)
    counts = {}
    for frame in ran[1]:
        for outgoing in frame.messages:
            batch = outgoing.batch
            if outgoing.damage is not None and not outgoing.damage.is_readable:
                continue
            assert (batch.run_id, batch.origin) == ("run-1", "simulated")
            if batch.message == "source_status":
                counts[outgoing.kind, outgoing.source_id] = int(batch.column("sent_count")[0])
            else:
                numbers[outgoing.kind, outgoing.source_id] += batch.column("seq").tolist()
    if isinstance(ran[0], FaultyWorld):  # what its faults did, it says itself
        told = ran[0].outcomes.totals()
        assert sum(counts.values()) == told["sent"]
        numbers = {key: sorted(set(seqs)) for key, seqs in numbers.items()}
        n_here = sum(map(len, numbers.values()))
        assert n_here == told["sent"] - told["missing"]
    else:
        assert {key: len(seqs) for key, seqs in numbers.items()} == counts
        assert all(seqs == list(range(len(seqs))) for seqs in numbers.values())
    final = {(o.kind, o.source_id) for o in ran[1][-1].messages}
    assert final == counts.keys()


def test_time_goes_forward_and_no_record_is_from_the_future(
    ran: tuple[World, list[Frame]],
) -> None:
    world, frames = ran
    times = [frame.zone_time_ns for frame in frames]
    assert times == sorted(times)
    assert times[0] >= world.start_ns
    assert times[-1] - times[0] <= RUN_S * NS_PER_S
    for frame in frames:
        for batch in frame.batches():
            sampled_ns = batch.column("sampled_at_ns")
            if not isinstance(world, FaultyWorld):  # whose clocks may be wrong
                assert world.start_ns <= sampled_ns.min()
            assert sampled_ns.max() <= frame.zone_time_ns


def test_the_ground_truth_names_vehicles_and_segments_of_the_run_within_its_time(
    ran: tuple[World, list[Frame]], tmp_path: Path
) -> None:
    world, frames = ran
    seen = {
        subject
        for frame in frames
        for batch in frame.batches()
        if batch.message in ("vehicle_state", "battery_state")
        for subject in batch.texts("subject_id")
    }
    seen |= {outgoing.source_id for frame in frames for outgoing in frame.messages} | {world.zone}
    truth = world.ground_truth()
    assert truth
    for event in truth:
        assert event.subject_id in seen or event.subject_id in (world.road_map or ())
        assert world.start_ns <= event.from_ns <= frames[-1].zone_time_ns
        assert event.to_ns is None or event.to_ns >= event.from_ns
        assert not event.segment_id or event.segment_id in (world.road_map or ())
    written = json.loads(write_ground_truth(tmp_path, world).read_text())
    assert len(written) == len(truth)
    assert {"rule", "subject_id", "segment_id", "from", "to"} <= written[0].keys()


def test_stopping_ends_an_endless_run_with_final_counts(scenario: Scenario) -> None:
    world = scenario.make(zone="zone-1", run_id="run-1", **LESS.get(scenario.name, {}))
    frames = []
    for frame in world.frames():
        frames.append(frame)
        if len(frames) == 5:
            world.stop()
    assert len(frames) == 6
    is_count = [o.message == "source_status" for o in frames[-1].messages]
    assert is_count[-1]
    assert is_count == sorted(is_count)  # what faults have held comes before the counts
    assert isinstance(world, FaultyWorld) or all(is_count)


def test_numbers_out_of_range_are_refused(scenario: Scenario) -> None:
    with pytest.raises(ScenarioError, match=r"vehicles is 0"):
        scenario.make(zone="z", run_id="r", vehicles=0)
    with pytest.raises(ScenarioError, match="duration_s"):
        scenario.make(zone="z", run_id="r", duration_s=-1.0)


NAMES = {
    "crossroads", "corridor", "freeway-incident", "city", "fleet", "thermal-runaway",
    "school-zone", "work-zone", "storm", "blackout", "port",
}  # fmt: skip


def test_the_scenarios_that_were_promised_are_there() -> None:
    assert set(SCENARIOS) >= NAMES


STEERED = sorted(name for name, plugin in SCENARIOS.items() if hasattr(plugin, "parameters"))


@pytest.mark.parametrize("name", STEERED)
def test_a_scenario_s_own_parameters_have_meanings_and_are_checked(name: str) -> None:
    plugin: Any = SCENARIOS[name]
    parameters = plugin.parameters
    assert all(parameter.meaning for parameter in parameters)
    numeric = next(p for p in parameters if not isinstance(p.default, str))
    with pytest.raises(ScenarioError, match=f"{numeric.name} is 'much', expected a number"):
        plugin.make(zone="z", run_id="r", **{numeric.name: "much"})
    with pytest.raises(ScenarioError, match=f"{numeric.name} is -1"):
        plugin.make(zone="z", run_id="r", **{numeric.name: -1})
    with pytest.raises(ScenarioError, match="parameter 'colour'"):
        plugin.make(zone="z", run_id="r", colour="blue")


@pytest.mark.parametrize("name", ["storm", "blackout"])
def test_a_time_without_an_end_is_refused(name: str) -> None:
    plugin: Any = SCENARIOS[name]
    first = plugin.parameters[0].name
    for value in ("inf", "1e300"):
        with pytest.raises(ScenarioError, match=rf"{first} is .*, expected 0 to 1e\+09"):
            plugin.make(zone="z", run_id="r", **{first: value})


def test_an_unknown_parameter_is_refused_by_every_scenario_alike(scenario: Scenario) -> None:
    with pytest.raises(ScenarioError, match="parameter 'colour', expected of"):
        scenario.make(zone="z", run_id="r", colour="blue")


def test_a_blackout_is_silence_and_then_everything_at_once() -> None:
    _, frames = run(SCENARIOS["blackout"], run_s=38.0)
    n_records = [sum(o.n_rows for o in f.messages if o.message == "vehicle_state") for f in frames]
    assert all(n > 0 for n in n_records[:4])
    assert n_records[5:33] == [0] * 28
    assert max(n_records) > 20 * n_records[0]
    assert n_records[-2] == n_records[0]


def test_the_crossroads_show_all_their_faults_within_half_a_minute() -> None:
    world = SCENARIOS["crossroads"].make(zone="zone-1", run_id="run-1", duration_s=28.0)
    frames = list(world.frames())
    rules = {event.rule for event in world.ground_truth()}
    assert rules >= {
        "traffic.congestion",
        "traffic.stopped_vehicle",
        "traffic.hard_braking",
        "battery.over_temperature",
        "battery.self_discharge",
        "battery.insulation",
    }
    who = {event.rule: event.subject_id for event in reversed(world.ground_truth())}
    frame = frames[-2]
    (packs,) = [b for b in frame.batches() if b.message == "battery_state"]
    (states,) = [b for b in frame.batches() if b.message == "vehicle_state"]
    record = {r["subject_id"]: r for r in packs.to_records()}
    assert max(record[who["battery.over_temperature"]]["probe_temperatures_degc"]) > 60
    leaking = record[who["battery.insulation"]]
    assert leaking["insulation_ohm"] / leaking["pack_voltage_v"] < 100
    weak = record[who["battery.self_discharge"]]["cell_voltages_v"]
    assert np.median(weak) - weak[35] == pytest.approx(0.08, abs=0.01)
    speed = dict(zip(states.texts("subject_id"), states.column("speed_mps"), strict=True))
    assert speed[who["traffic.stopped_vehicle"]] == 0
    healthy = [r for name, r in record.items() if name not in who.values()]
    assert max(max(r["probe_temperatures_degc"]) for r in healthy) < 40
    assert min(r["insulation_ohm"] / r["pack_voltage_v"] for r in healthy) > 500

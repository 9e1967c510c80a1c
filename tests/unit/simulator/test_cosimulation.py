"""A real SUMO as a world; what needs libsumo is skipped where it is not installed."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from simulator.cosimulation.session import is_installed, opened
from simulator.cosimulation.signals import ends_s
from simulator.cosimulation.stepper import Phase, Signal
from simulator.cosimulation.world import SumoScenario
from simulator.replay.traffic_world import TrafficWorld
from simulator.scenarios import ScenarioError
from simulator.world import Frame

needs_sumo = pytest.mark.skipif(not is_installed(), reason="needs the extra sumo (libsumo)")

NET = """<net version="1.16">
<location netOffset="-500000.00,-5800000.00" convBoundary="0,0,400,0"
 origBoundary="0,0,400,0" projParameter="+proj=utm +zone=32 +ellps=WGS84 +units=m +no_defs"/>
<edge id=":j_0" function="internal"><lane id=":j_0_0" index="0" speed="13.9" length="10"
 shape="195,-1.6 205,-1.6"/></edge>
<edge id="in" from="a" to="j" priority="1"><lane id="in_0" index="0" speed="13.9" length="195"
 shape="0,-1.6 195,-1.6"/></edge>
<edge id="out" from="j" to="b" priority="1"><lane id="out_0" index="0" speed="13.9" length="195"
 shape="205,-1.6 400,-1.6"/></edge>
<edge id="side" from="a" to="b" priority="1"><lane id="side_0" index="0" speed="13.9" length="400"
 shape="0,-3 400,-3"/></edge>
<tlLogic id="j" type="actuated" programID="0" offset="0">
<phase duration="20" minDur="5" maxDur="30" state="G"/><phase duration="3" state="y"/>
<phase duration="10" state="r"/></tlLogic>
<junction id="a" type="dead_end" x="0" y="0" incLanes="" intLanes="" shape="0,0 0,-3.2"/>
<junction id="j" type="traffic_light" x="200" y="0" incLanes="in_0" intLanes=":j_0_0"
 shape="195,0 205,0 205,-3.2 195,-3.2">
<request index="0" response="0" foes="0" cont="0"/></junction>
<junction id="b" type="dead_end" x="400" y="0" incLanes="out_0 side_0" intLanes=""
 shape="400,0 400,-3.2"/>
<connection from="in" to="out" fromLane="0" toLane="0" via=":j_0_0" tl="j" linkIndex="0" dir="s"
 state="o"/>
<connection from=":j_0" to="out" fromLane="0" toLane="0" dir="s" state="M"/>
</net>"""
ROUTES = """<routes><vType id="passenger_car"/>
<vehicle id="halts#1" type="passenger_car" depart="11"><route edges="in out"/>
<stop lane="in_0" startPos="60" endPos="80" duration="20"/></vehicle>
<flow id="f" type="passenger_car" begin="12" end="80" period="6" from="in" to="out"/></routes>"""
MORE = """<additional><inductionLoop id="loop" lane="out_0" pos="100" period="60"
 file="/dev/null"/><rerouter id="shut" edges="in"><interval begin="30" end="50">
<closingLaneReroute id="side_0"/></interval></rerouter></additional>"""
CONFIG = """<configuration><input><net-file value="town.net.xml"/>
<route-files value="town.rou.xml"/><additional-files value="town.add.xml"/></input>
<time><begin value="00:00:10"/><end value="100"/></time></configuration>"""


def config_in(folder: Path) -> Path:
    for name, text in {
        "town.net.xml": NET, "town.rou.xml": ROUTES, "town.add.xml": MORE, "town.sumocfg": CONFIG,
    }.items():  # fmt: skip
        (folder / name).write_text(text)
    return folder / "town.sumocfg"


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[TrafficWorld, list[Frame]]:
    config = config_in(tmp_path_factory.mktemp("sumo"))
    world = SumoScenario(config).make(zone="z", run_id="r", seed=1)
    return world, list(world.frames())


@needs_sumo
def test_a_running_sumo_says_vehicles_signals_and_loops(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    world, frames = ran
    batches = [batch for frame in frames for batch in frame.batches()]
    states = [batch for batch in batches if batch.message == "vehicle_state"]
    assert world.origin == "simulated"
    assert {batch.run_id for batch in states} == {"r"}
    assert {"halts@231"} <= {word for batch in states for word in batch.texts("subject_id")}
    (counts,) = [batch for batch in batches if batch.message == "loop_counts"]
    count = {record["subject_id"]: record for record in counts.to_records()}["loop"]
    assert count["segment_id"] == "out"
    assert 2 <= count["count"] <= 12
    assert 5.0 < count["speed_mps"] < 16.0
    times = [frame.zone_time_ns for frame in frames[:-1]]
    assert times == sorted(times)
    assert frames[0].zone_time_ns >= world.start_ns


@needs_sumo
def test_the_truth_of_a_running_sumo_names_who_stands_on_the_road(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    world, _ = ran
    stopped = [e for e in world.ground_truth() if e.rule == "traffic.stopped_vehicle"]
    assert [(event.subject_id, event.segment_id) for event in stopped] == [("halts@231", "in")]
    assert stopped[0].to_ns is not None
    assert 18.0e9 < stopped[0].to_ns - stopped[0].from_ns < 23.0e9


@needs_sumo
def test_the_truth_of_a_running_sumo_names_lanes_that_a_rerouter_shuts(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    world, _ = ran
    (shut,) = [e for e in world.ground_truth() if e.rule == "traffic.lane_closed"]
    assert (shut.subject_id, shut.segment_id, shut.component) == ("side", "side", "0")
    epoch_ns = world.start_ns - 10 * 10**9
    assert shut.from_ns - epoch_ns == pytest.approx(30e9, abs=1e9)
    assert shut.to_ns is not None
    assert shut.to_ns - epoch_ns == pytest.approx(50e9, abs=1e9)


@needs_sumo
def test_signals_of_a_running_sumo_end_between_their_bounds(
    ran: tuple[TrafficWorld, list[Frame]],
) -> None:
    _, frames = ran
    said = [
        record
        for frame in frames
        for batch in frame.batches()
        if batch.message == "signal_state"
        for record in batch.to_records()
    ]
    changes = [
        (before, after["sampled_at_ns"])
        for before, after in pairwise(said)
        if before["phase"] != after["phase"]
    ]
    assert len(changes) >= 3
    for before, changed_ns in changes:
        assert before["min_end_ns"] <= before["likely_end_ns"] <= before["max_end_ns"]
        assert before["min_end_ns"] - 1e9 <= changed_ns <= before["max_end_ns"] + 1e9


@needs_sumo
def test_the_same_seed_of_a_running_sumo_gives_the_same_frames(
    ran: tuple[TrafficWorld, list[Frame]], tmp_path: Path
) -> None:
    again = SumoScenario(config_in(tmp_path)).make(zone="z", run_id="r", seed=1, duration_s=30.0)
    frames = list(again.frames())[:-1]  # the last tells final counts, earlier than the other's
    assert len(frames) >= 10
    for frame, other in zip(frames, ran[1], strict=False):
        assert [b.to_records() for b in frame.batches()] == [
            b.to_records() for b in other.batches()
        ]


@needs_sumo
def test_what_sumo_cannot_read_is_told_in_its_words(tmp_path: Path) -> None:
    config = config_in(tmp_path)
    (tmp_path / "town.rou.xml").write_text(
        "<routes><vehicle id='v' depart='12' route='no'/></routes>"
    )
    world = SumoScenario(config).make(zone="z", run_id="r")
    with pytest.raises(ScenarioError, match=r"SUMO (failed|did not start)"):
        list(world.frames())


def test_a_configuration_that_is_none_is_refused(tmp_path: Path) -> None:
    if not is_installed():
        with pytest.raises(ScenarioError, match="needs libsumo"):
            SumoScenario(tmp_path / "no.sumocfg").make(zone="z", run_id="r")
        return
    with pytest.raises(ScenarioError, match="no such file"):
        SumoScenario(tmp_path / "no.sumocfg").make(zone="z", run_id="r")
    config = config_in(tmp_path)
    (tmp_path / "town.net.xml").unlink()
    with pytest.raises(ScenarioError, match="net-file"):
        SumoScenario(config).make(zone="z", run_id="r")
    with pytest.raises(ScenarioError, match="penetration is 2"):
        SumoScenario(config).make(zone="z", run_id="r", penetration=2)


def test_ends_follow_phases_until_a_group_changes_and_stop_where_the_way_forks() -> None:
    phases = [
        Phase("Gr", 20.0, 5.0, 30.0, False),
        Phase("Gg", 10.0, 10.0, 10.0, False),
        Phase("rG", 8.0, 8.0, 8.0, True),
    ]
    signal = Signal("j", "Gr", phase=0, spent_s=8.0, next_switch_s=112.0, phases=None)
    ends = ends_s(100.0, signal, phases)
    assert ends[:, 1].tolist() == [100.0, 122.0, 112.0]
    assert ends[:, 0].tolist() == [110.0, 132.0, 122.0]
    forks = Signal("j", "rG", phase=2, spent_s=0.0, next_switch_s=108.0, phases=None)
    assert np.isnan(ends_s(100.0, forks, phases)).all()


INTERRUPTED = """
import signal
from types import SimpleNamespace

inductionloop = lane = SimpleNamespace(getIDList=lambda: [])
simulation = SimpleNamespace(
    getTime=lambda: 10.0, getEndTime=lambda: 100.0, getMinExpectedNumber=lambda: 0
)


def start(words):
    signal.raise_signal(signal.SIGINT)


def close():
    pass
"""


def test_ctrl_c_is_for_the_reader_not_for_the_stepper(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "libsumo.py").write_text(INTERRUPTED)  # before the real one, if it is there
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with opened(tmp_path / "town.sumocfg", seed=1) as session:
        assert session.header.begin_s == 10.0
        assert list(session.reports()) == []

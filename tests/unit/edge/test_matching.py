"""Map matching on small maps where the right answer is known, and on a slice of real traces."""

import importlib.util
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.aggregate.matching import Matcher, MatcherState, MatchResult
from openvrc.contracts.geo import LocalFrame
from openvrc.contracts.maps import Lane, RoadMap, Segment

FRAME = LocalFrame(53.55, 9.99)
SECOND_NS = 1_000_000_000
XY = tuple[float, float]


def road(
    name: str,
    *points: XY,
    successors: tuple[str, ...] = (),
    lanes: int = 1,
    internal: bool = False,
    allows: tuple[str, ...] = ("motor",),
    stated_length_m: float | None = None,
) -> Segment:
    """A segment through points in m; lane 0 on them, further lanes 3.2 m to the left each."""
    xy = np.array(points)
    step = xy[-1] - xy[0]
    left = np.array([-step[1], step[0]]) / np.hypot(*step)

    def line(offset_m: float) -> tuple[XY, ...]:
        moved = xy + left * offset_m
        lat, lon = FRAME.to_lat_lon_deg(moved[:, 0], moved[:, 1])
        return tuple(zip(lon.tolist(), lat.tolist(), strict=True))

    length_m = stated_length_m or float(np.hypot(*np.diff(xy, axis=0).T).sum())
    return Segment(
        id=name,
        length_m=length_m,
        speed_limit_mps=13.9,
        is_internal=internal,
        successors=successors,
        coordinates=line(0.0),
        lanes=tuple(
            Lane(
                id=f"{name}_{i}",
                index=i,
                length_m=length_m,
                allows=allows,
                coordinates=line(3.2 * i),
            )
            for i in range(lanes)
        ),
    )


@dataclass
class Driver:
    """Feeds a matcher one vehicle's samples, given in the local plane."""

    matcher: Matcher
    state: MatcherState = field(default_factory=MatcherState)
    second: int = 0

    def at(
        self,
        x_m: float,
        y_m: float,
        heading_deg: float = np.nan,
        speed_mps: float = 10.0,
        is_motor: bool | None = None,
    ) -> tuple[str | None, int, float]:
        """The next second's sample: segment id, lane index and offset."""
        self.second += 1
        lat, lon = FRAME.to_lat_lon_deg([x_m], [y_m])
        got = self.matcher.update(
            self.state,
            np.zeros(1, dtype=np.int32),
            np.array([self.second * SECOND_NS]),
            lat,
            lon,
            np.array([heading_deg]),
            np.array([speed_mps]),
            None if is_motor is None else np.array([is_motor]),
        )
        number = int(got.segment_index[0])
        name = None if number < 0 else self.matcher.road_map.segment_ids[number]
        return name, int(got.lane_index[0]), float(got.offset_m[0])


def driver(*segments: Segment) -> Driver:
    return Driver(Matcher(RoadMap.build(segments)))


def test_opposite_carriageways_are_told_apart_by_heading() -> None:
    roads = (road("east", (0, 0), (500, 0)), road("west", (500, 4), (0, 4)))
    for y_m in (0.0, 2.0, 4.0):
        assert driver(*roads).at(250, y_m, heading_deg=90)[0] == "east"
        assert driver(*roads).at(250, y_m, heading_deg=270)[0] == "west"


def test_lanes_are_counted_from_the_right() -> None:
    there = driver(road("east", (0, 0), (500, 0), lanes=3))
    assert there.at(100, 0.2, heading_deg=90)[1] == 0
    there = driver(road("east", (0, 0), (500, 0), lanes=3))
    assert there.at(100, 6.3, heading_deg=90)[1] == 2


def test_one_bad_fix_moves_nobody_to_the_next_lane_and_two_that_agree_do() -> None:
    there = driver(road("east", (0, 0), (500, 0), lanes=2))
    lanes = [there.at(10.0 * i, y_m, heading_deg=90)[1] for i, y_m in enumerate([0.0] * 5 + [2.4])]
    assert lanes == [0] * 6
    lanes = [there.at(60.0 + 10.0 * i, 3.2, heading_deg=90)[1] for i in range(3)]
    assert lanes[-1] == 1


def test_a_lane_that_cars_may_not_use_is_nobodys_and_a_cyclist_keeps_the_nearest() -> None:
    car_lanes = road("east", (0, 0), (500, 0), lanes=3)
    lanes = (car_lanes.lanes[0].model_copy(update={"allows": ("bicycle",)}), *car_lanes.lanes[1:])
    there = driver(car_lanes.model_copy(update={"lanes": lanes}))
    assert {there.at(10.0 * i, 0.2, heading_deg=90)[1] for i in range(5)} == {1}
    there = driver(car_lanes.model_copy(update={"lanes": lanes}))
    assert there.at(10.0, 0.2, heading_deg=90, is_motor=False)[1] == 0


def test_an_offset_is_scaled_to_the_stated_length() -> None:
    there = driver(road("east", (0, 0), (200, 0), (400, 0), stated_length_m=440.0))
    assert there.at(300, 0.0, heading_deg=90)[2] == pytest.approx(330.0, abs=0.01)


def test_a_vehicle_stays_on_its_road_when_noise_favours_a_parallel_one() -> None:
    there = driver(road("main", (0, 0), (1000, 0)), road("side", (0, 8), (1000, 8)))
    names = [there.at(10.0 * i, 0.0, heading_deg=90)[0] for i in range(1, 10)]
    names += [there.at(100.0, 5.5, heading_deg=90)[0]]
    assert names == ["main"] * 10


def test_a_wrong_first_guess_between_parallel_roads_is_corrected() -> None:
    there = driver(road("main", (0, 0), (1000, 0)), road("side", (0, 8), (1000, 8)))
    assert there.at(0, 1.0, heading_deg=90)[0] == "main"
    names = [there.at(10.0 * i, 7.5, heading_deg=90)[0] for i in range(1, 10)]
    assert names[-1] == "side"


def test_a_bridge_is_crossed_without_falling_onto_the_road_below() -> None:
    roads = (road("below", (0, -300), (0, 300)), road("bridge", (-300, 0), (300, 0)))
    there = driver(*roads)
    assert {there.at(10.0 * i, 0.5, heading_deg=90)[0] for i in range(-10, 11)} == {"bridge"}
    # Heading unknown, right above the road below: only history tells.
    there = driver(*roads)
    assert {there.at(10.0 * i, 0.5)[0] for i in range(-10, 11)} == {"bridge"}


def test_a_turn_leads_through_the_junction_onto_the_segment_that_follows() -> None:
    there = driver(
        road("in", (-200, 0), (-10, 0), successors=(":turn",)),
        road(":turn", (-10, 0), (0, 3), (4, 10), successors=("out",), internal=True),
        road("out", (4, 10), (4, 200)),
    )
    seen = [there.at(x, 0, 90)[0] for x in (-50, -40, -30, -20)]
    seen += [there.at(-2, 2, 70, 8.0)[0], there.at(4, 20, 0)[0], there.at(4, 30, 0)[0]]
    assert seen == ["in"] * 4 + [":turn", "out", "out"]


def test_a_vehicle_that_stands_at_the_stop_line_is_not_put_into_the_junction() -> None:
    there = driver(
        road("in", (-200, 0), (0, 0), successors=(":on",)),
        road(":on", (0, 0), (20, 0), successors=("out",), internal=True),
        road("out", (20, 0), (200, 0)),
    )
    assert there.at(-5, 0, 90, 5.0)[0] == "in"
    assert {there.at(1.5, 0, 90, 0.0)[0] for _ in range(5)} == {"in"}


def test_positions_off_the_map_or_missing_match_nothing() -> None:
    there = driver(road("east", (0, 0), (500, 0)))
    assert there.at(250, 40, 90)[:2] == (None, -1)
    assert there.at(250, 1e5, 90)[0] is None
    assert there.at(np.nan, 0, 90)[0] is None
    assert there.at(250, 1, 90)[0] == "east"


def test_a_wrong_way_driver_is_put_on_the_lane_driven_not_on_a_road_far_off() -> None:
    there = driver(road("east", (0, 0), (500, 0)), road("west", (500, 14), (0, 14)))
    assert there.at(300, 0, heading_deg=270)[0] == "east"


def test_a_standing_vehicle_keeps_its_last_heading() -> None:
    there = driver(road("east", (0, 0), (500, 0)), road("west", (500, 4), (0, 4)))
    for i in range(5):
        there.at(100 + 5 * i, 1.9, heading_deg=90, speed_mps=5.0)
    assert there.at(120, 2.1, heading_deg=270, speed_mps=0.1)[0] == "east"
    assert there.at(120, 2.1, heading_deg=np.nan, speed_mps=0.0)[0] == "east"


def test_cyclists_and_cars_use_their_own_lanes() -> None:
    roads = (
        road("road", (0, 0), (500, 0), allows=("motor",)),
        road("track", (0, 6), (500, 6), allows=("bicycle",)),
    )
    assert driver(*roads).at(100, 3, 90, is_motor=True)[0] == "road"
    assert driver(*roads).at(100, 3, 90, is_motor=False)[0] == "track"


def test_a_sample_that_is_not_newer_leaves_no_trace() -> None:
    there = driver(road("east", (0, 0), (500, 0)))
    there.at(100, 0, 90)
    before = there.state.snapshot()
    there.second = 0
    assert there.at(110, 0, 90)[0] == "east"
    assert all(
        np.array_equal(before[k], v, equal_nan=True) for k, v in there.state.snapshot().items()
    )


def test_an_evicted_slot_starts_without_history() -> None:
    there = driver(road("main", (0, 0), (1000, 0)), road("side", (0, 8), (1000, 8)))
    for i in range(5):
        there.at(10.0 * i, 0, 90)
    there.state.evict(np.array([0, 99]))
    assert there.at(50, 7.0, 90)[0] == "side"


def grid_map() -> RoadMap:
    """Two-way streets 60 m apart, crossing, with a parallel road: ambiguous everywhere."""
    lines = []
    for k in range(3):
        at = 60.0 * k
        lines += [
            road(f"e{k}", (0, at), (120, at), lanes=2),
            road(f"w{k}", (120, at + 6), (0, at + 6)),
        ]
        lines += [road(f"n{k}", (at, 0), (at, 120)), road(f"s{k}", (at - 4, 120), (at - 4, 0))]
    return RoadMap.build(lines)


GRID_MATCHER = Matcher(grid_map())


def walk(seed: int, vehicles: int, samples: int) -> list[np.ndarray]:
    """Columns of a batch in time order: vehicles that wander, with gaps, jumps and holes."""
    random = np.random.default_rng(seed)
    slot = random.integers(0, vehicles, samples).astype(np.int32)
    at_ns = np.cumsum(random.choice([0, 1, 3], samples)) * (SECOND_NS // 4)
    x_m, y_m = random.uniform(-20, 140, (2, vehicles))[:, slot] + random.normal(0, 6, (2, samples))
    lat, lon = FRAME.to_lat_lon_deg(x_m, y_m)
    heading = random.choice([0.0, 88.0, 181.0, 275.0, np.nan], samples)
    speed = random.choice([0.0, 0.3, 8.0, np.nan], samples, p=[0.2, 0.1, 0.6, 0.1])
    lat[random.random(samples) < 0.05] = np.nan
    return [slot, at_ns, lat, lon, heading, speed, random.random(samples) < 0.9]


def in_batches(columns: list[np.ndarray], cuts: list[int]) -> tuple[MatchResult, MatcherState]:
    state = GRID_MATCHER.initial()
    parts = []
    for first, last in zip([0, *cuts], [*cuts, len(columns[0])], strict=True):
        parts.append(GRID_MATCHER.update(state, *(column[first:last] for column in columns)))
    return MatchResult(*(np.concatenate(column) for column in zip(*parts, strict=True))), state


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.integers(0, 80), max_size=6))
def test_any_split_into_batches_gives_the_same_matches(seed: int, cuts: list[int]) -> None:
    columns = walk(seed, vehicles=5, samples=80)
    whole, state = in_batches(columns, [])
    split, split_state = in_batches(columns, sorted(cuts))
    for name, one in whole._asdict().items():
        np.testing.assert_array_equal(one, split._asdict()[name], err_msg=name)
    used = int(columns[0].max()) + 1
    for name, array in state.snapshot().items():
        np.testing.assert_array_equal(array[:used], split_state.snapshot()[name][:used], name)


def test_a_restored_state_goes_on_as_if_nothing_had_happened() -> None:
    columns = walk(7, vehicles=4, samples=60)
    whole, _ = in_batches(columns, [])
    _, state = in_batches([column[:30] for column in columns], [])
    restored = MatcherState.restore(state.snapshot())
    rest = GRID_MATCHER.update(restored, *(column[30:] for column in columns))
    assert np.array_equal(rest.segment_index, whole.segment_index[30:])
    assert np.array_equal(rest.offset_m, whole.offset_m[30:], equal_nan=True)
    older = {k: v for k, v in state.snapshot().items() if not k.startswith("lane_")}
    assert MatcherState.restore(older).lane_costs.shape == state.lane_costs.shape
    with pytest.raises(ValueError, match="costs"):
        MatcherState.restore({k: v for k, v in state.snapshot().items() if k != "costs"})


def bench() -> ModuleType:
    """The benchmark's loading and scoring, so that both measure the same thing."""
    path = Path(__file__).parents[2] / "bench" / "bench_matching.py"
    spec = importlib.util.spec_from_file_location("bench_matching", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("package", "until_s", "least_edges", "least_lanes"),
    # Measured on these slices: see the benchmark; half a percent of margin.
    [("a39_freeway", 420, 0.99, 0.945), ("hamburg_urban", 360, 0.985, 0.94)],
)
def test_noisy_traces_are_matched_to_the_right_edges(
    package: str, until_s: int, least_edges: float, least_lanes: float
) -> None:
    measure = bench()
    folder = measure.data_root() / "traffic" / package
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}")
    road_map = measure.read_map(folder / "net.xml.gz")
    trace = measure.load(folder, road_map, seed=1, noise_m=1.5, until_s=until_s)
    score = measure.score(road_map, trace, *measure.match(Matcher(road_map), trace, batch_s=5))
    assert score.edges >= least_edges, score
    assert score.edges_adjacent >= 0.998, score
    assert score.lanes >= least_lanes, score

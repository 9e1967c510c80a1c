"""A segment's typical day and what is unusual beside it, as the API gives them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from cloud.store import minutes
from cloud.store.migrate import layout_of
from openvrc.contracts.batch import Batch
from openvrc.contracts.units import NS_PER_S, ns_from_iso
from tests.support.cloud_server import RunningCloud, temporary_cloud
from tests.support.town import Town

DAYS = [f"2026-{day}" for day in ("03-26", "03-27", "03-30", "03-31", "04-02")]
"""Thursday, Friday; the clocks of Berlin go forward on Sunday; Monday, Tuesday, Thursday."""
TODAY = "2026-04-09"


class Day(Town):
    """The town of one day: segments that are driven on at given speeds from 07:30 in Berlin."""

    def __init__(self, date: str, utc: str, run_id: str | None = None) -> None:
        start_ns = ns_from_iso(f"{date}T{utc}:00Z")
        super().__init__(run_id=run_id or f"run-{date}", start_ns=start_ns)

    def announced(self, state: str = "running", at_s: float = 0.0) -> Batch:
        return self.announce(state, at_s).with_columns({"time_zone": ["Europe/Berlin"]})

    def seen(self, speeds_mps: dict[str, float]) -> list[Batch]:
        """Ten minutes of windows of 10 s, and the ticks that close them."""
        made: list[Batch] = []
        for second in range(0, 600, 10):
            windows: dict[str, Any] = {
                "source_id": "town-edge",
                "subject_id": list(speeds_mps),
                "window_s": 10.0,
                "window_start_ns": self.start_ns + second * NS_PER_S,
                "revision": 0,
                "map_version": self.map.map_version,
                "vehicle_s": 20.0,
                "distance_m": [20.0 * speed for speed in speeds_mps.values()],
                "vehicle_count": 2,
                "coverage_ratio": 1.0,
            }
            made.append(self.batch("segment_state", len(speeds_mps), second + 10, **windows))
        return [*made, self.tick(603.0)]


@pytest.fixture(scope="module")
def cloud() -> Iterator[RunningCloud]:
    with temporary_cloud(cloud_minutes_every_s=0.0) as running:
        for number, date in enumerate(DAYS):
            day = Day(date, "06:30" if date < "2026-03-29" else "05:30")
            speeds = {"north_in": 9.0 + 0.5 * number, "east_in": 8.0, "west_in": 8.0}
            running.send([day.announced(), *day.seen(speeds)])
            running.send([day.announced("ended", 603.0)])
        for run_id in ("again", "and again"):  # replays of a day make neither days nor flow
            day = Day(DAYS[2], "05:30", run_id)
            running.send([day.announced(), *day.seen({"north_in": 10.0})])
            running.send([day.announced("ended", 603.0)])
        today = Day(TODAY, "05:30")
        speeds = {"north_in": 3.0, "east_in": 8.5, "south_in": 1.0}
        running.send([today.announced(), *today.seen(speeds)])
        with running.app.state.parts.pool.connection() as connection:
            minutes.refresh(connection, layout_of(connection))
        yield running


def unusual(cloud: RunningCloud, **params: Any) -> dict[str, Any]:
    items = cloud.json("/v1/traffic/unusual", params={"zone": "town"} | params)["items"]
    return {item["segment_id"]: item for item in items}


def test_a_typical_day_is_told_in_the_local_time_of_the_zone(cloud: RunningCloud) -> None:
    answer = cloud.json("/v1/traffic/segments/north_in/typical", params={"zone": "town"})
    assert (answer["time_zone"], answer["step_s"], answer["weeks"]) == ("Europe/Berlin", 900, 8)
    assert answer["to_at"] == f"{TODAY}T05:40:03.000Z"
    assert {item["time_of_day"] for item in answer["items"]} == {"07:30"}
    by_day = {item["weekday"]: item for item in answer["items"]}
    assert set(by_day) == {"monday", "tuesday", "wednesday", "thursday", "friday"}
    thursday = by_day["thursday"]  # 9 and 11 m/s, and today's 3
    assert (thursday["basis"], thursday["days"], thursday["speed_mps"]) == ("weekday", 3, 9.0)
    monday = by_day["monday"]
    assert (monday["basis"], monday["days"], monday["speed_mps"]) == ("working_days", 6, 9.75)
    # Ten minutes of 2 vehicles at a time, in a quarter of an hour and on 306 m.
    assert monday["seen_flow_vph"] == pytest.approx(1200 * 9.75 / 306 * 4, abs=0.1)


def test_a_day_can_be_asked_for_alone_and_as_of_a_moment(cloud: RunningCloud) -> None:
    params = {"zone": "town", "weekday": "thursday", "to": f"{TODAY}T00:00:00Z"}
    answer = cloud.json("/v1/traffic/segments/north_in/typical", params=params)
    (item,) = answer["items"]
    assert (item["weekday"], item["basis"], item["days"]) == ("thursday", "working_days", 5)
    assert (item["speed_mps"], item["speed_low_mps"], item["speed_high_mps"]) == (10.0, 9.2, 10.8)


def test_now_is_held_against_the_days_before(cloud: RunningCloud) -> None:
    found = unusual(cloud)
    assert set(found) == {"north_in", "east_in"}  # south_in has no days, west_in no now
    north = found["north_in"]
    assert north["is_unusual"]
    assert (north["speed_mps"], north["typical_speed_mps"], north["speed_ratio"]) == (
        3.0,
        10.0,
        0.3,
    )
    assert north["score"] < -3.0
    assert (north["typical_weekday"], north["typical_time_of_day"]) == ("thursday", "07:30")
    assert (north["typical_basis"], north["typical_days"]) == ("working_days", 5)
    assert north["sampled_at"] == f"{TODAY}T05:40:00.000Z"
    assert not found["east_in"]["is_unusual"]
    assert set(unusual(cloud, unusual_only=True)) == {"north_in"}


def test_days_further_back_than_asked_for_do_not_count(cloud: RunningCloud) -> None:
    assert unusual(cloud, weeks=1) == {}
    assert unusual(cloud, weeks=2)["north_in"]["typical_days"] == 5


def test_a_run_of_the_past_is_held_against_what_was_before_it(cloud: RunningCloud) -> None:
    assert unusual(cloud, run="run-2026-03-31")["north_in"]["typical_days"] == 3
    assert unusual(cloud, run="run-2026-03-26") == {}


def test_a_typical_day_of_nobody_is_empty_and_bad_questions_are_problems(
    cloud: RunningCloud,
) -> None:
    where = {"zone": "town"}
    assert cloud.json("/v1/traffic/segments/nobody/typical", params=where)["items"] == []
    for path in ("segments/north_in/typical?weekday=someday", "unusual?weeks=0", "unusual?run=x"):
        assert cloud.get(f"/v1/traffic/{path}").status_code in (404, 422)

"""What stands out in one kind of pack, as the API tells it."""

from __future__ import annotations

from cloud.api.battery_cohorts import MOST_LISTED, standing_row
from openvrc.detectors.battery_health.alert_cohorts import StandingOut


def standing_out(told: int) -> StandingOut:
    ids = tuple(f"v{n:03}" for n in range(told))
    return StandingOut("model", "New", "battery.connection", 900, told, 900, 0, 0.0, ids)


def test_a_long_list_of_vehicles_is_cut_and_says_so() -> None:
    whole = standing_row(standing_out(MOST_LISTED))
    assert (len(whole["vehicle_ids"]), whole["is_complete"]) == (MOST_LISTED, True)
    cut = standing_row(standing_out(MOST_LISTED + 1))
    assert (len(cut["vehicle_ids"]), cut["is_complete"]) == (MOST_LISTED, False)
    assert cut["told"] == MOST_LISTED + 1

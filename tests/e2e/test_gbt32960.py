"""GB/T 32960.3 from simulated terminals over TCP, through edge and cloud, to battery alerts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from openvrc.cli.platform import Platform
from openvrc.contracts.gbt32960.encode import battery_bodies, login, moment_frames
from openvrc.contracts.gbt32960.units import Command, Edition
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.processes import free_port
from simulator.gbt32960.terminal import Terminal
from tests.support.edge_world import road_map
from tests.support.gbt32960 import heartbeat
from tests.support.gbt32960_client import Client, wait_for
from tests.support.platform_runs import Vrc, all_alerts

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(900)]

S = 1_000_000_000
TWO_DAYS_NS = 2 * 86_400 * S
PORT = free_port()
LIVE, LATE, BACK_FILLED = (f"LTESTVEH00000000{number}" for number in (1, 2, 3))
HEALTHY_OHM, LEAKING_OHM = 2.5e6, 15_000.0  # 43 ohm/V at 350 V: serious below 100


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    folder = tmp_path_factory.mktemp("platform")
    write_zone(folder / "zones" / "town", Zone(name="town"), road_map())
    env = {"VRC_GBT32960__ZONE": "town", "VRC_GBT32960__PORT": str(PORT)}
    with Platform(folder, extra_env=env) as running:
        wait_for(can_connect, "the server of the terminals")
        yield running


def can_connect() -> bool:
    try:
        Client(PORT).close()
    except OSError:
        return False
    return True


def battery(at_ns: int, insulation_ohm: float, level: int = 0) -> dict[str, Any]:
    return {
        "sampled_at_ns": at_ns,
        "pack_voltage_v": 350.0,
        "pack_current_a": 20.0,
        "soc_ratio": 0.5,
        "insulation_ohm": insulation_ohm,
        "cell_voltages_v": [3.646] * 96,
        "probe_temperatures_degc": [25.0] * 24,
        "charging_state": "not_charging",
        "odometer_m": 1e6,
        "vehicle_speed_mps": 10.0,
        "bms_alarm_level": level,
        "bms_alarm_bits": 0x800 if level else 0,
    }


def connected(vin: str, at_ns: int) -> Client:
    client = Client(PORT)
    assert client.ask(login(Edition.Y2016, vin, {"sampled_at_ns": at_ns})).head.response == 1
    return client


def send(client: Client, vin: str, command: Command, said: dict[str, Any]) -> None:
    bodies = battery_bodies(said, Edition.Y2016)
    client.send(moment_frames(Edition.Y2016, command, vin, said, bodies))


def alerts_of(platform: Platform, vin: str) -> list[tuple[str, str]]:
    found = all_alerts(platform, "live")
    return [(a["rule"], a["state"]) for a in found if a["subject_id"] == vin]


def has_battery_state(platform: Platform, vin: str, at_least: int) -> bool:
    page = platform.api.get(f"/v1/vehicles/{vin}/battery", run="live", limit=100)
    return len(page["items"]) >= at_least


def test_a_terminal_in_alarm_leads_to_an_alert(platform: Platform) -> None:
    """Level 3 from the 60th second: reported each second, which is what the rule needs."""
    start_ns = time.time_ns() // S * S - 90 * S
    terminal, client = Terminal(LIVE), Client(PORT)
    terminal.connected(start_ns)
    (hello,) = terminal.due(start_ns)
    reply = client.ask(hello)
    terminal.answered(reply.data, start_ns)
    for second in range(90):
        now_ns = start_ns + second * S
        is_leaking = second >= 60
        ohm, level = (LEAKING_OHM, 3) if is_leaking else (HEALTHY_OHM, 0)
        terminal.sample(battery(now_ns, ohm, level), None, now_ns)
        client.send(*terminal.due(now_ns))
    assert client.ask(heartbeat(LIVE)).head.response == 1
    wait_for(lambda: ("battery.insulation", "active") in alerts_of(platform, LIVE), "the alert")
    client.close()


def test_a_back_fill_two_days_late_raises_only_history(platform: Platform) -> None:
    """DESIGN rule 4: current only while nothing newer contradicts it and it is young enough."""
    now_ns = time.time_ns() // S * S
    late, contradicted = connected(LATE, now_ns), connected(BACK_FILLED, now_ns)
    send(contradicted, BACK_FILLED, Command.REALTIME, battery(now_ns, HEALTHY_OHM))
    assert contradicted.ask(heartbeat(BACK_FILLED)).head.response == 1
    for second in range(10):
        said = battery(now_ns - TWO_DAYS_NS + second * S, LEAKING_OHM)
        send(late, LATE, Command.REISSUE, said)
        send(contradicted, BACK_FILLED, Command.REISSUE, said)
    wait_for(lambda: has_battery_state(platform, BACK_FILLED, 11), "the back-filled rows")
    wait_for(lambda: alerts_of(platform, LATE) != [], "the history of the late one")
    assert alerts_of(platform, LATE) == [("battery.insulation", "historical")]
    assert alerts_of(platform, BACK_FILLED) == []
    late.close()
    contradicted.close()


def test_simulated_terminals_are_stored_as_simulated(platform: Platform, vrc: Vrc) -> None:
    vrc("simulate", "crossroads", "--zone", "town", "--for", "40", "--speed", "8",
        "--run-id", "gbt", "--protocol", "gbt32960",
        "--gbt32960-url", f"tcp://127.0.0.1:{PORT}")  # fmt: skip
    found: list[dict[str, Any]] = []

    def has_come() -> bool:
        items = platform.api.get("/v1/vehicles", run="gbt", limit=500)["items"]
        found[:] = [item for item in items if item["vehicle_id"].startswith("LSIM")]
        return bool(found)

    wait_for(has_come, "simulated terminals among the vehicles")
    assert {item["run_id"] for item in found} == {"gbt"}

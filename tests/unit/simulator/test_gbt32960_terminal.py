"""A simulated terminal keeps the protocol's rules of time; each second is one sample."""

from __future__ import annotations

from typing import Any

import pytest

from openvrc.contracts.gbt32960.message import read, reply
from openvrc.contracts.gbt32960.units import Command, Edition
from simulator.gbt32960.fleet import vin_of
from simulator.gbt32960.terminal import Terminal
from tests.support.gbt32960 import AT_NS, VIN

S = 1_000_000_000
DAY_S = 86_400


def battery(at_s: float, level: int = 0) -> dict[str, Any]:
    return {
        "sampled_at_ns": AT_NS + int(at_s * S),
        "pack_voltage_v": 350.0,
        "pack_current_a": 1.0,
        "soc_ratio": 0.5,
        "cell_voltages_v": [3.6, 3.601],
        "probe_temperatures_degc": [20.0],
        "bms_alarm_level": level,
        "bms_alarm_bits": 0,
    }


def said(frames: list[bytes]) -> list[tuple[int, float]]:
    """(command, seconds) of each frame."""
    messages = [read(frame) for frame in frames]
    return [(m.head.command, ((m.time_ns or 0) - AT_NS) / S) for m in messages]


def online(edition: Edition = Edition.Y2016) -> Terminal:
    terminal = Terminal(VIN, edition)
    terminal.connected(AT_NS)
    (login,) = terminal.due(AT_NS)
    terminal.answered(reply(login, 1), AT_NS)
    return terminal


def drive(
    terminal: Terminal, first_s: int, last_s: int, alarm_s: range = range(0), step_s: int = 1
) -> list[tuple[int, float]]:
    """Everything the terminal sends from second to second."""
    frames: list[bytes] = []
    for at_s in range(first_s, last_s, step_s):
        now_ns = AT_NS + at_s * S
        terminal.sample(battery(at_s, 3 if at_s in alarm_s else 0), None, now_ns)
        frames += terminal.due(now_ns)
    return said(frames)


@pytest.mark.parametrize("edition", Edition)
def test_a_driving_vehicle_reports_every_30_seconds(edition: Edition) -> None:
    assert drive(online(edition), 0, 100) == [(2, 0), (2, 30), (2, 60), (2, 90)]


def test_an_alarm_of_level_3_sends_30_seconds_before_again_and_30_after_each_second() -> None:
    sent = drive(online(), 0, 160, alarm_s=range(70, 75))
    live = [at for command, at in sent if command == Command.REALTIME]
    again = [at for command, at in sent if command == Command.REISSUE]
    assert again == [s for s in range(40, 70) if s != 60], "what was reported is not sent twice"
    assert live == [0, 30, 60, *range(70, 101), 130]


def test_the_window_of_2025_lasts_until_the_alarm_clears() -> None:
    sent = drive(online(Edition.Y2025), 0, 200, alarm_s=range(70, 130))
    live = [at for command, at in sent if command == Command.REALTIME]
    assert live == [0, 30, 60, *range(70, 130), 159, 189]


def test_what_was_stored_during_a_loss_is_sent_again_in_order_after_the_login() -> None:
    terminal = online()
    drive(terminal, 0, 10)
    terminal.lost()
    assert drive(terminal, 10, 100) == []
    terminal.connected(AT_NS + 100 * S)
    assert said(terminal.due(AT_NS + 100 * S)) == [(1, 100)]
    terminal.answered(reply(login_of(terminal, 100), 1), AT_NS + 100 * S)
    assert drive(terminal, 120, 122) == [(2, 120), (3, 30), (3, 60), (3, 90)]


def login_of(terminal: Terminal, at_s: int) -> bytes:
    from openvrc.contracts.gbt32960.encode import login

    return login(terminal.edition, VIN, {"sampled_at_ns": AT_NS + at_s * S})


@pytest.mark.parametrize(("edition", "days"), [(Edition.Y2016, 3), (Edition.Y2025, 7)])
def test_the_store_keeps_so_many_days_and_counts_what_it_gave_up(
    edition: Edition, days: int
) -> None:
    terminal = Terminal(VIN, edition)
    drive(terminal, 0, (days + 1) * DAY_S, step_s=3600)
    at_ns = [at for at, _ in terminal.stored]
    assert (at_ns[-1] - at_ns[0]) == days * DAY_S * S
    assert terminal.given_up == (days + 1) * 24 - len(at_ns)


@pytest.mark.parametrize(("edition", "wait_s"), [(Edition.Y2016, 60), (Edition.Y2025, 180)])
def test_a_login_is_tried_three_times_then_after_half_an_hour(
    edition: Edition, wait_s: int
) -> None:
    terminal = Terminal(VIN, edition)
    terminal.connected(AT_NS)
    frames = [f for s in range(0, 3900, 10) for f in terminal.due(AT_NS + s * S)]
    pause_s = 3 * wait_s + 1800
    expected = [*(n * wait_s for n in range(3)), *(pause_s + n * wait_s for n in range(3))]
    assert [at for _, at in said(frames)] == [at for at in expected if at < 3900]
    serials = [read(frame).tree["serial"] for frame in frames]
    assert serials == list(range(1, len(frames) + 1))


def test_a_report_answered_with_an_error_is_sent_again_each_minute_three_times() -> None:
    terminal = online()
    terminal.sample(battery(0), None, AT_NS)
    (frame,) = terminal.due(AT_NS)
    times: list[int] = []
    for at_s in range(0, 600, 10):
        now_ns = AT_NS + at_s * S
        if at_s == 0 or (times and times[-1] == at_s - 10):
            terminal.answered(reply(frame, 2), now_ns)
        if frame in terminal.due(now_ns):
            times.append(at_s)
    assert len(times) == 3
    assert times[0] == 60
    assert terminal.given_up == 1


def test_ids_become_vins() -> None:
    names = ["ev-1", "bus 7#1", "x" * 80, "", VIN, "ev1"]
    assert all(len(vin_of(name)) == 17 for name in names)
    assert vin_of(VIN) == VIN

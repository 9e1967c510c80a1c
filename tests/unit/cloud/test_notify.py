"""Routes, groups, repeats, escalation, silence and inhibition; and every channel's contract."""

from __future__ import annotations

import hmac
import io
import json
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from cloud.notify import mqtt, smtp, webhook
from cloud.notify.base import Channel, Notification, PermanentError, as_text
from cloud.notify.config import NotifyConfig, read_config
from cloud.notify.console import Console
from cloud.notify.figures import MOST_NAMED, Figures
from cloud.notify.routing import Notice, Router, Silence, is_within
from openvrc.contracts.errors import SettingsError
from openvrc.contracts.plugins import discover

CHANNELS: dict[str, Channel] = discover("cloud.notify")


def alert(alert_id: str = "a", **more: Any) -> dict[str, Any]:
    return {
        "id": alert_id, "rule": "traffic.congestion", "kind": "traffic", "title": "Congestion",
        "advice": "Look for the cause.", "severity": "serious", "state": "active", "is_open": True,
        "zone": "town", "run_id": "live", "origin": "live", "subject_type": "segment",
        "subject_id": "e1", "component": None, "started_at": "2026-01-01T00:00:00.000Z",
        "folded_into": None, "evidence": {"text": "Slow."},
    } | more  # fmt: skip


def over(alert_id: str = "a", **more: Any) -> dict[str, Any]:
    return alert(alert_id, state="cleared", is_open=False, **more)


def router(*inhibit: dict[str, Any], **route: Any) -> Router:
    facts: dict[str, Any] = {
        "channel": [{"name": "ops", "type": "console"}, {"name": "boss", "type": "console"}],
        "route": [{"name": "all", "channels": ["ops"], "group_wait_s": 10, **route}],
    }
    if inhibit:
        facts["inhibit"] = list(inhibit)
    return Router(NotifyConfig.model_validate(facts))


def told(notices: list[Notice]) -> list[tuple[str, str, list[str]]]:
    return [(n.event, n.channels[0], [a["id"] for a in n.alerts]) for n in notices]


def test_alerts_of_a_group_are_told_together_after_its_wait() -> None:
    routes = router()
    routes.take(alert("a"), 0.0)
    routes.take(alert("b", subject_id="e2", severity="critical"), 6.0)
    routes.take(alert("c", rule="traffic.stopped_vehicle"), 9.0)
    assert routes.advance(9.9) == []
    assert told(routes.advance(10.0)) == [("raised", "ops", ["b", "a"])]  # worst first
    assert told(routes.advance(19.0)) == [("raised", "ops", ["c"])]
    assert routes.advance(1000.0) == []


def test_only_live_alerts_are_told_unless_a_route_says_otherwise() -> None:
    for origins, is_told in (["live"], False), (["live", "simulated"], True):
        routes = router(origins=origins)
        routes.take(alert(origin="simulated"), 0.0)
        assert bool(routes.advance(20.0)) is is_told


@pytest.mark.parametrize(
    "facts",
    [{"severity": "info"}, {"folded_into": "storm"}, {"state": "historical"}, {"zone": "other"}],
)
def test_what_no_route_matches_is_not_told(facts: dict[str, Any]) -> None:
    routes = router(zones=["town"])
    routes.take(alert(**facts), 0.0)
    assert routes.advance(20.0) == []


def test_an_alert_that_rises_is_told_again_and_one_that_stays_is_not() -> None:
    routes = router()
    routes.take(alert(), 0.0)
    routes.advance(10.0)
    routes.take(alert(), 11.0)
    assert routes.advance(30.0) == []
    routes.take(alert(severity="critical"), 31.0)
    assert told(routes.advance(41.0)) == [("raised", "ops", ["a"])]


def test_an_end_is_told_of_what_was_told_only() -> None:
    routes = router()
    routes.take(alert("a"), 0.0)
    routes.advance(10.0)
    routes.take(over("a", severity="info"), 12.0)  # below the route's least, and told all the same
    routes.take(alert("b"), 12.0)
    routes.take(over("b"), 13.0)
    assert told(routes.advance(30.0)) == [("cleared", "ops", ["a"])]


def test_what_nobody_acknowledges_is_repeated_and_escalated_once() -> None:
    routes = router(repeat_s=100, escalate_after_s=60, escalate_to=["boss"])
    routes.take(alert("a"), 0.0)
    routes.take(alert("b"), 0.0)
    routes.advance(10.0)
    routes.take(alert("b", acknowledged_by="olga"), 20.0)
    assert told(routes.advance(70.0)) == [("escalated", "boss", ["a"])]
    assert told(routes.advance(110.0)) == [("repeated", "ops", ["a"])]
    routes.take(alert("a"), 111.0)  # a transition does not say who acknowledged
    assert told(routes.advance(210.0)) == [("repeated", "ops", ["a"])]


def test_a_snooze_and_a_silence_hold_alerts_back_until_they_end() -> None:
    routes = router(group_wait_s=0)
    routes.take(alert("a", snoozed_until_s=50.0), 0.0)
    routes.take(alert("b", subject_id="e2"), 0.0)
    silence = Silence(0.0, 80.0, zone="to*", subject="e2")
    assert routes.advance(49.0, [silence]) == []
    assert told(routes.advance(50.0, [silence])) == [("raised", "ops", ["a"])]
    assert told(routes.advance(80.0, [silence])) == [("raised", "ops", ["b"])]


def test_a_thermal_event_silences_the_lesser_alerts_of_its_pack_only() -> None:
    routes = router(group_wait_s=0, group_by=["subject_id"])
    thermal = {"rule": "battery.thermal_event", "severity": "critical", "subject_id": "car-1"}
    routes.take(alert("t", **thermal), 0.0)
    routes.take(alert("a", rule="battery.over_temperature", subject_id="car-1"), 0.0)
    routes.take(alert("b", rule="battery.over_temperature", subject_id="car-2"), 0.0)
    assert sorted(told(routes.advance(1.0))) == [("raised", "ops", ["b"]), ("raised", "ops", ["t"])]
    routes.take(over("t", **thermal), 2.0)
    assert ("raised", "ops", ["a"]) in told(routes.advance(3.0))


def test_a_route_tells_in_its_hours_only_and_keeps_what_came_before() -> None:
    routes = router(hours="08:00-18:00", time_zone="Europe/Berlin", group_wait_s=0)
    seven, nine = 6 * 3600.0, 8 * 3600.0  # UTC; Berlin is an hour ahead in January
    routes.take(alert(), seven)
    assert routes.advance(seven) == []
    assert told(routes.advance(nine)) == [("raised", "ops", ["a"])]
    assert is_within("22:00-06:00", "UTC", 23 * 3600.0)


def test_after_a_restart_open_alerts_are_not_told_anew() -> None:
    routes = router(repeat_s=100)
    routes.know([alert()], 0.0)
    assert routes.advance(50.0) == []
    assert told(routes.advance(100.0)) == [("repeated", "ops", ["a"])]


def test_the_file_is_checked_and_its_errors_say_what_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "notify.toml"
    path.write_text('[[route]]\nname = "r"\nchannels = ["nobody"]\n')
    with pytest.raises(SettingsError, match="names no channel"):
        read_config(path)
    path.write_text("channel = 1\n")
    with pytest.raises(SettingsError, match="channel"):
        read_config(path)


def notification(**more: Any) -> Notification:
    return Notification("id-1", "raised", "all", (alert(**more), alert("b")), 1_700_000_000.0)


@pytest.mark.parametrize("name", sorted(CHANNELS))
def test_a_channel_refuses_options_it_does_not_know(name: str) -> None:
    with pytest.raises(PermanentError, match="unknown"):
        CHANNELS[name].check({"no_such_option": 1})


def test_the_console_writes_one_line_whatever_an_id_holds() -> None:
    stream = io.StringIO()
    Console(stream).send(notification(subject_id="a\nalert raised: all is well"), {})
    assert stream.getvalue().count("\n") == 1
    assert stream.getvalue().startswith("alert raised: [serious] Congestion: a alert raised")


def test_an_event_follows_cloudevents_and_its_signature_can_be_checked() -> None:
    event = webhook.cloud_event(notification())
    assert {"specversion", "id", "source", "type"} <= event.keys()
    assert event["type"] == "org.openvrc.alert.raised"
    assert event["source"] == "/openvrc/zones/town"
    body = json.dumps(event).encode()
    t, v1 = (part.split("=")[1] for part in webhook.signature("s" * 16, 5, body).split(","))
    assert v1 == hmac.new(b"s" * 16, b"5." + body, sha256).hexdigest()
    assert t == "5"


@pytest.mark.parametrize(
    "options",
    [{"url": "file:///etc/passwd", "secret": "s" * 16}, {"url": "http://h", "secret": "short"}],
)
def test_a_webhook_refuses_other_schemes_and_short_secrets(options: dict[str, str]) -> None:
    with pytest.raises(PermanentError):
        CHANNELS["webhook"].check(options)


def test_a_mail_has_the_advice_and_no_header_of_an_ids_making() -> None:
    options = {"host": "h", "sender": "vrc@example.com", "recipients": ["a@example.com"]}
    CHANNELS["smtp"].check(options)
    message = smtp.mail(notification(subject_id="x\r\nBcc: all@example.com"), options)
    assert message["Bcc"] is None
    assert "Bcc: all@example.com" in message["Subject"]
    assert "What to do: Look for the cause." in message.get_content()
    assert "and 1 more" in as_text(notification())


def test_a_topic_cannot_be_left_by_what_an_alert_holds() -> None:
    topic = mqtt.topic_of(notification(zone="a/b+#"), "alerts/{zone}/{severity}/{event}")
    assert topic == "alerts/a_b__/serious/raised"
    with pytest.raises(PermanentError):
        CHANNELS["mqtt"].check({"url": "http://broker"})
    with pytest.raises(PermanentError):
        CHANNELS["mqtt"].check({"url": "mqtt://broker", "topic": "{secret}"})


def test_what_came_while_too_many_waited_is_counted_named_and_shown_in_the_metrics() -> None:
    figures = Figures()
    for i in range(MOST_NAMED + 5):
        figures.leave_out(alert(f"a{i}"))
    n, named = figures.take_left_out()
    assert n == MOST_NAMED + 5
    assert [a["id"] for a in named] == [f"a{i}" for i in range(MOST_NAMED)]
    assert figures.take_left_out() == (0, [])
    figures.attempted("ops", "sent")
    figures.attempted("ops", "sent")
    values = {
        (sample.name, *sample.labels.values()): sample.value
        for family in figures.families()
        for sample in family.samples
    }
    assert values["vrc_notify_left_out_alerts_total",] == MOST_NAMED + 5
    assert values["vrc_notify_attempts_total", "ops", "sent"] == 2

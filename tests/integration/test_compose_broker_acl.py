"""The compose stack's broker rules, on a real mosquitto: a sender may speak for itself only."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as mqtt
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from openvrc.embedded.broker import find_mosquitto
from openvrc.embedded.processes import LOOPBACK, accepts_connections, free_port
from tests.support.patience import PATIENCE_S

ROOT = Path(__file__).parents[2]
PASSWD = shutil.which("mosquitto_passwd") or "/usr/bin/mosquitto_passwd"
USERS = ("edge", "simulator", "car-1", "car-2")


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = find_mosquitto()
    if program is None or not Path(PASSWD).exists():
        pytest.skip("no mosquitto (with mosquitto_passwd) on this machine")
    folder = tmp_path_factory.mktemp("acl")
    port = free_port()
    passwords = folder / "passwords"
    passwords.touch()
    for user in USERS:
        subprocess.run([PASSWD, "-b", str(passwords), user, f"pw-{user}"], check=True)
    text = (ROOT / "deploy/mosquitto.conf").read_text()
    text = text.replace("listener 1883", f"listener {port} {LOOPBACK}")
    text = text.replace("/mosquitto/data/passwords", str(passwords))
    shutil.copy(ROOT / "deploy/mosquitto.acl", folder / "acl")
    text = text.replace("/mosquitto/config/mosquitto.acl", str(folder / "acl"))
    text = text.replace("persistence true", "persistence false").replace(
        "persistence_location /mosquitto/data/\n", ""
    )
    if os.geteuid() == 0:  # as root it would change to a user who cannot read this folder
        text += "\nuser root\n"
    (folder / "mosquitto.conf").write_text(text)
    process = subprocess.Popen([program, "-c", str(folder / "mosquitto.conf")])
    try:
        deadline_s = time.monotonic() + PATIENCE_S
        while not accepts_connections(LOOPBACK, port) and time.monotonic() < deadline_s:
            assert process.poll() is None, "mosquitto refused our configuration"
            time.sleep(0.02)
        yield port
    finally:
        process.terminate()
        process.wait()


def connected(port: int, user: str, password: str | None = None) -> mqtt.Client:
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.username_pw_set(user, password or f"pw-{user}")
    client.connect(LOOPBACK, port)
    client.loop_start()
    return client


def wait_for(condition: object, timeout_s: float = PATIENCE_S) -> bool:
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if condition():  # type: ignore[operator]
            return True
        time.sleep(0.01)
    return False


def test_a_wrong_password_is_refused(port: int) -> None:
    answers: list[bool] = []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, protocol=mqtt.MQTTv5)
    client.on_connect = lambda *args: answers.append(args[3].is_failure)
    client.username_pw_set("car-1", "guess")
    client.connect(LOOPBACK, port)
    client.loop_start()
    try:
        assert wait_for(lambda: answers)
        assert answers[0]
    finally:
        client.disconnect()
        client.loop_stop()


def test_a_car_is_heard_on_its_own_topic_and_on_nobody_elses(port: int) -> None:
    heard: list[str] = []
    edge = connected(port, "edge")
    subscribed: list[int] = []
    edge.on_message = lambda _c, _u, message: heard.append(message.topic)
    edge.on_subscribe = lambda *args: subscribed.append(args[2])
    edge.subscribe("vrc/v1/#", qos=1)
    car = connected(port, "car-1")
    try:
        assert wait_for(lambda: subscribed)
        for topic in (
            "vrc/v1/z/vehicle/car-2/vehicle_state",
            "vrc/v1/z/zone/car-1/zone_announce",
            "vrc/v1/z/edge/edge-1/tick",
            "vrc/v1/z/vehicle/car-1/vehicle_state",
        ):
            car.publish(topic, b"{}", qos=1).wait_for_publish(PATIENCE_S)
        assert wait_for(lambda: heard)
        assert heard == ["vrc/v1/z/vehicle/car-1/vehicle_state"]
    finally:
        for client in (edge, car):
            client.disconnect()
            client.loop_stop()

"""How long a warning takes: from a record's hand-over to the broker until the vehicle has it.

    python -m tests.bench.bench_warnings [--pairs 100] [--background 1000] [--no-rules]

A mosquitto, `vrc edge` as a process of its own with `traffic.conflict` on, no cloud (the spool
keeps what would go up). One client publishes pairs on a collision course, ten a second, each on a
road of its own, beside `--background` ordinary vehicles that report once a second in batches of
50; another one listens to the advisories. Latency is from the publishing of the record that
completes the pair to the arrival of its advisory, by one clock. The edge's CPU time per record of
the whole run is told too: with `--no-rules` what it is without.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

ZONE = "bench"
LAT_DEG, LON_DEG = 53.55, 10.0
M_PER_LAT_DEG = 111_320.0
M_PER_LON_DEG = M_PER_LAT_DEG * float(np.cos(np.radians(LAT_DEG)))
ROAD_M, APART_M = 500.0, 60.0
PAUSE_S = 0.1


def lat_lon(road: int, along_m: float) -> tuple[float, float]:
    """A place on a road; roads lie side by side."""
    return LAT_DEG + road * APART_M / M_PER_LAT_DEG, LON_DEG + along_m / M_PER_LON_DEG


def write_map(file: Path, n_roads: int) -> None:
    """GeoJSON of straight roads going east."""
    features = [
        {
            "type": "Feature",
            "id": f"road{road}",
            "properties": {"maxspeed": 50, "lanes": 1, "oneway": True},
            "geometry": {
                "type": "LineString",
                "coordinates": [
                    [lon, lat] for lat, lon in (lat_lon(road, 0.0), lat_lon(road, ROAD_M))
                ],
            },
        }
        for road in range(n_roads)
    ]
    file.write_text(json.dumps({"type": "FeatureCollection", "features": features}))


def state(vehicle: str, road: int, along_m: float, speed_mps: float) -> dict[str, object]:
    """One record of now."""
    lat_deg, lon_deg = lat_lon(road, along_m)
    return {
        "source_id": "rsu-1",
        "subject_id": vehicle,
        "sampled_at_ns": time.time_ns(),
        "lat_deg": round(lat_deg, 7),
        "lon_deg": round(lon_deg, 7),
        "speed_mps": speed_mps,
        "heading_deg": 90.0,
        "vehicle_class": "car",
    }


class Listener:
    """When each vehicle's advisory came."""

    def __init__(self, port: int) -> None:
        self.arrived_ns: dict[str, int] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "listener")
        self.client.on_message = self._take
        self.client.connect("127.0.0.1", port)
        self.client.subscribe(f"vrc/v1/{ZONE}/vehicle/+/down/advisory")
        self.client.loop_start()

    def _take(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.arrived_ns.setdefault(message.topic.split("/")[4], time.time_ns())


def background(client: paho.Client, n_vehicles: int, stop: threading.Event) -> None:
    """Vehicles that follow one another at one speed, in batches of 50."""
    topic = f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
    began_s = time.monotonic()
    while not stop.is_set():
        for first in range(0, n_vehicles, 50):
            along_m = 10.0 * ((time.monotonic() - began_s) % 40)
            rows = [
                state(f"car-{one}", one % 50, along_m + 40.0 * (one % 2), 10.0)
                for one in range(first, min(first + 50, n_vehicles))
            ]
            client.publish(topic, json.dumps(rows), qos=1)
            stop.wait(50.0 / max(n_vehicles, 1))


def await_text(file: Path, text: str, most_s: float = 90.0) -> None:
    """Wait until a log says so. Raises TimeoutError."""
    until_s = time.monotonic() + most_s
    while text not in file.read_text():
        if time.monotonic() > until_s:
            raise TimeoutError(f"{file} does not say {text!r}: {file.read_text()[-500:]}")
        time.sleep(0.2)


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main() -> None:
    """Start, publish, tell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--pairs", type=int, default=100)
    parser.add_argument("--background", type=int, default=1000)
    parser.add_argument("--no-rules", action="store_true")
    options = parser.parse_args()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        write_map(home / "roads.geojson", 50 + options.pairs)
        environment = os.environ | {
            "VRC_BROKER_URL": f"mqtt://127.0.0.1:{port}",
            "VRC_ZONES_DIR": str(home / "zones"),
            "VRC_DATA_DIR": str(home / "data"),
            "VRC_CLOUD_URL": "http://127.0.0.1:9",
            "VRC_EDGE_RULES": "" if options.no_rules else "traffic.conflict",
        }
        vrc = str(Path(sys.executable).with_name("vrc"))
        new = [vrc, "zone", "new", ZONE, "--map", str(home / "roads.geojson")]
        subprocess.run(new, check=True, env=environment, cwd=home, stdout=subprocess.DEVNULL)
        broker = subprocess.Popen(["mosquitto", "-p", str(port)], stderr=subprocess.DEVNULL)
        edge = subprocess.Popen([vrc, "edge"], env=environment, cwd=home,
                                stderr=(home / "edge.log").open("w"))  # fmt: skip
        try:
            await_text(home / "edge.log", "runs, spool epoch")
            run(options, port, edge.pid)
        finally:
            for process in (edge, broker):
                process.terminate()
                process.wait(20)


def run(options: argparse.Namespace, port: int, pid: int) -> None:
    """The measurement."""
    listener = Listener(port)
    client = paho.Client(CallbackAPIVersion.VERSION2, "vehicles")
    client.connect("127.0.0.1", port)
    client.loop_start()
    stop, topic = threading.Event(), f"vrc/v1/{ZONE}/rsu/rsu-1/vehicle_state"
    others = threading.Thread(target=background, args=(client, options.background, stop))
    others.start()
    time.sleep(3.0)
    began_cpu_s, began_s = cpu_s(pid), time.monotonic()
    sent_ns: dict[str, int] = {}
    for pair in range(options.pairs):
        road = 50 + pair
        client.publish(topic, json.dumps([state(f"ahead-{pair}", road, 200.0, 0.0)]), qos=1)
        time.sleep(PAUSE_S)
        sent_ns[f"behind-{pair}"] = time.time_ns()
        client.publish(topic, json.dumps([state(f"behind-{pair}", road, 175.0, 12.0)]), qos=1)
    took_s, used_s = time.monotonic() - began_s, cpu_s(pid) - began_cpu_s
    time.sleep(2.0)
    stop.set()
    others.join()
    late_ms = sorted(
        (listener.arrived_ns[vehicle] - at_ns) / 1e6
        for vehicle, at_ns in sent_ns.items()
        if vehicle in listener.arrived_ns
    )
    records = options.background * took_s + 2 * options.pairs
    sys.stdout.write(f"edge: {1e6 * used_s / records:.1f} us of CPU a record\n")
    if late_ms:
        p50, p95, p99 = np.percentile(late_ms, (50, 95, 99))
        within = sum(ms <= 100.0 for ms in late_ms) / len(sent_ns)
        sys.stdout.write(
            f"{len(late_ms)} of {len(sent_ns)} warned; p50 {p50:.0f}, p95 {p95:.0f}, "
            f"p99 {p99:.0f} ms, {within:.0%} within 100 ms\n"
        )
    listener.client.loop_stop()
    client.loop_stop()


if __name__ == "__main__":
    main()

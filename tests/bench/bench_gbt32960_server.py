"""A whole edge with many GB/T 32960.3 terminals: its CPU and memory, one frame each 10 s a vehicle.

`python -m tests.bench.bench_gbt32960_server [--vehicles 10000] [--seconds 60]`. Starts a broker, a
cloud that only takes batches in, and `vrc edge`; the terminals are this process. Target: one core,
300 MB. Says the edge's CPU seconds per second (user and system), its memory and what arrived.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from openvrc.contracts.gbt32960 import beijing
from openvrc.contracts.gbt32960.encode import frames_of, login
from openvrc.contracts.gbt32960.frame import bcc
from openvrc.contracts.gbt32960.units import Edition
from openvrc.contracts.zone import Zone, write_zone
from openvrc.embedded.broker import start_broker
from openvrc.embedded.processes import free_port, start_process
from tests.bench.bench_gbt32960 import fleet
from tests.support.edge_world import road_map
from tests.support.fake_cloud import KEY, FakeCloud

PERIOD_S = 10.0
AT_ONCE = 100
"""Connections opened at a time: a listening socket's queue is bounded."""

DRAIN_S = 60.0
"""How long what the spool still holds may take to come to the cloud, after the last frame."""


def cpu_s(pid: int) -> float:
    """User and system time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_mb(pid: int, name: str = "VmHWM") -> float:
    """Peak (VmHWM) or present (VmRSS) resident memory."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


class Terminals:
    """The vehicles."""

    def __init__(self, port: int, n: int) -> None:
        self._port = port
        self._records = fleet(n).to_records()
        self._frames = frames_of(fleet(n), Edition.Y2016)
        self._writers: list[asyncio.StreamWriter] = []
        self.sent = 0

    async def connect(self) -> None:
        """Open and log in, a few at a time."""
        for first in range(0, len(self._records), AT_ONCE):
            part = self._records[first : first + AT_ONCE]
            self._writers += await asyncio.gather(*(self._log_in(r["subject_id"]) for r in part))

    async def _log_in(self, vin: str) -> asyncio.StreamWriter:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(login(Edition.Y2016, vin, {"sampled_at_ns": time.time_ns()}))
        await reader.readexactly(31)
        return writer

    async def report(self, seconds: float) -> None:
        """A frame each `PERIOD_S` of everybody, evenly spread; frames are only stamped anew."""
        begun, step_s = time.monotonic(), PERIOD_S / len(self._writers)
        while (passed_s := time.monotonic() - begun) < seconds:
            due = int(passed_s / step_s)
            while self.sent < due:
                self._send(self.sent % len(self._writers))
                self.sent += 1
            await asyncio.sleep(0.01)

    def _send(self, which: int) -> None:
        """The vehicle's frame with another time: only its check byte changes with it."""
        frame = bytearray(self._frames[which])
        frame[24:30] = beijing.to_bytes(time.time_ns())
        frame[-1] = bcc(bytes(frame[2:-1]))
        self._writers[which].write(bytes(frame))

    def close(self) -> None:
        """Close every socket."""
        for writer in self._writers:
            writer.close()


async def drive(port: int, pid: int, vehicles: int, seconds: float) -> dict[str, Any]:
    """Figures of the edge."""
    terminals = Terminals(port, vehicles)
    await terminals.connect()
    await asyncio.sleep(2.0)
    idle_mb = memory_mb(pid, "VmRSS")
    cpu_before, begun = cpu_s(pid), time.monotonic()
    await terminals.report(seconds)
    passed_s = time.monotonic() - begun
    used = cpu_s(pid) - cpu_before
    await asyncio.sleep(3.0)
    found = {
        "vehicles": vehicles,
        "frames_sent": terminals.sent,
        "frames_per_s": round(terminals.sent / passed_s, 1),
        "edge_cpu_s_per_s": round(used / passed_s, 3),
        "edge_cpu_us_per_frame": round(1e6 * used / max(terminals.sent, 1)),
        "edge_connected_mb": round(idle_mb),
        "edge_peak_mb": round(memory_mb(pid)),
    }
    terminals.close()
    return found


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--vehicles", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 65_536)), hard))
    with tempfile.TemporaryDirectory() as text:
        folder, port, cloud = Path(text), free_port(), FakeCloud()
        write_zone(folder / "zones" / "town", Zone(name="town"), road_map())
        broker = start_broker(folder / "broker")
        env = dict(os.environ) | {
            "VRC_DATA_DIR": str(folder), "VRC_ZONES_DIR": str(folder / "zones"),
            "VRC_BROKER_URL": f"mqtt://{broker.host}:{broker.port}", "VRC_CLOUD_URL": cloud.url,
            "VRC_API_KEY": KEY, "VRC_GBT32960__ZONE": "town", "VRC_GBT32960__PORT": str(port),
        }  # fmt: skip
        argv = [sys.executable, "-m", "openvrc.cli.main", "edge"]
        edge = start_process("edge", argv, log_path=folder / "edge.log", env=env)
        try:
            time.sleep(8.0)
            pid = edge.popen.pid
            figures = asyncio.run(drive(port, pid, given.vehicles, given.seconds))
            give_up_s = time.monotonic() + DRAIN_S
            while (stored := len(cloud.records("battery_state"))) < figures["frames_sent"]:
                if time.monotonic() > give_up_s:
                    break
                time.sleep(1.0)
            figures["battery_states_stored"] = stored
            print(json.dumps(figures, indent=1))  # noqa: T201
        finally:
            edge.stop(20.0)
            broker.stop()
            cloud.stop()


if __name__ == "__main__":
    main()

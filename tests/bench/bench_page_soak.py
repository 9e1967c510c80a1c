"""A day on the wall, compressed: does the page's memory stay flat?

`python -m tests.bench.bench_page_soak [--minutes 10]`. A town sends a day of zone time, a thirtieth
of its seconds, as fast as is needed to be through in time or as it can, while a wall shows one view
after another, one a second instead of one in twenty. Every half minute: JavaScript's heap after a
collection, DOM nodes, event listeners, and the memory of Chromium's processes by kind. Alerts come
and go all the time, and once the service is lost and comes back.
"""

from __future__ import annotations

import argparse
import itertools
import json
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from tests.bench.bench_page import ARGUMENTS, HEIGHT_PX, WIDTH_PX, processes_of
from tests.support.cloud_server import VIEWER, RunningCloud, temporary_cloud
from tests.support.town import Town

DAY_S = 86_400
STEP_S = 30
SAMPLE_S = 30.0
SETTLED_SHARE = 0.3
"""Caches fill in the first part; growth is measured behind it."""
COUNTED = ("Pss_Anon:", "Pss_Shmem:")
KINDS = ("browser", "renderer", "gpu-process", "utility", "other")


START_WITHIN_S = 60.0


class Tab:
    """A tab over Chromium's debugging protocol."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._numbers = itertools.count(1)

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol; its result."""
        number = next(self._numbers)
        self._link.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while (said := json.loads(self._link.recv())).get("id") != number:
            pass  # an event
        if "error" in said:
            raise RuntimeError(f"{method}: {said['error']}")
        return dict(said["result"])

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page."""
        return self.send("Runtime.evaluate", expression=script, returnByValue=True)["result"].get(
            "value"
        )


@contextmanager
def chromium(path: str, profile: str, url: str) -> Iterator[Tab]:
    """A browser that shows one page."""
    size = f"--window-size={WIDTH_PX},{HEIGHT_PX}"
    options = [f"--user-data-dir={profile}", "--remote-debugging-port=0", size, *ARGUMENTS]
    with subprocess.Popen([path, *options, url], stderr=subprocess.DEVNULL) as process:
        try:
            with connect(_address(Path(profile)), max_size=None, ping_interval=None) as link:
                yield Tab(link)
        finally:
            process.terminate()


def _address(profile: Path) -> str:
    due_s = time.monotonic() + START_WITHIN_S
    while time.monotonic() < due_s:
        try:
            port = (profile / "DevToolsActivePort").read_text().splitlines()[0]
            targets = httpx.get(f"http://127.0.0.1:{port}/json").json()
            return str(next(t for t in targets if t["type"] == "page")["webSocketDebuggerUrl"])
        except (OSError, httpx.TransportError, StopIteration):
            time.sleep(0.2)
    raise RuntimeError("Chromium did not start")


def memory_mb(profile: str) -> dict[str, float]:
    """Memory of the profile's processes by kind; what several share is divided among them (PSS).

    Pages of files are left out: how much of them counts depends on other browsers of the machine.
    """
    found = dict.fromkeys(KINDS, 0.0)
    for pid in processes_of(profile):
        folder = Path("/proc") / pid
        try:
            named = re.search(r"--type=([a-z-]+)", (folder / "cmdline").read_text())
            rollup = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        kind = named[1] if named else "browser"
        pss_kb = (int(line.split()[1]) for line in rollup if line.startswith(COUNTED))
        found[kind if kind in KINDS else "other"] += sum(pss_kb) / 1000
    return {f"{kind}_mb": round(mb) for kind, mb in found.items()}


def sample(tab: Tab, profile: str) -> dict[str, float]:
    """What the page holds now."""
    tab.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: m["value"] for m in tab.send("Performance.getMetrics")["metrics"]}
    return {
        "heap_mb": round(metrics["JSHeapUsedSize"] / 1e6, 2),
        "nodes": metrics["Nodes"],
        "listeners": metrics["JSEventListeners"],
        **memory_mb(profile),
        "open_alerts": tab.evaluate("window.openvrc.app.live.alerts.size"),
        "is_live": tab.evaluate("window.openvrc.links.events === 'live'"),
    }


def growth(samples: list[dict[str, float]], name: str) -> float:
    """Least-squares slope over the settled part, in units of the day."""
    settled = samples[int(len(samples) * SETTLED_SHARE) :]
    n = len(settled)
    mean_x, mean_y = (n - 1) / 2, sum(s[name] for s in settled) / n
    over = sum((i - mean_x) ** 2 for i in range(n))
    slope = sum((i - mean_x) * (s[name] - mean_y) for i, s in enumerate(settled)) / over
    return round(slope * len(samples), 2)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--network-log", action="store_true")
    wanted = parser.parse_args()
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on the PATH"
    profile = tempfile.mkdtemp(prefix="openvrc-bench-soak-")
    samples: list[dict[str, float]] = []
    with temporary_cloud() as cloud:
        town = Town(n_cars=24)
        cloud.send([town.announce()])
        cloud.drive(town, range(12))
        url = f"{cloud.url}/?key={VIEWER}#zone=town&wall=1&turn=1"
        with chromium(path, profile, url) as tab:
            tab.send("Performance.enable")
            if wanted.network_log:
                tab.send("Network.enable")
            soak(cloud, town, tab, profile, wanted.minutes * 60, samples)
    shutil.rmtree(profile, ignore_errors=True)
    names = ("heap_mb", "nodes", "listeners", *(f"{kind}_mb" for kind in KINDS))
    slopes = {name: growth(samples, name) for name in names}
    print(json.dumps({"minutes": wanted.minutes, "growth_a_day": slopes}))  # noqa: T201


def soak(
    cloud: RunningCloud, town: Town, tab: Tab, profile: str, length_s: float,
    samples: list[dict[str, float]],
) -> None:  # fmt: skip
    """Drive a day past the wall within `length_s`; samples are added as they are taken."""
    time.sleep(5.0)
    began_s, second, due_s, has_dropped = time.monotonic(), 30, 0.0, False
    while (at_s := time.monotonic() - began_s) < length_s:
        last = min(max(round(DAY_S * at_s / length_s), second), second + 5 * STEP_S)
        cloud.drive(town, range(second, last, STEP_S), per_body=5)
        second += len(range(second, last, STEP_S)) * STEP_S
        if not has_dropped and at_s > length_s / 2:
            has_dropped = True
            tab.evaluate("window.openvrc.drop()")  # both links, as a network does
        if at_s >= due_s:
            due_s += SAMPLE_S
            samples.append(sample(tab, profile))
            print(json.dumps({"zone_s": second, **samples[-1]}), flush=True)  # noqa: T201
        time.sleep(0.1)


if __name__ == "__main__":
    main()

"""A day on the wall, compressed: does the page's memory stay flat?

`python -m tests.bench.bench_page_soak [--minutes 10]`. A town sends a day of zone time, a thirtieth
of its seconds, as fast as is needed to be through in time or as it can, while a wall shows one view
after another, one a second instead of one in twenty. Every half minute: JavaScript's heap after a
collection, DOM nodes, event listeners, and the memory of Chromium's processes by kind. Alerts come
and go all the time, and once the service is lost and comes back.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.bench.bench_page import ARGUMENTS, HEIGHT_PX, WIDTH_PX, processes_of
from tests.support.cloud_server import VIEWER, temporary_cloud
from tests.support.town import Town

DAY_S = 86_400
STEP_S = 30
SAMPLE_S = 30.0
SETTLED_SHARE = 0.3
"""Caches fill in the first part; growth is measured behind it."""
COUNTED = ("Pss_Anon:", "Pss_Shmem:")
KINDS = ("browser", "renderer", "gpu-process", "utility", "other")


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


def sample(tab: Any, session: Any, profile: str) -> dict[str, float]:
    """What the page holds now."""
    session.send("HeapProfiler.collectGarbage")
    metrics = {m["name"]: m["value"] for m in session.send("Performance.getMetrics")["metrics"]}
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
    minutes = parser.parse_args().minutes
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on the PATH"
    profile = tempfile.mkdtemp(prefix="openvrc-bench-soak-")
    samples: list[dict[str, float]] = []
    with temporary_cloud() as cloud, sync_playwright() as playwright:
        town = Town(n_cars=24)
        cloud.send([town.announce()])
        cloud.drive(town, range(12))
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=path, headless=False, args=ARGUMENTS,
            viewport={"width": WIDTH_PX, "height": HEIGHT_PX},
        )  # fmt: skip
        tab = context.new_page()
        session = context.new_cdp_session(tab)
        session.send("Performance.enable")
        tab.goto(f"{cloud.url}/?key={VIEWER}#zone=town&wall=1&turn=1")
        tab.wait_for_timeout(5000)
        began_s, second, due_s, has_dropped = time.monotonic(), 30, 0.0, False
        while (at_s := time.monotonic() - began_s) < minutes * 60 or second < DAY_S:
            wanted = min(DAY_S, round(DAY_S * at_s / (minutes * 60)))
            last = min(max(wanted, second), second + 5 * STEP_S)
            cloud.drive(town, range(second, last, STEP_S), per_body=5)
            second += len(range(second, last, STEP_S)) * STEP_S
            if not has_dropped and second > DAY_S / 2:
                has_dropped = True
                tab.evaluate("window.openvrc.drop()")  # both links, as a network does
            if at_s >= due_s:
                due_s += SAMPLE_S
                samples.append(sample(tab, session, profile))
                print(json.dumps({"zone_s": second, **samples[-1]}), flush=True)  # noqa: T201
            tab.wait_for_timeout(100)
        context.close()
    shutil.rmtree(profile, ignore_errors=True)
    names = ("heap_mb", "nodes", "listeners", *(f"{kind}_mb" for kind in KINDS))
    slopes = {name: growth(samples, name) for name in names}
    print(json.dumps({"minutes": minutes, "growth_a_day": slopes}))  # noqa: T201


if __name__ == "__main__":
    main()

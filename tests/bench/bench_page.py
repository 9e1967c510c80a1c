"""The live page in Chromium by software GL: loading, an alert's way, pictures of many vehicles.

`python -m tests.bench.bench_page`. Nothing moves but what the benchmark moves: frames
of made-up vehicles go to the page's own layer, so service and network cost nothing.
CPU is that of all of Chromium's processes, per picture that was waited for; beside it a 2D canvas
with one `fillRect` a vehicle, as the page had before. Putting the picture onto the screen is not in
it: that costs the same for both.
`load` is from asking for the page until the map itself has drawn roads and vehicles: the browser's
CPU, and what had come when (`picture`: roads and vehicles stand, drawn without the map),
`alert_ms` from sending the second that raises an alert until it stands in the page's list.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from tests.support.cloud_server import OPERATOR, RunningCloud, temporary_cloud
from tests.support.town import Town

WIDTH_PX, HEIGHT_PX = 1366, 768
COUNTS = (0, 5_000, 20_000)
ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-quic", "--no-first-run", "--use-gl=angle",
    "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
]  # fmt: skip
WEBGL = """([n, pictures]) => {
  const { map } = window.openvrc;
  const view = map.view();
  const span = 2 ** 32 / (512 * 2 ** view.zoom);
  const spread = (i, k) => ((i * k) % 10007) / 10007 - 0.5;
  const frame = (step) => ({
    n, number: 0, serverTimeMs: 0,
    slot: Uint32Array.from({ length: n }, (_, i) => i),
    x: Uint32Array.from({ length: n },
      (_, i) => view.centreX * 2 ** 32 + (spread(i, 7919) * view.width + step) * span),
    y: Uint32Array.from({ length: n },
      (_, i) => view.centreY * 2 ** 32 + spread(i, 104729) * view.height * span),
    heading: new Uint16Array(n).fill(16384), speedKmh: new Uint8Array(n),
    flags: Uint8Array.from({ length: n }, (_, i) => i % 6),
  });
  const [first, second] = [frame(0), frame(3)];
  map.vehicles.clear();
  map.vehicles.take(first, performance.now());
  const began = performance.now();
  map.vehicles.take(second, performance.now());
  const take_ms = performance.now() - began;
  const gl = document.querySelector("canvas.vehicles").getContext("webgl2");
  const pixel = new Uint8Array(4);
  for (let i = 0; i < pictures; i++) {
    map.vehicles.draw(view, performance.now());
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, pixel);  // waits for the picture
  }
  map.vehicles.clear();
  return take_ms;
}"""
CANVAS = """([n, pictures]) => {
  const { width, height } = document.querySelector("canvas.vehicles");
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d");
  const colours = ["#7cc4ff", "#c49bff", "#ffd166"];
  for (let k = 0; k < pictures; k++) {
    context.clearRect(0, 0, width, height);
    for (let i = 0; i < n; i++) {
      context.fillStyle = colours[i % 3];
      context.fillRect((i * 7919) % width + (k % 5), (i * 104729) % height, 8, 4);
    }
    context.getImageData(0, 0, 1, 1);
  }
  return 0;
}"""
PICTURES = 30
ALERTS = 5
SHOWN = """new Promise((done) => {
  const look = () => {
    const { app, map } = window.openvrc ?? { app: {} };
    const wantsMap = !location.hash.includes("view=");  // each view is loaded when it is shown
    const isShown = wantsMap ? map?.vehicles.n && map.framesDrawn : app.runId;
    if (isShown && app.roads?.segments.size) done(performance.now());
    else requestAnimationFrame(look);
  };
  look();
})"""
LOADED = """new Promise((done) => {
  const look = () => {
    const marks = performance.getEntriesByType("mark");
    if (!marks.some(({ name }) => name === "openvrc:map")) return requestAnimationFrame(look);
    const [page] = performance.getEntriesByType("navigation");
    const came = (word) => performance.getEntriesByType("resource")
      .find(({ name }) => name.includes(word))?.responseEnd;
    const at = {
      page: page.responseEnd,
      first_paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
      zones: came("/v1/zones"), roads: came("/map"), map_code: came("/assets/tab-"),
      ...Object.fromEntries(marks.map((mark) => [mark.name.slice(8), mark.startTime])),
    };
    done(Object.fromEntries(Object.entries(at).map(([name, ms]) => [name, Math.round(ms)])));
  };
  look();
})"""
WATCH = """(() => {
  window.shownAtMs = 0;
  new MutationObserver(() => {
    const isThere = document.querySelector("#alerts").textContent.includes("Stopped vehicle");
    if (isThere && !window.shownAtMs) window.shownAtMs = Date.now();
  }).observe(document.querySelector("#alerts"), { childList: true, subtree: true });
})()"""


def processes_of(profile: str) -> dict[str, list[str]]:
    """Statistics of Chromium's processes by id: fields of /proc/PID/stat behind the name."""
    parents: dict[str, str] = {}
    found: dict[str, list[str]] = {}
    for path in (p for p in Path("/proc").iterdir() if p.name.isdigit()):
        try:
            fields = (path / "stat").read_text().rsplit(") ", 1)[1].split()
            is_ours = profile in (path / "cmdline").read_text()
        except (OSError, IndexError):
            continue
        found[path.name] = fields
        parents[path.name] = "ours" if is_ours else fields[1]
    return {pid: fields for pid, fields in found.items() if _is_below(pid, parents)}


def _is_below(pid: str, parents: dict[str, str]) -> bool:
    at: str | None = pid
    while at is not None and at != "ours":
        at = parents.get(at)
    return at == "ours"


def cpu_s(profile: str) -> float:
    """CPU seconds so far of the processes that were started with this profile."""
    ticks = sum(int(f[11]) + int(f[12]) for f in processes_of(profile).values())
    return ticks / os.sysconf("SC_CLK_TCK")


def load(context: Any, profile: str, url: str) -> dict[str, Any]:
    """From asking for the page to roads and vehicles on it, in a new tab."""
    tab = context.new_page()
    began_s = cpu_s(profile)
    tab.goto(url)
    at_ms = tab.evaluate(LOADED)
    used_ms = round(1000 * (cpu_s(profile) - began_s))
    tab.close()
    return {"cpu_ms": used_ms, "at_ms": at_ms}


def alert_ms(context: Any, cloud: RunningCloud, zone: str) -> float:
    """From sending the second that raises an alert to the alert in the page's list."""
    town = Town(zone=zone, run_id=f"{zone}-1")
    cloud.send([town.announce()])
    cloud.drive(town, range(8))
    tab = context.new_page()
    tab.goto(f"{cloud.url}/#zone={zone}&view=health")
    tab.evaluate(SHOWN)
    tab.evaluate(WATCH)
    for second in range(8, 40):
        sent_ms = time.time() * 1000
        cloud.drive(town, range(second, second + 1))
        tab.wait_for_timeout(1000)
        if shown_ms := tab.evaluate("window.shownAtMs"):
            tab.close()
            return float(round(shown_ms - sent_ms))
    raise AssertionError("no alert came")


def measure(tab: Any, profile: str, script: str, n: int) -> dict[str, float]:
    """CPU per picture of `n` vehicles, and how long the script took over a new frame."""
    tab.evaluate(script, [n, 2])  # shaders and buffers are there afterwards
    began_s = cpu_s(profile)
    take_ms = tab.evaluate(script, [n, PICTURES])
    used_s = cpu_s(profile) - began_s
    return {
        "cpu_ms_per_picture": round(1000 * used_s / PICTURES, 1),
        "take_ms": round(take_ms, 2),
    }


def main() -> None:
    path = shutil.which("chromium") or shutil.which("google-chrome")
    assert path is not None, "no Chromium on the PATH"
    profile = tempfile.mkdtemp(prefix="openvrc-bench-page-")
    results: dict[str, Any] = {"chromium": path, "window": [WIDTH_PX, HEIGHT_PX]}
    with temporary_cloud() as cloud, sync_playwright() as playwright:
        town = Town()
        cloud.send([town.announce()])
        cloud.drive(town, range(12))
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=path, headless=False, args=ARGUMENTS,
            viewport={"width": WIDTH_PX, "height": HEIGHT_PX},
        )  # fmt: skip
        # The first time with an empty cache, then as a wall or an operator comes back.
        url = f"{cloud.url}/?key={OPERATOR}"
        results["load"] = [load(context, profile, url) for _ in range(4)]
        results["alert_ms"] = [alert_ms(context, cloud, f"zone-{i}") for i in range(ALERTS)]
        tab = context.new_page()
        tab.goto(f"{url}#zone=town")
        tab.wait_for_timeout(4000)
        tab.locator('[data-view="health"]').click()  # the map rests: only the benchmark draws
        tab.evaluate("window.openvrc.map.element.hidden = false")
        tab.wait_for_timeout(1500)
        for n in COUNTS:
            results[f"webgl_{n}"] = measure(tab, profile, WEBGL, n)
        for n in COUNTS[1:]:
            results[f"canvas_{n}"] = measure(tab, profile, CANVAS, n)
        context.close()
    shutil.rmtree(profile, ignore_errors=True)
    print(json.dumps(results, indent=1))  # noqa: T201


if __name__ == "__main__":
    main()

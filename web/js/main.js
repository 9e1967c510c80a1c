// The live page: what comes from the service goes to the map, the list and the figures.

import { ApiError, get, post, query } from "./api.js";
import { bindControls } from "./controls.js";
import { byId, timeText } from "./dom.js";
import { EventFeed, PositionFeed } from "./feed.js";
import { toWorld } from "./geo.js";
import { Kpis } from "./kpis.js";
import { drawLegend } from "./legend.js";
import { RoadMap } from "./map.js";
import { AlertPanel } from "./panel.js";
import { Picker } from "./picker.js";
import { showTip, thingLines, vehicleLines } from "./tip.js";
import { Vehicles } from "./vehicles.js";

const FRAME_MS = 33; // 30 pictures a second: smooth, and half the work of 60 without a GPU
const VIEW_EVERY_MS = 250;
const RETRY_MS = 2000;

const map = new RoadMap(byId("roads"), byId("moving"));
const vehicles = new Vehicles();
const kpis = new Kpis();
const links = { events: "lost", positions: "lost" };
let shown = { zone: "", run: "", mapVersion: undefined };
let hovered = null;
let vehiclesDirty = true;

const panel = new AlertPanel({
  onSelect: async (alert) => {
    const place = alert && (map.placeOf(alert) ?? (await placeOfVehicle(alert)));
    if (!place || panel.selected !== alert.id) return;
    map.centreOn(place);
    vehiclesDirty = true;
    sendView();
  },
  onChange: (alerts, selected) => {
    map.setAlerts(alerts, selected);
    kpis.setAlerts(alerts.length);
  },
});

const picker = new Picker((zone, run) => {
  vehicles.clear();
  kpis.clear();
  panel.replace([]);
  shown = { zone, run, mapVersion: undefined };
  events.open(zone, run);
});

const events = new EventFeed({
  onState: (state) => setLink("events", state),
  onRefused: signIn,
  on: (name, data) => handlers[name]?.(data),
});

const positions = new PositionFeed({
  onState: (state) => setLink("positions", state),
  onWho: ({ who, vehicle }) => {
    if (hovered?.slot === who) hovered.facts = vehicle;
    showHovered();
  },
  onFrame: (frame) => {
    vehicles.take(frame, performance.now());
    vehiclesDirty = true;
    if (!map.box && vehicles.bySlot.size && !map.hasFitted) {
      map.hasFitted = true;
      map.fitTo([...vehicles.bySlot.values()].map(({ x, y }) => [x, y]));
    }
  },
});

const handlers = {
  snapshot: takeSnapshot,
  alert: (alert) => panel.take(alert),
  segments: ({ items }) => map.update("segments", items),
  signals: ({ items }) => map.update("signals", items),
  rsus: ({ items }) => map.update("rsus", items),
  kpi: takeKpi,
  runs: () => picker.refresh().catch(() => {}),
};

async function takeSnapshot({ runs, alerts }) {
  const run = runs[0];
  byId("empty").hidden = true;
  if (run && run.map_version !== shown.mapVersion) await loadMap(run);
  map.update("segments", run?.segments ?? [], { replace: true });
  map.update("signals", run?.signals ?? [], { replace: true });
  map.update("rsus", run?.rsus ?? [], { replace: true });
  panel.replace(alerts);
  if (!run) return;
  showOrigin(run);
  takeKpi(run.kpi);
  shown.runId = run.run_id;
  sendView();
}

// A battery says nothing of where it is; its vehicle may.
async function placeOfVehicle({ subject_type: type, subject_id: id, zone, run_id: run }) {
  if (type !== "vehicle") return null;
  const path = `/v1/vehicles/${encodeURIComponent(id)}${query({ zone, run })}`;
  const vehicle = await get(path).catch(() => null);
  return vehicle?.lat_deg == null ? null : toWorld(vehicle.lon_deg, vehicle.lat_deg);
}

async function loadMap(run) {
  shown.mapVersion = run.map_version;
  const found = await get(`/v1/zones/${encodeURIComponent(run.zone)}/map`).catch(() => null);
  map.hasFitted = false;
  map.load(found);
}

function showOrigin({ origin, title }) {
  const badge = byId("origin");
  badge.hidden = origin === "live";
  badge.textContent = origin;
  badge.title = title ?? "";
}

function takeKpi(kpi) {
  if (kpi.zone !== shown.zone) return;
  kpis.take(kpi);
  map.setZoneTime(kpi.zone_time_at);
  panel.setZoneTime(kpi.zone_time_at);
  byId("zone-time").textContent = kpi.zone_time_at ? `${timeText(kpi.zone_time_at)} UTC` : "";
}

function setLink(which, state) {
  links[which] = state;
  const isLive = Object.values(links).every((s) => s === "live");
  byId("link").dataset.state = isLive ? "live" : "lost";
  byId("link").textContent = isLive ? "live" : "reconnecting";
}

let viewTimer = 0;
function sendView() {
  if (viewTimer || !shown.runId) return;
  viewTimer = setTimeout(() => {
    viewTimer = 0;
    positions.show(shown.zone, shown.runId, map.view.bounds());
    showScale();
  }, VIEW_EVERY_MS);
}

function showScale() {
  const target = 110 * map.view.metresPerPixel;
  const power = 10 ** Math.floor(Math.log10(target));
  const metres = [5, 2, 1].map((n) => n * power).find((m) => m <= target);
  const [text, bar] = byId("scale").children;
  text.textContent = metres >= 1000 ? `${metres / 1000} km` : `${metres} m`;
  bar.style.width = `${metres / map.view.metresPerPixel}px`;
}

function hover(px, py) {
  if (px === null) {
    hovered = null;
    return showTip(null);
  }
  const item = vehicles.at(map.view, px, py, performance.now());
  if (item) {
    const facts = hovered?.slot === item.slot ? hovered.facts : null;
    if (!facts) positions.ask(item.slot);
    hovered = { px, py, slot: item.slot, item, facts };
  } else {
    const thing = map.at(px, py);
    hovered = thing && { px, py, thing };
  }
  byId("moving").classList.toggle("pointing", Boolean(hovered?.thing?.alert));
  return showHovered();
}

function showHovered() {
  if (!hovered) return showTip(null);
  const lines = hovered.thing ? thingLines(hovered.thing) : vehicleLines(hovered.item, hovered.facts);
  return showTip(lines, hovered.px, hovered.py);
}

function click(px, py) {
  const alert = map.at(px, py)?.alert;
  if (alert) panel.select(alert.id);
}

let drawnMs = 0;
function draw(nowMs) {
  requestAnimationFrame(draw);
  if (nowMs - drawnMs < FRAME_MS) return;
  if (!map.isDirty && !vehiclesDirty && !vehicles.isMoving(nowMs)) return;
  drawnMs = nowMs;
  vehiclesDirty = false;
  map.drawRoads();
  const context = map.context(1);
  vehicles.draw(context, map.view, nowMs);
  map.drawAlerts(context);
}

async function signIn() {
  const dialog = byId("sign-in");
  if (dialog.open) return;
  dialog.showModal();
  dialog.querySelector("form").onsubmit = async (event) => {
    event.preventDefault();
    try {
      await post("/v1/session", { key: byId("key").value });
      dialog.close();
      start();
    } catch (error) {
      byId("sign-in-error").textContent = error.message;
    }
  };
}

function showEmpty(text) {
  byId("empty").hidden = !text;
  byId("empty").textContent = text;
}

/** Wait until a zone has reported, then follow it. */
async function start() {
  try {
    const isFirst = !events.path;
    if (await picker.refresh()) {
      showEmpty("");
      if (isFirst && !events.path) picker.choose(picker.zone, picker.run);
      return;
    }
    showEmpty("No zone has reported yet. Waiting for the first message.");
    setLink("events", "lost");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return void signIn();
    setLink("events", "lost");
  }
  setTimeout(start, RETRY_MS);
}

drawLegend();
bindControls(map, {
  onMove: () => {
    vehiclesDirty = true;
    sendView();
  },
  onHover: hover,
  onClick: click,
});
requestAnimationFrame(draw);
start();

// For tests and for people with a console: what the page shows right now.
window.openvrc = { map, vehicles, panel, links, drop: () => [events, positions].forEach((f) => f.drop()) };

// The live page: what comes from the service goes to the scene, and the views show it.

import "./styles/page.css";
import { App, VIEW_IDS, type View, type ViewId } from "./app";
import { AlertDesk } from "./alerts/desk";
import { AlertPanel } from "./alerts/panel";
import { BatteriesView } from "./batteries/view";
import { HealthView } from "./health/view";
import { ApiError, get, part } from "./lib/api";
import { byId, el, setText } from "./lib/dom";
import { ms } from "./lib/format";
import { icon } from "./lib/icons";
import { language, t } from "./lib/i18n";
import type { Alert, Kpi, Page, Perceived, RunSnapshot, Snapshot, Vehicle, ZoneMap, ZoneRow } from "./lib/types";
import { EventFeed, PositionFeed, type EventName, type LinkState } from "./live/feed";
import { VehicleCard } from "./map/card";
import { MapView, Roads } from "./map/map_view";
import { Search } from "./map/search";
import { thingLines, Tip, vehicleLines, type Thing } from "./map/tip";
import { Header } from "./shell/header";
import { Kpis } from "./shell/kpis";
import { showTheme } from "./shell/settings";
import { signIn } from "./shell/sign_in";
import { startWall } from "./shell/wall";
import { TimeBar } from "./time/bar";
import { TrafficView } from "./traffic/view";

const RETRY_MS = 2000;

document.documentElement.lang = language === "zh" ? "zh-Hans" : "en";
const app = new App();
showTheme(app.theme);

const links: Record<string, LinkState> = { events: "lost", positions: "lost" };
const header = new Header(byId("header"), app, (zone, run) => {
  app.selectAlert(""); // it was of the run before
  choose(zone, run);
});
new Kpis(byId("kpis"), app);
const panel = new AlertPanel(byId("aside"), app, openAlert);
const empty = el("div", { id: "empty", class: "empty", hidden: true });

let hovered: { px: number; py: number; slot: number; lines: (facts: Vehicle | null, seen?: Perceived | null) => (string | null)[] } | null = null;
const tip = new Tip();
let mapVersion: string | null | undefined;

const map = new MapView(app, { onView: sendView, onHover: hover, onClick: click, onAlert: openAlertById });
const card = new VehicleCard(app, {
  onFollow: (vehicle, isFollowed) => map.follow(isFollowed ? vehicle.slot : null),
  onBattery: (id) => { app.selectVehicle(id); app.showView("batteries"); },
  onShown: (vehicle) => map.vehicles.setMarked(vehicle ? vehicle.slot : -1),
});
const search = new Search(app, (found) => {
  app.showView("map");
  if (found.place) map.centreOn(found.place);
  if (found.kind === "vehicle") app.selectVehicle(found.id);
});
const bar = new TimeBar(app, (frame) => map.takeFrame(frame, performance.now()), () => {
  map.clear();
  map.sendView();
});
map.element.append(search.element, mapButtons(), card.element, tip.element, empty, bar.element);
map.map.on("dragstart", () => card.letGo());

const views: Record<ViewId, View> = {
  map,
  alerts: new AlertDesk(app, { onChanged: (alert) => panel.take(alert), onPlace: showPlace, onVehicle: openVehicle }),
  batteries: new BatteriesView(app),
  traffic: new TrafficView(app),
  health: new HealthView(app),
};
for (const view of Object.values(views)) {
  view.element.classList.add("view");
  byId("stage").append(view.element);
}

const events = new EventFeed({
  onState: (state) => setLink("events", state),
  onRefused: () => signIn(() => void start()),
  on: (name, data) => handlers[name](data as never),
});
const positions = new PositionFeed({
  onState: (state) => setLink("positions", state),
  onWho: who,
  onFrame: (frame) => {
    if (!app.isPast) map.takeFrame(frame, performance.now());
  },
});

const handlers: { [name in EventName]: (data: never) => void } = {
  snapshot: (data: Snapshot) => void takeSnapshot(data),
  alert: (alert: Alert) => panel.take(alert),
  segments: ({ items }: Pick<Page<never>, "items">) => app.live.take("segments", items),
  signals: ({ items }: Pick<Page<never>, "items">) => app.live.take("signals", items),
  rsus: ({ items }: Pick<Page<never>, "items">) => app.live.take("rsus", items),
  chargers: ({ items }: Pick<Page<never>, "items">) => app.live.take("chargers", items),
  road_events: ({ items }: Pick<Page<never>, "items">) => app.live.take("road_events", items),
  kpi: takeKpi,
  runs: () => void refreshZones().catch(() => {}),
};

function choose(zone: string, run: string): void {
  app.zone = zone;
  app.wantedRun = run;
  app.runId = "";
  app.link.set({ zone, run, t: "" });
  map.clear();
  app.live.clear();
  mapVersion = undefined;
  app.emit("zones", null);
  events.open(zone, run);
}

async function takeSnapshot({ runs, alerts }: Snapshot): Promise<void> {
  const run = runs[0];
  setEmpty("");
  if (run && (run.map_version ?? null) !== mapVersion) await loadMap(run);
  const { live } = app;
  if (run) setRun(run);
  live.take("segments", run?.segments ?? [], true);
  live.take("signals", run?.signals ?? [], true);
  live.take("rsus", run?.rsus ?? [], true);
  live.take("chargers", run?.chargers ?? [], true);
  live.take("road_events", run?.road_events ?? [], true);
  live.replaceAlerts(alerts);
  if (!run) return;
  takeKpi(run.kpi);
  map.sendView();
}

function setRun(run: RunSnapshot): void {
  const isOther = app.runId !== run.run_id;
  app.runId = run.run_id;
  app.origin = run.origin;
  app.title = run.title ?? "";
  if (isOther) app.emit("run", null);
}

async function loadMap(run: RunSnapshot): Promise<void> {
  mapVersion = run.map_version ?? null;
  const found = await get<ZoneMap>(`/v1/zones/${part(run.zone)}/map`).catch(() => null);
  app.roads = new Roads(found);
  app.emit("roads", null);
}

function takeKpi(kpi: Kpi): void {
  if (kpi.zone !== app.zone || (app.runId && kpi.run_id !== app.runId)) return;
  app.kpi = kpi;
  app.emit("kpi", kpi);
  if (kpi.zone_time_at) app.live.setTime(ms(kpi.zone_time_at), performance.now());
}

function setLink(which: string, state: LinkState): void {
  links[which] = state;
  const needsPositions = map.isShown && !app.isPast;
  const isLive = links.events === "live" && (!needsPositions || links.positions === "live");
  header.setLink(isLive ? "live" : "lost");
}

function sendView(bounds: number[]): void {
  if (app.runId && !app.isPast) positions.show(app.zone, app.runId, bounds);
}

function showView(id: ViewId): void {
  for (const name of VIEW_IDS) {
    const isShown = name === id;
    const view = views[name];
    if (view.element.hidden === isShown || isShown) view.element.hidden = !isShown;
    if (isShown) view.show();
    else view.hide();
  }
  positions.pause(id !== "map");
  if (id !== "map") setLink("positions", links.positions!);
}

function openAlert(alert: Alert): void {
  app.selectAlert(alert.id);
  if (map.isShown) void showPlaceOf(alert);
}

function openAlertById(id: string): void {
  const alert = app.scene.alerts.get(id);
  if (!alert) return;
  app.selectAlert(id);
  app.showView("alerts");
}

function showPlace(alert: Alert): void {
  app.showView("map");
  void showPlaceOf(alert);
}

async function showPlaceOf(alert: Alert): Promise<void> {
  if (alert.subject_type === "vehicle") app.selectVehicle(alert.subject_id);
  const place = await app.placeOf(alert);
  if (place && app.alertId === alert.id) map.centreOn(place);
}

function openVehicle(id: string): void {
  app.selectVehicle(id);
  app.showView("batteries");
}

function hover(px: number | null, py: number): void {
  hovered = null;
  if (px === null) return tip.hide();
  const item = map.vehicles.at(map.view(), px, py, performance.now());
  if (item) {
    const lines = (facts: Vehicle | null, seen: Perceived | null = null): (string | null)[] => vehicleLines(item, facts, seen);
    hovered = { px, py, slot: item.slot, lines };
    if (app.isPast) return tip.show([bar.nameOf(item.slot), ...lines(null).slice(1)], px, py);
    positions.ask(item.slot);
    return tip.show(lines(null), px, py);
  }
  const thing = thingAt(px, py);
  if (thing) tip.show(thingLines(thing, app), px, py);
  else tip.hide();
}

function who(slot: number, vehicle: Vehicle | null, seen: Perceived | null): void {
  if (pendingClick === slot && vehicle) {
    pendingClick = -1;
    app.selectVehicle(vehicle.vehicle_id);
  }
  if (hovered?.slot === slot) tip.show(hovered.lines(vehicle, seen), hovered.px, hovered.py);
}

function thingAt(px: number, py: number): Thing | null {
  const near = (lon: number, lat: number, reach: number): boolean => {
    const { x, y } = map.toScreen(lon, lat);
    return Math.hypot(x - px, y - py) < reach;
  };
  for (const rsu of app.scene.rsus.values()) if (near(rsu.lon_deg, rsu.lat_deg, 11)) return { kind: "rsu", rsu };
  const event = app.scene.eventsNow.find(({ lon_deg, lat_deg }) => near(lon_deg, lat_deg, 12));
  if (event) return { kind: "event", event };
  for (const charger of app.scene.chargers.values()) if (near(charger.lon_deg, charger.lat_deg, 10)) return { kind: "charger", charger };
  const head = app.roads.heads.find(({ lon, lat }) => near(lon, lat, 7));
  if (head) return { kind: "head", head };
  const { lng, lat } = map.toLonLat(px, py);
  const perPx = (156_543 * Math.cos((lat * Math.PI) / 180)) / 2 ** (map.map.getZoom() + 1);
  const segment = app.roads.nearest(lng, lat, 9 * perPx);
  return segment ? { kind: "segment", segment } : null;
}

let pendingClick = -1;
function click(px: number, py: number): void {
  const item = map.vehicles.at(map.view(), px, py, performance.now());
  if (!item || item.isPerceived) return void app.selectVehicle("");
  if (app.isPast) return void app.selectVehicle(bar.nameOf(item.slot) ?? "");
  pendingClick = item.slot;
  positions.ask(item.slot);
}

function mapButtons(): HTMLElement {
  const button = (text: Node | string, name: string, run: () => void): HTMLElement =>
    el("button", { type: "button", title: name, "aria-label": name, onclick: run }, text);
  return el("div", { class: "map-buttons" },
    button("+", t("Zoom in"), () => map.map.zoomIn()),
    button("−", t("Zoom out"), () => map.map.zoomOut()),
    button(icon("fit"), t("Fit to zone"), () => map.fit()));
}

function setEmpty(text: string): void {
  empty.hidden = !text;
  setText(empty, text);
}

async function refreshZones(): Promise<number> {
  app.zones = (await get<Page<ZoneRow>>("/v1/zones")).items;
  app.emit("zones", null);
  return app.zones.length;
}

/** The zone that runs, else the one that was last heard. */
function busiest(zones: ZoneRow[]): ZoneRow {
  const last = (zone: ZoneRow): string => zone.runs.map((run) => run.last_at ?? "").sort().at(-1) ?? "";
  return zones.find((zone) => zone.runs.some((run) => run.state === "running")) ?? zones.toSorted((a, b) => (last(a) < last(b) ? 1 : -1))[0]!;
}

/** Wait until a zone has reported, then follow it. */
async function start(): Promise<void> {
  try {
    if (await refreshZones()) {
      setEmpty("");
      const isKnown = app.zones.some(({ zone }) => zone === app.zone);
      if (!isKnown) choose(busiest(app.zones).zone, "");
      else if (!events.path) choose(app.zone, app.wantedRun);
      return;
    }
    setEmpty(t("No zone has reported yet. Waiting for the first message."));
    header.setLink("lost");
  } catch (error) {
    if (error instanceof ApiError && error.status === 401) return signIn(() => void start());
    header.setLink("lost");
  }
  setTimeout(() => void start(), RETRY_MS);
}

function keys(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(target.tagName)) return;
  const digit = VIEW_IDS[Number(event.key) - 1];
  if (digit) return app.showView(digit);
  const actions: Record<string, () => void> = {
    "/": () => { app.showView("map"); search.focus(); },
    " ": () => bar.play(app.isPast ? !(event.shiftKey) : true),
    l: () => bar.goLive(),
    ",": () => bar.jump(-1),
    ".": () => bar.jump(1),
    Escape: () => { app.selectVehicle(""); app.selectAlert(""); },
  };
  const action = actions[event.key];
  if (!action || (event.key === " " && target.tagName === "BUTTON")) return;
  event.preventDefault();
  action();
}

document.addEventListener("keydown", keys);
app.on("view", showView);
app.on("past", () => {
  if (!app.isPast) map.sendView();
  setLink("positions", links.positions!);
});
const wanted = app.link.get("view") as ViewId;
app.emit("view", VIEW_IDS.includes(wanted) ? wanted : "map");
app.link.onChange(() => location.reload());
if (app.isWall) startWall(app, () => links.events === "live");
void start();

// For tests and for people with a console: what the page shows right now.
declare global {
  interface Window {
    openvrc: unknown;
  }
}
window.openvrc = { app, map, panel, bar, links, drop: () => [events, positions].forEach((feed) => feed.drop()) };

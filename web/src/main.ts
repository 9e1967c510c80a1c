// The live page: what comes from the service goes to the scene, and the views show it.

import "./styles/page.css";
import { App, VIEW_IDS, type ViewId } from "./app";
import { AlertPanel } from "./alerts/panel";
import { ApiError, get, part } from "./lib/api";
import { byId, el, setText } from "./lib/dom";
import { ms } from "./lib/format";
import { language, t } from "./lib/i18n";
import { Order } from "./lib/order";
import type { Alert, Kpi, Page, RunSnapshot, Snapshot, ZoneMap, ZoneRow } from "./lib/types";
import { EventFeed, PositionFeed, type EventName, type LinkState } from "./live/feed";
import { FirstPicture } from "./map/first";
import { Roads } from "./map/roads";
import type { MapTab } from "./map/tab";
import { Header } from "./shell/header";
import { Kpis } from "./shell/kpis";
import { showTheme } from "./shell/settings";
import { signIn } from "./shell/sign_in";
import { Views } from "./shell/views";
import { startWall } from "./shell/wall";

const RETRY_MS = 2000;
const FETCH_REST_MS = 4000; // by then the first view stands; the others' code is fetched in quiet

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
byId("stage").append(empty);

let map: MapTab | null = null;
let mapVersion: string | null | undefined;
const maps = new Order();

const positions = new PositionFeed({
  onState: (state) => setLink("positions", state),
  onWho: (slot, vehicle, seen) => map?.takeWho(slot, vehicle, seen),
  onFrame: (frame) => {
    map?.takeFrame(frame);
    if (picture.element.isConnected) picture.takeFrame(frame);
  },
});
const picture = new FirstPicture(app, byId("stage"), (bounds) => positions.show(app.zone, app.runId, bounds));
const views = new Views(byId("stage"), {
  map: async () => {
    await picture.drawn;
    const { MapTab } = await import("./map/tab");
    return () => {
      map = new MapTab(app, byId("stage"), positions);
      picture.giveWayTo(map.map);
      return map;
    };
  },
  alerts: async () => {
    const { AlertDesk } = await import("./alerts/desk");
    return () => new AlertDesk(app, { onChanged: (alert) => app.isOfRun(alert) && panel.take(alert), onPlace: showPlace, onVehicle: openVehicle });
  },
  batteries: async () => {
    const { BatteriesView } = await import("./batteries/view");
    return () => new BatteriesView(app);
  },
  traffic: async () => {
    const { TrafficView } = await import("./traffic/view");
    return () => new TrafficView(app);
  },
  health: async () => {
    const { HealthView } = await import("./health/view");
    return () => new HealthView(app);
  },
});

const events = new EventFeed({
  onState: (state) => setLink("events", state),
  onRefused: () => signIn(() => void start()),
  on: (name, data) => handlers[name](data as never),
});

const handlers: { [name in EventName]: (data: never) => void } = {
  snapshot: takeSnapshot,
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
  const isOther = app.runId !== "";
  app.zone = zone;
  app.wantedRun = run;
  app.runId = "";
  app.isMapKnown = false;
  app.roads = new Roads(null); // a road's id may stand in another zone's map, too
  app.link.set({ zone, run, t: "" });
  if (isOther) picture.remove();
  map?.map.clear();
  app.live.clear();
  mapVersion = undefined;
  app.emit("zones", null);
  events.open(zone, run);
}

// At once, for what the stream says next builds on it; the roads come when they come.
function takeSnapshot({ runs, alerts }: Snapshot): void {
  const run = runs[0];
  setEmpty("");
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
  if ((run.map_version ?? null) !== mapVersion) void loadMap(run);
  else map?.map.sendView();
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
  const isNewest = maps.begin();
  const found = await get<ZoneMap>(`/v1/zones/${part(run.zone)}/map`).catch((error: unknown) => {
    if (!(error instanceof ApiError && error.status === 404)) mapVersion = undefined; // asked again with the next snapshot
    return null;
  });
  if (!isNewest() || run.zone !== app.zone) return;
  app.roads = new Roads(found);
  app.isMapKnown = true;
  app.emit("roads", null);
  map?.map.sendView();
}

function takeKpi(kpi: Kpi): void {
  if (kpi.zone !== app.zone || (app.runId && kpi.run_id !== app.runId)) return;
  app.kpi = kpi;
  app.emit("kpi", kpi);
  if (kpi.zone_time_at) app.live.setTime(ms(kpi.zone_time_at), performance.now());
}

function setLink(which: string, state: LinkState): void {
  links[which] = state;
  const needsPositions = views.current === "map" && !app.isPast;
  const isLive = links.events === "live" && (!needsPositions || links.positions === "live");
  header.setLink(isLive ? "live" : "lost");
}

function showView(id: ViewId): void {
  views.show(id);
  if (id !== "map") picture.remove();
  positions.pause(id !== "map");
  if (id !== "map") setLink("positions", links.positions!);
}

/** Do something with the map's tab, which may have to be loaded for it. */
function withMap(run: (map: MapTab) => void): void {
  void views.load("map").then(() => map && run(map), () => {}); // the view itself says that it failed
}

function openAlert(alert: Alert): void {
  app.selectAlert(alert.id);
  if (views.current === "map") withMap((tab) => void tab.showPlaceOf(alert));
}

/** Alerts of other zones and runs stand in the desk, too: what is done about one happens in its own. */
function goToRunOf(alert: Alert): void {
  if (!app.isOfRun(alert)) choose(alert.zone, alert.run_id);
}

function showPlace(alert: Alert): void {
  goToRunOf(alert);
  app.showView("map");
  const show = (): void => withMap((tab) => void tab.showPlaceOf(alert));
  if (app.isMapKnown) return show();
  // Its place may be that of a road, and a zone's roads are fitted into the map when they come.
  const stop = app.on("roads", () => {
    stop();
    if (app.isOfRun(alert)) show();
  });
}

function openVehicle(alert: Alert): void {
  const id = alert.subject_id;
  goToRunOf(alert);
  app.selectVehicle(id);
  app.showView("batteries");
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
    "/": () => { app.showView("map"); withMap((tab) => tab.search.focus()); },
    Escape: () => { app.selectVehicle(""); app.selectAlert(""); },
  };
  const ofTime: Record<string, () => void> = {
    " ": () => withMap(({ bar }) => bar.play(!bar.isPlaying)),
    l: () => withMap(({ bar }) => bar.goLive()),
    ",": () => withMap(({ bar }) => bar.jump(-1)),
    ".": () => withMap(({ bar }) => bar.jump(1)),
  };
  // In other views a space scrolls, and nobody would see that the map shows the past.
  const action = actions[event.key] ?? (views.current === "map" ? ofTime[event.key] : undefined);
  if (!action || (event.key === " " && /^(BUTTON|SUMMARY)$/.test(target.tagName))) return;
  event.preventDefault();
  action();
}

// A view that is opened later has its code by then, also where the service is away.
function fetchRest(): void {
  const quietly = (asked: Promise<unknown>): void => void asked.catch(() => {});
  quietly(import("./map/tab"));
  quietly(import("./alerts/desk"));
  quietly(import("./batteries/view"));
  quietly(import("./traffic/view"));
  quietly(import("./health/view"));
}

document.addEventListener("keydown", keys);
app.on("view", showView);
app.on("past", () => setLink("positions", links.positions!));
if (app.link.get("t")) picture.remove(); // the link shows a past moment
const wanted = app.link.get("view") as ViewId;
app.emit("view", VIEW_IDS.includes(wanted) ? wanted : "map");
app.link.onChange(() => location.reload());
if (app.isWall) startWall(app, () => links.events === "live");
void start();
// Safari has no requestIdleCallback.
setTimeout(() => ("requestIdleCallback" in window ? requestIdleCallback(fetchRest) : fetchRest()), FETCH_REST_MS);

// For tests and for people with a console: what the page shows right now.
declare global {
  interface Window {
    openvrc: unknown;
  }
}
window.openvrc = {
  app, panel, links,
  get map() { return map?.map ?? null; },
  get bar() { return map?.bar ?? null; },
  drop: () => [events, positions].forEach((feed) => feed.drop()),
};

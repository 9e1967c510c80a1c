// The map: MapLibre for the roads and what stands beside them, a WebGL canvas for vehicles, small
// elements for alerts and countdowns.

import { Map as GlMap, ScaleControl, setWorkerUrl, type GeoJSONSource, type StyleSpecification } from "maplibre-gl";
import workerUrl from "maplibre-gl/dist/maplibre-gl-worker.mjs?worker&url";
import "maplibre-gl/dist/maplibre-gl.css";
import type { App, View as Tab } from "../app";
import { get } from "../lib/api";
import { el } from "../lib/dom";
import { throttled } from "../lib/events";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import { circle, fitted, toLonLat, toWorld } from "../lib/geo";
import { LOS_STEPS } from "../lib/palette";
import { remPx } from "../lib/scale";
import { RANK } from "../lib/types";
import type { Charger, Completed, Page } from "../lib/types";
import { connectedOnly, type Frame } from "../live/frame";
import { Background } from "./background";
import { placeWanted } from "./first";
import { flowOf } from "./flow";
import { drawLegend } from "./legend";
import { Overlay } from "./overlay";
import { alertPin, countdownPin, eventPin, namePin, stationPin, updateCountdown, updateStation } from "./pins";
import { laneColour, styleOf, SWITCHES, type Colouring, type Switch } from "./style";
import { VehicleLayer, type View } from "./vehicle_layer";

setWorkerUrl(workerUrl);

const FRAME_MS = 33; // 30 pictures a second: smooth, and half the work of 60 without a GPU
const SLOW_FRAME_MS = 120; // where drawing itself is slow, leave the processor to others
const VIEW_EVERY_MS = 250;
const RESCALE_MS = 300; // a window that is drawn larger changes with every picture
const COUNTDOWN_ZOOM = 16.2;
const NAMES_ZOOM = 14.5;
const COMPLETED_EVERY_MS = 5000;
const LEAST_QUEUE_M = 5; // one vehicle that waits is no queue
const MOST_PINS = 120;
const SEVERITY_NUMBER = { info: 1, warning: 2, serious: 3, critical: 4 } as const;

interface Listeners {
  /** West, south, east, north in degrees, with a margin so that vehicles glide in. */
  onView: (bounds: number[]) => void;
  onHover: (px: number | null, py: number) => void;
  onClick: (px: number, py: number) => void;
  onAlert: (id: string) => void;
}

export class MapView implements Tab {
  readonly id = "map";
  readonly element = el("section", { class: "map", "aria-label": t("Map") });
  readonly map: GlMap;
  readonly vehicles: VehicleLayer;
  readonly overlay: Overlay;
  readonly background: Background;
  colouring: Colouring;
  followed: number | null = null;
  readonly hidden: Set<Switch>;
  isShown = false;
  framesDrawn = 0;
  private isReady = false;
  private isDirty = true;
  private drawnMs = 0;
  private askedMs = 0;
  private slowness = 0; // moving mean of the time between two asked frames
  private readonly canvas = el("canvas", { class: "vehicles", "aria-hidden": true });
  private readonly pins = el("div", { class: "pins" });
  private readonly styled = { segments: new Map<string, string>(), alerts: new Set<string>() };
  readonly sendView = throttled(VIEW_EVERY_MS, () => this.tellView());

  constructor(
    readonly app: App,
    host: HTMLElement,
    private readonly listeners: Listeners,
  ) {
    const holder = el("div", { class: "gl" });
    this.element.classList.add("view");
    host.append(this.element); // with its size from the start its canvases are made once
    this.colouring = app.link.get("by") === "los" ? "los" : "speed";
    this.hidden = new Set(app.link.get("off").split(",").filter((name): name is Switch => name in SWITCHES));
    this.element.append(holder, this.canvas, this.pins);
    this.vehicles = new VehicleLayer(this.canvas, app.theme);
    this.overlay = new Overlay(this.pins);
    this.map = this.makeMap(holder);
    this.background = new Background(this.map);
    this.element.prepend(this.background.element);
    this.element.append(drawLegend(this), this.background.credit);
    this.listen();
    if (app.zones.length) void this.takeBackground();
    if (app.roads.box) this.hasPlace = false; // the roads came with the style; of others the whole zone is shown
    requestAnimationFrame((nowMs) => this.frame(nowMs));
    setInterval(() => void this.readCompleted(), COMPLETED_EVERY_MS);
  }

  private makeMap(holder: HTMLElement): GlMap {
    const { clientWidth: width, clientHeight: height } = this.element;
    const place = placeWanted(this.app, width, height);
    this.hasPlace = place !== null;
    const map = new GlMap({
      container: holder,
      style: this.style(),
      center: place ? [place.lon, place.lat] : [0, 20],
      zoom: place?.zoom ?? 1,
      maxZoom: 22,
      attributionControl: false, // roads are the zone's own; MapLibre's licence is in the notices
      dragRotate: false,
      pitchWithRotate: false,
      touchPitch: false,
      renderWorldCopies: false,
      fadeDuration: 0,
      trackResize: true,
    });
    map.touchZoomRotate.disableRotation();
    map.keyboard.disableRotation();
    map.addControl(new ScaleControl({ maxWidth: 110 }), "bottom-right");
    return map;
  }
  private hasPlace = false;
  private isToFit = false;
  private styledPx = 0; // one rem when the style was made
  private readonly rescale = throttled(RESCALE_MS, () => remPx() !== this.styledPx && this.restyle());

  private listen(): void {
    const { app, map } = this;
    map.on("load", () => {
      this.isReady = true;
      this.takeScene();
    });
    map.on("move", () => this.moved());
    map.on("resize", () => {
      this.moved();
      if (remPx() !== this.styledPx) this.rescale();
    });
    map.on("error", (event) => console.error(event.error));
    map.on("dragstart", () => this.follow(null));
    map.on("moveend", () => this.keepPlace());
    map.on("mousemove", ({ point }) => this.listeners.onHover(point.x, point.y));
    map.on("mouseout", () => this.listeners.onHover(null, 0));
    map.on("click", ({ point }) => this.listeners.onClick(point.x, point.y));
    map.getCanvas().addEventListener("keydown", (event) => {
      if (event.key === "0") this.fit();
    });
    app.on("roads", () => this.takeRoads());
    app.on("run", () => void this.readCompleted());
    app.on("zones", () => void this.takeBackground());
    app.on("theme", () => this.restyle());
    app.on("past", () => this.takeScene());
    for (const scene of [app.live, app.past]) {
      const whenShown = (run: () => void) => (): void => {
        if (scene === app.scene && this.isReady) run();
      };
      scene.on("segments", whenShown(() => this.takeSegments()));
      scene.on("signals", whenShown(() => this.takeSignals()));
      scene.on("rsus", whenShown(() => this.takeRsus()));
      scene.on("chargers", whenShown(() => this.takeChargers()));
      scene.on("road_events", whenShown(() => this.takeEvents()));
      scene.on("alerts", whenShown(throttled(100, () => this.takeAlerts())));
      scene.on("time", whenShown(() => this.takeTime()));
    }
  }

  show(): void {
    this.isShown = true;
    const { clientWidth, clientHeight } = this.map.getCanvas();
    if (clientWidth !== this.element.clientWidth || clientHeight !== this.element.clientHeight) this.map.resize();
    if (this.isToFit) this.fit();
    if (this.isReady) this.takeScene();
    this.sendView();
    void this.readCompleted();
  }

  hide(): void {
    this.isShown = false;
  }

  /** What is shown now, for the vehicles' canvas and the pins. */
  view(): View {
    const { lng, lat } = this.map.getCenter();
    const [centreX, centreY] = toWorld(lng, lat);
    const { clientWidth: width, clientHeight: height } = this.element;
    return { centreX, centreY, zoom: this.map.getZoom(), latDeg: lat, width, height };
  }

  takeFrame(frame: Frame, nowMs: number): void {
    this.vehicles.take(this.hidden.has("perceived") ? connectedOnly(frame) : frame, nowMs);
    this.isDirty = true;
    if (!this.hasPlace && this.app.isMapKnown && !this.app.roads.box && frame.n) this.fitTo(frame);
  }

  /** Whether the zone's roads are on the map. */
  get isDrawn(): boolean {
    return this.isReady && this.app.roads.box !== null && this.map.isSourceLoaded("lanes");
  }

  clear(): void {
    this.vehicles.clear();
    this.follow(null);
    this.completed.clear();
    if (this.isReady) this.takeQueues();
    this.isDirty = true;
  }

  /** Show the whole zone. */
  fit(): void {
    const box = this.app.roads.box;
    if (!box) return;
    this.isToFit = !this.isShown; // unseen it has no size to fit to
    this.follow(null);
    const { lon, lat, zoom } = fitted(box, this.element.clientWidth, this.element.clientHeight);
    this.map.jumpTo({ center: [lon, lat], zoom });
  }

  // Without a map of the zone the first vehicles say where it is.
  private fitTo(frame: Frame): void {
    const xs = frame.x.toSorted();
    const ys = frame.y.toSorted();
    const last = frame.n - 1;
    const [west, north] = toLonLat(xs[0]! / 2 ** 32, ys[0]! / 2 ** 32);
    const [east, south] = toLonLat(xs[last]! / 2 ** 32, ys[last]! / 2 ** 32);
    this.map.fitBounds([west, south, east, north], { padding: 48, animate: false, maxZoom: 17 });
    this.hasPlace = true;
  }

  /** Bring a place to the middle, close enough to see single vehicles. */
  centreOn([lon, lat]: [number, number]): void {
    const zoom = Math.max(this.map.getZoom(), 17);
    this.map.easeTo({ center: [lon, lat], zoom, duration: reducedMotion() ? 0 : 450 });
  }

  /** Keep a vehicle in the middle; null lets go. */
  follow(slot: number | null): void {
    this.followed = slot;
    this.element.classList.toggle("following", slot !== null);
    this.isDirty = true;
  }

  setSwitch(name: Switch, isOn: boolean): void {
    if (isOn) this.hidden.delete(name);
    else this.hidden.add(name);
    this.app.link.set({ off: [...this.hidden].join(",") });
    this.showSwitch(name);
  }

  private showSwitch(name: Switch): void {
    const isOn = !this.hidden.has(name);
    this.canvas.hidden = this.hidden.has("vehicles");
    if (name === "background") return this.showGround();
    this.pins.classList.toggle("no-alerts", this.hidden.has("alerts"));
    this.pins.classList.toggle("no-signals", this.hidden.has("signals"));
    for (const of of ["rsus", "chargers", "events"] as const) this.pins.classList.toggle(`no-${of}`, this.hidden.has(of));
    for (const layer of SWITCHES[name]) {
      this.map.setLayoutProperty(layer, "visibility", isOn ? "visible" : "none");
    }
  }

  setColouring(colouring: Colouring): void {
    this.colouring = colouring;
    this.app.link.set({ by: colouring === "los" ? "los" : "" });
    void this.readCompleted();
    for (const layer of ["lanes", "junctions"]) {
      this.map.setPaintProperty(layer, "line-color", laneColour(colouring, this.app.theme));
    }
  }

  private async takeBackground(): Promise<void> {
    try {
      const hasOne = await this.background.show(this.app.zoneRow?.background ?? null, this.app.theme);
      this.element.classList.toggle("has-background", hasOne);
      this.showGround();
    } catch (error) {
      console.warn("the background map cannot be read:", error); // the roads are there without it
    }
  }

  // The roads' own ground would hide what lies below it.
  private showGround(): void {
    if (this.background.map) this.background.setVisible(!this.hidden.has("background"));
    if (this.map.getLayer("ground")) this.map.setLayoutProperty("ground", "visibility", this.background.isShown ? "none" : "visible");
  }

  private restyle(): void {
    this.background.setTheme(this.app.theme);
    this.vehicles.setTheme(this.app.theme);
    this.isDirty = true;
    this.setStyle();
  }

  // The roads come with the style: an event of the style before could be taken for this one's.
  private style(): StyleSpecification {
    this.styledPx = remPx();
    const lat = this.app.roads.box ? (this.app.roads.box[1] + this.app.roads.box[3]) / 2 : 0;
    const style = styleOf(this.app.theme, this.colouring, lat);
    Object.assign(style.sources.lanes!, { data: this.app.roads.lanes() });
    Object.assign(style.sources.heads!, { data: this.app.roads.headPoints() });
    return style;
  }

  private setStyle(): void {
    this.map.setStyle(this.style(), { diff: false });
    this.isReady = false;
    this.map.once("idle", () => this.takeScene());
    this.map.once("styledata", () => {
      this.isReady = true;
      this.showGround();
      for (const name of this.hidden) this.showSwitch(name);
      this.takeScene();
    });
  }

  private takeRoads(): void {
    this.setStyle();
    if (!this.app.roads.box) return;
    if (!this.hasPlace) this.fit();
    this.hasPlace = false; // only the first map is shown where the link says
  }

  private takeScene(): void {
    this.styled.segments.clear();
    this.styled.alerts.clear();
    this.rsuText = this.eventsText = this.queuesText = "";
    if (!this.isReady) return;
    this.takeSegments();
    this.takeSignals();
    this.takeRsus();
    this.takeChargers();
    this.takeEvents();
    this.takeAlerts();
    this.takeQueues();
  }

  // Levels of service and queues are of all vehicles, also of those that are not connected: the service
  // estimates them. Where it gives none, and in the past, the density of connected ones stands in.
  private completed = new Map<string, Completed>();
  private readonly completing = new Order();
  private async readCompleted(): Promise<void> {
    const { app } = this;
    if (!this.isShown || !app.runId || document.hidden) return;
    const run = app.runKey;
    const isNewest = this.completing.begin();
    const page = await get<Page<Completed>>(`/v1/traffic/segments${app.where({ completed: "true" })}`).catch(() => null);
    if (run !== app.runKey || !isNewest()) return;
    this.completed = new Map((page?.items ?? []).map((item) => [item.segment_id, item]));
    if (!this.isReady) return;
    this.takeSegments();
    this.takeQueues();
  }

  /** What is believed of a segment now; nothing in the past. */
  completedOf(segmentId: string): Completed | undefined {
    return this.app.isPast ? undefined : this.completed.get(segmentId);
  }

  private queuesText = "";
  private takeQueues(): void {
    const all = this.app.isPast ? [] : [...this.completed.values()];
    const queues = all.flatMap(({ segment_id: id, queue_m: metres, is_spillback: isFull }) => (metres !== null && metres >= LEAST_QUEUE_M ? [{ id, metres, isFull }] : []));
    const text = JSON.stringify(queues);
    if (text === this.queuesText) return;
    this.queuesText = text;
    this.setSource("queues", this.app.roads.ends(queues));
  }

  private setSource(id: string, data: unknown): void {
    (this.map.getSource(id) as GeoJSONSource | undefined)?.setData(data as never);
  }

  private takeSegments(): void {
    const { roads, scene } = this.app;
    for (const segment of roads.segments.values()) {
      let { share: speed, perLane } = flowOf(segment, scene);
      const level = this.completedOf(segment.segment_id)?.level_of_service;
      if (level !== undefined) perLane = LOS_STEPS.find(({ name }) => name === level)?.from ?? 0;
      const wanted = `${speed?.toFixed(2)} ${perLane?.toFixed(1)}`;
      if (this.styled.segments.get(segment.segment_id) === wanted) continue;
      this.styled.segments.set(segment.segment_id, wanted);
      this.map.setFeatureState({ source: "lanes", id: segment.segment_id }, { speed, density: perLane });
    }
  }

  private takeSignals(): void {
    const { roads, scene } = this.app;
    for (const key of new Set(roads.heads.map((head) => head.key))) {
      const state = scene.signals.get(key);
      const phase = state && !scene.isStaleSignal(state) ? state.phase : "stale";
      this.map.setFeatureState({ source: "heads", id: key }, { phase });
    }
    this.setPins();
  }

  private rsuText = "";
  private takeRsus(): void {
    const rsus = [...this.app.scene.rsus.values()];
    const text = JSON.stringify(rsus.map((r) => [r.subject_id, r.lon_deg, r.lat_deg, r.range_m, r.health]));
    if (text === this.rsuText) return; // heartbeats come each second and rarely say anything new
    this.rsuText = text;
    const features = rsus.flatMap((rsu) => {
      const of = (part: string, type: string, coordinates: unknown) =>
        ({ type: "Feature", properties: { part, health: rsu.health }, geometry: { type, coordinates } });
      const place = of("place", "Point", [rsu.lon_deg, rsu.lat_deg]);
      return rsu.range_m ? [of("range", "Polygon", [circle(rsu.lon_deg, rsu.lat_deg, rsu.range_m)]), place] : [place];
    });
    this.setSource("rsus", { type: "FeatureCollection", features });
    this.setPins();
  }

  private takeChargers(): void {
    const features = [...this.app.scene.chargers.values()].map(({ lon_deg, lat_deg, state }) => ({
      type: "Feature", properties: { state }, geometry: { type: "Point", coordinates: [lon_deg, lat_deg] },
    }));
    this.setSource("chargers", { type: "FeatureCollection", features });
    this.setPins();
  }

  private eventsText = "";
  private takeEvents(): void {
    const events = this.app.scene.eventsNow;
    const text = events.map((event) => event.subject_id).join();
    if (text === this.eventsText) return;
    this.eventsText = text;
    const features = events.filter((event) => event.radius_m).map((event) => ({
      type: "Feature", properties: {}, geometry: { type: "Polygon", coordinates: [circle(event.lon_deg, event.lat_deg, event.radius_m!)] },
    }));
    this.setSource("events", { type: "FeatureCollection", features });
    this.setPins();
  }

  private takeAlerts(): void {
    if (!this.isReady) return;
    const worst = new Map<string, number>();
    for (const { segment_id: id, severity, subject_type: type } of this.app.scene.speaking) {
      if (id && type !== "vehicle") worst.set(id, Math.max(worst.get(id) ?? 0, SEVERITY_NUMBER[severity]));
    }
    for (const id of this.styled.alerts) {
      if (!worst.has(id)) this.map.setFeatureState({ source: "lanes", id }, { alert: 0 });
    }
    for (const [id, alert] of worst) this.map.setFeatureState({ source: "lanes", id }, { alert });
    this.styled.alerts.clear();
    for (const id of worst.keys()) this.styled.alerts.add(id);
    this.setPins();
  }

  private takeTime(): void {
    this.takeSegments();
    this.takeEvents();
    this.setPins();
  }

  /** Alerts, names of roadside units and countdowns of signals, as far as they can be read. */
  private readonly setPins = throttled(60, () => {
    const { overlay, app } = this;
    const zoom = this.map.getZoom();
    overlay.begin();
    const alerts = app.scene.speaking
      .filter((alert) => app.placeKnown(alert))
      .sort((a, b) => RANK[a.severity] - RANK[b.severity])
      .slice(-MOST_PINS);
    for (const alert of alerts) {
      const [lon, lat] = app.placeKnown(alert)!;
      const pin = overlay.set(`a ${alert.id}`, lon, lat, () => alertPin(alert, this.listeners.onAlert));
      pin.dataset.severity = alert.severity;
      pin.classList.toggle("selected", alert.id === app.alertId);
      pin.classList.toggle("acked", Boolean(alert.acknowledged_by));
    }
    for (const event of app.scene.eventsNow.slice(-MOST_PINS)) overlay.set(`e ${event.subject_id}`, event.lon_deg, event.lat_deg, () => eventPin(event));
    if (zoom >= NAMES_ZOOM) {
      this.setStations();
      for (const rsu of app.scene.rsus.values()) {
        overlay.set(`r ${rsu.subject_id}`, rsu.lon_deg, rsu.lat_deg, () => namePin(rsu.subject_id));
      }
    }
    if (zoom >= COUNTDOWN_ZOOM) this.setCountdowns();
    overlay.end(this.view());
  });

  private setStations(): void {
    const stations = new Map<string, Charger[]>();
    for (const charger of this.app.scene.chargers.values()) stations.set(charger.station_id, [...(stations.get(charger.station_id) ?? []), charger]);
    for (const [id, connectors] of stations) {
      const { lon_deg: lon, lat_deg: lat } = connectors[0]!;
      updateStation(this.overlay.set(`c ${id}`, lon, lat, stationPin), connectors);
    }
  }

  // Heads of one approach stand side by side: as many countdowns as have room, the rest on coming nearer.
  private setCountdowns(): void {
    const { overlay, app } = this;
    const bounds = this.map.getBounds();
    const seen = new Set<string>();
    const rem = remPx();
    const placed: { x: number; y: number }[] = [];
    for (const head of app.roads.heads) {
      const state = app.scene.signals.get(head.key);
      const key = `${head.key} ${(head.lon * 1e4).toFixed(0)} ${(head.lat * 1e4).toFixed(0)}`;
      if (!state || seen.has(key) || !bounds.contains([head.lon, head.lat]) || seen.size > MOST_PINS) continue;
      const at = this.toScreen(head.lon, head.lat);
      if (placed.some(({ x, y }) => Math.abs(x - at.x) < 2 * rem && Math.abs(y - at.y) < 1.4 * rem)) continue;
      placed.push(at);
      seen.add(key);
      const pin = overlay.set(`s ${key}`, head.lon, head.lat, countdownPin);
      updateCountdown(pin, state, app.scene.isStaleSignal(state), app.scene.timeMs(performance.now()));
    }
  }

  private moved(): void {
    this.isDirty = true;
    this.overlay.move(this.view());
    this.setPins();
    this.sendView();
  }

  private keepPlace(): void {
    if (this.followed !== null) return;
    const { lng, lat } = this.map.getCenter();
    this.app.link.set({ at: `${lng.toFixed(6)},${lat.toFixed(6)},${this.map.getZoom().toFixed(2)}` });
  }

  private tellView(): void {
    if (!this.isShown) return;
    const bounds = this.map.getBounds();
    const [west, south, east, north] = [bounds.getWest(), bounds.getSouth(), bounds.getEast(), bounds.getNorth()];
    const [dx, dy] = [(east - west) * 0.15, (north - south) * 0.15];
    const within = (value: number, most: number): number => Math.max(-most, Math.min(most, value));
    this.listeners.onView([within(west - dx, 180), within(south - dy, 90), within(east + dx, 180), within(north + dy, 90)]);
  }

  private frame(nowMs: number): void {
    requestAnimationFrame((at) => this.frame(at));
    this.slowness = 0.9 * this.slowness + 0.1 * Math.min(500, nowMs - this.askedMs);
    this.askedMs = nowMs;
    const everyMs = this.slowness > 45 ? SLOW_FRAME_MS : FRAME_MS;
    if (!this.isShown || nowMs - this.drawnMs < everyMs - 4) return;
    if (!this.isDirty && !this.vehicles.isMoving(nowMs)) return;
    this.drawnMs = nowMs;
    this.isDirty = false;
    this.keepFollowed(nowMs);
    if (!this.canvas.hidden) this.vehicles.draw(this.view(), nowMs);
    this.framesDrawn++;
  }

  private keepFollowed(nowMs: number): void {
    if (this.followed === null) return;
    const place = this.vehicles.placeOf(this.followed, nowMs);
    if (place) this.map.jumpTo({ center: toLonLat(...place) });
  }

  /** Where a place of the world lies on the element, in CSS pixels. */
  toScreen(lon: number, lat: number): { x: number; y: number } {
    return this.map.project([lon, lat]);
  }

  toLonLat(px: number, py: number): { lng: number; lat: number } {
    return this.map.unproject([px, py]);
  }
}

export const reducedMotion = (): boolean => matchMedia("(prefers-reduced-motion: reduce)").matches;

// The map's tab: what lies under the pointer, the vehicle that was chosen, search, and the time bar.

import type { App, View } from "../app";
import { el } from "../lib/dom";
import { icon } from "../lib/icons";
import { t } from "../lib/i18n";
import { scale } from "../lib/scale";
import type { Alert, Perceived, Vehicle } from "../lib/types";
import type { PositionFeed } from "../live/feed";
import type { Frame } from "../live/frame";
import { TimeBar } from "../time/bar";
import { VehicleCard } from "./card";
import { MapView } from "./map_view";
import { Search } from "./search";
import { thingLines, Tip, vehicleLines, type Thing } from "./tip";

interface Hovered {
  px: number;
  py: number;
  slot: number;
  lines: (facts: Vehicle | null, seen?: Perceived | null) => (string | null)[];
}

export class MapTab implements View {
  readonly id = "map";
  readonly map: MapView;
  readonly bar: TimeBar;
  readonly search: Search;
  private readonly card: VehicleCard;
  private readonly tip = new Tip();
  private hovered: Hovered | null = null;
  private pendingClick = -1;

  constructor(
    private readonly app: App,
    host: HTMLElement,
    private readonly positions: PositionFeed,
  ) {
    const map = new MapView(app, host, {
      onView: (bounds) => app.isMapKnown && !app.isPast && positions.show(app.zone, app.runId, bounds),
      onHover: (px, py) => this.hover(px, py),
      onClick: (px, py) => this.click(px, py),
      onAlert: (id) => this.openAlert(id),
    });
    this.map = map;
    this.card = new VehicleCard(app, {
      onFollow: (vehicle, isFollowed) => map.follow(isFollowed ? vehicle.slot : null),
      onBattery: (id) => { app.selectVehicle(id); app.showView("batteries"); },
      onShown: (vehicle) => map.vehicles.setMarked(vehicle ? vehicle.slot : -1),
    });
    this.search = new Search(app, (found) => {
      app.showView("map");
      if (found.place) map.centreOn(found.place);
      if (found.kind === "vehicle") app.selectVehicle(found.id);
    });
    this.bar = new TimeBar(app, (frame) => map.takeFrame(frame, performance.now()), () => {
      map.clear();
      map.sendView();
    });
    map.element.append(this.search.element, this.buttons(), this.card.element, this.tip.element, this.bar.element);
    map.map.on("dragstart", () => this.card.letGo());
    app.on("past", () => !app.isPast && map.sendView());
    void this.card.load();
  }

  get element(): HTMLElement {
    return this.map.element;
  }

  show(): void {
    this.map.show();
  }

  hide(): void {
    this.map.hide();
  }

  takeFrame(frame: Frame): void {
    if (!this.app.isPast) this.map.takeFrame(frame, performance.now());
  }

  /** Bring the map to where an alert is, and its vehicle's card. */
  async showPlaceOf(alert: Alert): Promise<void> {
    if (alert.subject_type === "vehicle") this.app.selectVehicle(alert.subject_id);
    const place = await this.app.placeOf(alert);
    if (place && this.app.alertId === alert.id) this.map.centreOn(place);
  }

  /** The service says who a number on the wire is. */
  takeWho(slot: number, vehicle: Vehicle | null, seen: Perceived | null): void {
    if (this.pendingClick === slot && vehicle) {
      this.pendingClick = -1;
      this.app.selectVehicle(vehicle.vehicle_id);
    }
    const { hovered } = this;
    if (hovered?.slot === slot) this.tip.show(hovered.lines(vehicle, seen), hovered.px, hovered.py);
  }

  private openAlert(id: string): void {
    if (!this.app.scene.alerts.has(id)) return;
    this.app.selectAlert(id);
    this.app.showView("alerts");
  }

  private hover(px: number | null, py: number): void {
    const { map, tip, app } = this;
    this.hovered = null;
    if (px === null) return tip.hide();
    const item = map.vehicles.at(map.view(), px, py, performance.now());
    if (item) {
      const lines = (facts: Vehicle | null, seen: Perceived | null = null): (string | null)[] => vehicleLines(item, facts, seen);
      this.hovered = { px, py, slot: item.slot, lines };
      if (app.isPast) return tip.show([this.bar.nameOf(item.slot), ...lines(null).slice(1)], px, py);
      this.positions.ask(item.slot);
      return tip.show(lines(null), px, py);
    }
    const thing = this.thingAt(px, py);
    if (thing) tip.show(thingLines(thing, app, thing.kind === "segment" ? map.completedOf(thing.segment.segment_id) : undefined), px, py);
    else tip.hide();
  }

  private thingAt(px: number, py: number): Thing | null {
    const { map, app } = this;
    const near = (lon: number, lat: number, reach: number): boolean => {
      const { x, y } = map.toScreen(lon, lat);
      return Math.hypot(x - px, y - py) < reach * scale();
    };
    for (const rsu of app.scene.rsus.values()) if (near(rsu.lon_deg, rsu.lat_deg, 11)) return { kind: "rsu", rsu };
    const event = app.scene.eventsNow.find(({ lon_deg, lat_deg }) => near(lon_deg, lat_deg, 12));
    if (event) return { kind: "event", event };
    for (const charger of app.scene.chargers.values()) if (near(charger.lon_deg, charger.lat_deg, 10)) return { kind: "charger", charger };
    const head = app.roads.heads.find(({ lon, lat }) => near(lon, lat, 7));
    if (head) return { kind: "head", head };
    const { lng, lat } = map.toLonLat(px, py);
    const perPx = (156_543 * Math.cos((lat * Math.PI) / 180)) / 2 ** (map.map.getZoom() + 1);
    const segment = app.roads.nearest(lng, lat, 9 * scale() * perPx);
    return segment ? { kind: "segment", segment } : null;
  }

  private click(px: number, py: number): void {
    const { map, app } = this;
    const item = map.vehicles.at(map.view(), px, py, performance.now());
    if (!item || item.isPerceived) return void app.selectVehicle("");
    if (app.isPast) return void app.selectVehicle(this.bar.nameOf(item.slot) ?? "");
    this.pendingClick = item.slot;
    this.positions.ask(item.slot);
  }

  private buttons(): HTMLElement {
    const { map } = this;
    const button = (text: Node | string, name: string, run: () => void): HTMLElement =>
      el("button", { type: "button", title: name, "aria-label": name, onclick: run }, text);
    return el("div", { class: "map-buttons" },
      button("+", t("Zoom in"), () => map.map.zoomIn()),
      button("−", t("Zoom out"), () => map.map.zoomOut()),
      button(icon("fit"), t("Fit to zone"), () => map.fit()));
  }
}

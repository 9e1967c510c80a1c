// What the views share: the live scene, which run is shown, what is selected.

import { get, part, query } from "./lib/api";
import { Emitter } from "./lib/events";
import type { Theme } from "./lib/palette";
import type { Alert, Kpi, RunRow, Vehicle, ZoneRow } from "./lib/types";
import { Scene } from "./live/scene";
import { Roads } from "./map/roads";
import { Link, themeNow } from "./shell/settings";

/** A tab of the page. `show` is called each time it comes to the front. */
export interface View {
  readonly id: ViewId;
  readonly element: HTMLElement;
  show(): void;
  hide(): void;
}
export const VIEW_IDS = ["map", "alerts", "batteries", "traffic", "health"] as const;
export type ViewId = (typeof VIEW_IDS)[number];

interface AppEvents {
  run: null; // another zone or run is shown
  roads: null; // its map has come
  kpi: Kpi;
  zones: null;
  select: null; // alert or vehicle
  theme: Theme;
  view: ViewId;
  past: null; // live or a past moment
}

export class App extends Emitter<AppEvents> {
  readonly link = new Link();
  readonly live = new Scene();
  readonly past = new Scene();
  isPast = false;
  readonly isWall = this.link.get("wall") === "1";
  theme: Theme = themeNow();
  zones: ZoneRow[] = [];
  zone = this.link.get("zone");
  wantedRun = this.link.get("run"); // empty: the newest
  runId = "";
  origin = "live";
  title = "";
  kpi: Kpi | null = null;
  roads = new Roads(null);
  isMapKnown = false; // the run's map has come, or there is none
  alertId = this.link.get("alert");
  vehicleId = this.link.get("vehicle");
  role = "";
  who = "";

  /** What the map shows: now, or a past moment. */
  get scene(): Scene {
    return this.isPast ? this.past : this.live;
  }

  get zoneRow(): ZoneRow | undefined {
    return this.zones.find(({ zone }) => zone === this.zone);
  }

  get runRow(): RunRow | undefined {
    return this.zoneRow?.runs.find(({ run_id: id }) => id === this.runId);
  }

  /** Which run of which zone: each zone's live run is called "live". */
  get runKey(): string {
    return `${this.zone} ${this.runId}`;
  }

  /** Whether an alert is of what is shown: the desk lists those of other zones and runs, too. */
  isOfRun(alert: Alert): boolean {
    return alert.zone === this.zone && alert.run_id === this.runId;
  }

  /** Zone and run of a request. */
  where(more: Record<string, string | number | null | undefined> = {}): string {
    return query({ zone: this.zone, run: this.runId, ...more });
  }

  selectAlert(id: string): void {
    this.alertId = id;
    this.link.set({ alert: id });
    this.emit("select", null);
  }

  selectVehicle(id: string): void {
    this.vehicleId = id;
    this.link.set({ vehicle: id });
    this.emit("select", null);
  }

  showView(id: ViewId): void {
    this.link.set({ view: id === "map" ? "" : id });
    this.emit("view", id);
  }

  setPast(isPast: boolean): void {
    this.isPast = isPast;
    this.emit("past", null);
  }

  vehicle(id: string): Promise<Vehicle> {
    return get<Vehicle>(`/v1/vehicles/${part(id)}${this.where()}`);
  }

  /** Where an alert is: its own place, else its road's, else its vehicle's. */
  async placeOf(alert: Alert): Promise<[number, number] | null> {
    const known = this.placeKnown(alert);
    if (known || alert.subject_type !== "vehicle") return known;
    const vehicle = await this.vehicle(alert.subject_id).catch(() => null);
    return vehicle?.lon_deg == null || vehicle.lat_deg == null ? null : [vehicle.lon_deg, vehicle.lat_deg];
  }

  placeKnown(alert: Alert): [number, number] | null {
    if (alert.lat_deg !== null && alert.lon_deg !== null) return [alert.lon_deg, alert.lat_deg];
    return alert.segment_id ? this.roads.middle(alert.segment_id) : null;
  }
}

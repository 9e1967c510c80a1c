// What is known of the selected vehicle, in a card on the map; follow it, or open its battery.

import type { App } from "../app";
import { el, setText, sync } from "../lib/dom";
import { decimal, percent, timeOfDay } from "../lib/format";
import { icon } from "../lib/icons";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Vehicle } from "../lib/types";

const EVERY_MS = 1000;

interface Doing {
  onFollow: (vehicle: Vehicle, isFollowed: boolean) => void;
  onBattery: (id: string) => void;
  onShown: (vehicle: Vehicle | null) => void;
}

export class VehicleCard {
  readonly element = el("section", { class: "card", hidden: true, "aria-label": t("Vehicle") });
  private vehicle: Vehicle | null = null;
  private isFollowed = false;
  private readonly order = new Order();
  private readonly title = el("h3");
  private readonly facts = el("dl");
  private readonly problem = el("p", { class: "failed" });
  private readonly followButton = el("button", { type: "button", class: "small", onclick: () => this.follow(!this.isFollowed) }, t("Follow"));

  constructor(
    private readonly app: App,
    private readonly doing: Doing,
  ) {
    this.element.append(
      el("div", { class: "card-top" }, this.title, el("button", { type: "button", class: "close", "aria-label": t("Close"), onclick: () => app.selectVehicle("") }, icon("close"))),
      this.facts, this.problem,
      el("div", { class: "buttons" }, this.followButton,
        el("button", { type: "button", class: "small", onclick: () => this.vehicle && doing.onBattery(this.vehicle.vehicle_id) }, t("Battery"))),
    );
    app.on("select", () => void this.load());
    app.on("run", () => void this.load());
    setInterval(() => !this.element.hidden && !document.hidden && !app.isPast && void this.load(), EVERY_MS);
  }

  async load(): Promise<void> {
    const id = this.app.vehicleId;
    this.element.hidden = !id || !this.app.runId;
    if (this.element.hidden) return this.take(null);
    if (this.vehicle?.vehicle_id !== id) setText(this.title, id);
    const isNewest = this.order.begin();
    try {
      const vehicle = await this.app.vehicle(id);
      if (id === this.app.vehicleId && isNewest()) this.take(vehicle);
    } catch (error) {
      if (id === this.app.vehicleId && isNewest()) setText(this.problem, error instanceof Error ? error.message : String(error));
    }
  }

  private take(vehicle: Vehicle | null): void {
    const isNew = vehicle?.vehicle_id !== this.vehicle?.vehicle_id;
    this.vehicle = vehicle;
    if (isNew) {
      if (!vehicle) this.follow(false);
      this.doing.onShown(vehicle);
    }
    if (!vehicle) return;
    setText(this.title, vehicle.vehicle_id);
    setText(this.problem, vehicle.is_present ? "" : t("does not report any more"));
    this.followButton.disabled = !vehicle.is_present;
    const rows: [string, string][] = [
      [t("class"), t(vehicle.vehicle_class ?? "unknown")],
      [t("speed"), `${decimal(vehicle.speed_mps === null ? null : vehicle.speed_mps * 3.6, 0)} km/h${vehicle.brake_on ? ` · ${t("brakes")}` : ""}`],
      [t("on"), vehicle.segment_id ? `${vehicle.segment_id}${vehicle.lane_index === null ? "" : ` · ${t("lane")} ${vehicle.lane_index}`}` : "–"],
      [t("heard by"), vehicle.source_id ?? "–"],
      [t("at"), timeOfDay(vehicle.sampled_at)],
    ];
    if (vehicle.soc_ratio !== null) rows.push([t("charge"), percent(vehicle.soc_ratio)]);
    if (vehicle.pack_voltage_v !== null) rows.push([t("pack"), `${decimal(vehicle.pack_voltage_v, 0)} V · ${decimal(vehicle.pack_current_a, 0)} A`]);
    if (vehicle.probe_temperature_max_degc !== null) rows.push([t("hottest probe"), `${vehicle.probe_temperature_max_degc} °C`]);
    for (const alert of vehicle.alerts ?? []) rows.push([t("alert"), `${t(alert.title)} (${t(alert.severity)})`]);
    sync(this.facts, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
    if (this.isFollowed) this.doing.onFollow(vehicle, true);
  }

  private follow(isFollowed: boolean): void {
    this.isFollowed = isFollowed;
    this.followButton.setAttribute("aria-pressed", String(isFollowed));
    if (this.vehicle) this.doing.onFollow(this.vehicle, isFollowed);
  }

  /** The map was dragged away. */
  letGo(): void {
    this.isFollowed = false;
    this.followButton.setAttribute("aria-pressed", "false");
  }
}

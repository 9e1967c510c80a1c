// The fleet's batteries: a heat grid, the worst first, and one vehicle in full.

import type { App, View } from "../app";
import { get } from "../lib/api";
import { el, setText, sync } from "../lib/dom";
import { fixed, percent } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import { RANK, type Page } from "../lib/types";
import { HeatGrid } from "./heat_grid";
import { ModelTable } from "./models";
import { BatteryDetail } from "./vehicle";
import { badness, MEASURES, type Battery, type Measure } from "./types";

const EVERY_MS = 3000;
const MOST_ROWS = 100;

export class BatteriesView implements View {
  readonly id = "batteries";
  readonly element = el("section", { class: "batteries", "aria-label": t("Batteries") });
  private readonly grid = new HeatGrid((id) => this.app.selectVehicle(id));
  private readonly detail: BatteryDetail;
  private readonly rows = el("tbody");
  private readonly status = el("small");
  private readonly choice = el("select", { "aria-label": t("Colour by"), onchange: () => this.choose(this.choice.value) }, ...MEASURES.map((m) => el("option", { value: m.id }, t(m.name))));
  private readonly models = new ModelTable(() => this.draw(true));
  private batteries: Battery[] = [];
  private measure: Measure = MEASURES[1]!;
  private isChosenByHand = false;
  private readonly order = new Order();
  private isShown = false;

  constructor(private readonly app: App) {
    this.detail = new BatteryDetail(app);
    const head = ["Vehicle", "SoH", "Spread (mV)", "Hottest (°C)", "Charge", "Alert"].map((name, i) => el("th", { scope: "col", class: i > 0 && i < 5 ? "number" : "" }, t(name)));
    this.element.append(el("div", { class: "cards" },
      el("div", { class: "panel w5 of-packs" }, el("h3", {}, t("Fleet"), this.status, el("span", { class: "grow" }), el("label", {}, t("Colour by"), " ", this.choice)), this.grid.element),
      el("div", { class: "panel w7 tall of-packs" }, el("h3", {}, t("Worst first")), el("div", { class: "scroll" }, el("table", { class: "grid" }, el("thead", {}, el("tr", {}, ...head)), this.rows))),
      el("div", { class: "panel w12 models of-packs" }, el("h3", {}, t("By model"), el("small", {}, t("in the middle, and the worst"))), this.models.element),
      el("div", { class: "w12 of-packs" }, this.detail.element),
      el("p", { class: "none w12 no-packs" }, t("No battery has reported yet. Vehicles that send battery frames stand here."))));
    this.element.classList.add("unread");
    this.detail.element.hidden = true;
    setInterval(() => this.isShown && !document.hidden && void this.read(), EVERY_MS);
    app.on("select", () => this.isShown && this.draw(true));
    app.on("theme", () => this.isShown && this.draw(true));
    app.on("run", () => {
      this.batteries = [];
      this.element.classList.add("unread");
      this.order.forget();
      if (this.isShown) void this.read();
    });
  }

  show(): void {
    this.isShown = true;
    void this.read();
  }

  hide(): void {
    this.isShown = false;
  }

  private choose(id: string): void {
    this.measure = MEASURES.find((measure) => measure.id === id) ?? MEASURES[1]!;
    this.isChosenByHand = true;
    this.draw(false);
  }

  private detailAtMs = 0;
  private async read(): Promise<void> {
    if (!this.app.runId) return;
    try {
      const isNewest = this.order.begin();
      const page = await get<Page<Battery>>(`/v1/batteries${this.app.where()}`);
      if (!isNewest()) return;
      const isFirst = !this.batteries.length;
      this.batteries = page.items;
      this.element.classList.remove("unread");
      this.element.classList.toggle("empty", !page.items.length);
      const hasHealth = this.batteries.some((battery) => battery.soh_ratio !== null);
      if (!this.isChosenByHand) this.measure = MEASURES[hasHealth ? 0 : 1]!;
      this.choice.value = this.measure.id;
      const isDue = Date.now() - this.detailAtMs > 4 * EVERY_MS;
      if (isDue) this.detailAtMs = Date.now();
      this.draw(isFirst || isDue);
    } catch (error) {
      setText(this.status, error instanceof Error ? error.message : String(error));
    }
  }

  private worstFirst(): Battery[] {
    const bad = (battery: Battery): number => {
      const value = this.measure.of(battery);
      return (value === null ? -1 : badness(this.measure, value)) + (battery.severity ? 1 + RANK[battery.severity] : 0);
    };
    return this.models.filter(this.batteries).toSorted((a, b) => bad(b) - bad(a) || a.vehicle_id.localeCompare(b.vehicle_id));
  }

  private draw(withDetail: boolean): void {
    this.models.draw(this.batteries);
    const worst = this.worstFirst();
    setText(this.status, t("{n} batteries", { n: worst.length }));
    this.grid.draw(this.models.filter(this.batteries), this.measure, this.app.theme, this.app.vehicleId);
    sync(this.rows, ...worst.slice(0, MOST_ROWS).map((battery) => this.row(battery)));
    // With nobody chosen the worst is shown: on a wall, and when the view is opened.
    if (withDetail) void this.detail.load(this.app.vehicleId || (worst[0]?.vehicle_id ?? ""), this.batteries);
  }

  private row(battery: Battery): HTMLElement {
    const open = (): void => this.app.selectVehicle(battery.vehicle_id);
    const [spread, heat] = [MEASURES[1]!.of(battery), battery.probe_temperature_max_degc];
    return el("tr", { tabindex: 0, "data-key": battery.vehicle_id, class: battery.vehicle_id === (this.app.vehicleId || this.detail.shownId) ? "chosen" : "", "data-severity": battery.severity ?? "info", onclick: open, onkeydown: (event: KeyboardEvent) => event.key === "Enter" && open() },
      el("td", { title: battery.model }, el("b", {}, battery.vehicle_id)),
      el("td", { class: "number" }, percent(battery.soh_ratio, 1)), el("td", { class: "number" }, fixed(spread, 0)), el("td", { class: "number" }, fixed(heat, 1)),
      el("td", { class: "number" }, percent(battery.soc_ratio)), el("td", {}, battery.severity ? el("span", { class: "severity" }, t(battery.severity)) : ""));
  }
}

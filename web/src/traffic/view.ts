// Traffic: a corridor in space and time, a segment's history, signals, and what happened.

import type { App, View } from "../app";
import { get, part } from "../lib/api";
import { Chart } from "../lib/chart";
import { el, fillSelect, setText, sync } from "../lib/dom";
import { count, decimal, duration, ms, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { SERIES } from "../lib/palette";
import { Order } from "../lib/order";
import type { Alert, Completed, Page } from "../lib/types";
import { whatText } from "../alerts/words";
import { corridorFrom, SpaceTime, starts, type Window } from "./corridor";
import { approachesOf, signalStrips, type Change } from "./signals";
import { TypicalDay, UnusualList } from "./typical";

const EVERY_MS = 5000;
const WINDOW_S = 10;
const SIGNAL_SPAN_MS = 300_000;
const SPANS_MIN = [10, 30, 120];

export class TrafficView implements View {
  readonly id = "traffic";
  readonly element = el("section", { class: "traffic", "aria-label": t("Traffic") });
  private readonly start = el("select", { "aria-label": t("Corridor from"), onchange: () => void this.read() });
  private readonly span = el("select", { "aria-label": t("Span"), onchange: () => void this.read() }, ...SPANS_MIN.map((minutes) => el("option", { value: minutes }, duration(minutes * 60))));
  private readonly road = el("select", { "aria-label": t("Segment"), onchange: () => void this.readSegment() });
  private readonly diagram = new SpaceTime();
  private readonly chart = new Chart();
  private readonly signals = el("div");
  private readonly incidents = el("tbody");
  private readonly slowest = el("tbody");
  private readonly status = el("small");
  private readonly typical: TypicalDay;
  private readonly unusual: UnusualList;
  private readonly orders = { corridor: new Order(), segment: new Order(), signals: new Order(), incidents: new Order() };
  private isShown = false;

  constructor(private readonly app: App) {
    this.typical = new TypicalDay(app);
    this.unusual = new UnusualList(app, (id) => this.chooseSegment(id));
    const panel = (width: string, title: (string | HTMLElement)[], ...content: HTMLElement[]): HTMLElement => el("div", { class: `panel ${width}` }, el("h3", {}, ...title), ...content);
    const grid = (names: string[], body: HTMLElement, isNumeric = false): HTMLElement => el("div", { class: "scroll" }, el("table", { class: "grid" }, el("thead", {}, el("tr", {}, ...names.map((name, i) => el("th", { scope: "col", class: isNumeric && i ? "number" : "" }, t(name))))), body));
    const grow = (): HTMLElement => el("span", { class: "grow" });
    this.element.append(el("div", { class: "cards" },
      panel("w8", [t("Corridor in space and time"), this.status, grow(), this.start, this.span], this.diagram.element),
      panel("w4 tall", [t("Slowest now")], grid(["Segment", "km/h", "veh/km", "veh/h"], this.slowest, true)),
      panel("w8", [t("Segment"), grow(), this.road], this.chart.element),
      panel("w4 tall", [t("Unusual now"), this.unusual.status], grid(["Segment", "km/h", "usual", "of it"], this.unusual.rows, true)),
      panel("w12", [t("Signals, last 5 minutes")], this.signals),
      panel("w12 tall", [t("Incident log")], grid(["Severity", "Incident", "Started (UTC)", "State"], this.incidents))));
    setInterval(() => this.isShown && !document.hidden && void this.readAll(), EVERY_MS);
    app.on("roads", () => this.fillRoads());
    app.on("run", () => {
      for (const order of Object.values(this.orders)) order.forget();
      if (this.isShown) void this.readAll();
    });
    app.on("theme", () => this.isShown && void this.readAll());
    app.live.on("segments", () => this.isShown && this.drawSlowest());
  }

  show(): void {
    this.isShown = true;
    this.fillRoads();
    void this.readAll();
    this.drawSlowest();
  }

  hide(): void {
    this.isShown = false;
  }

  private fillRoads(): void {
    const { roads } = this.app;
    if (!this.isShown) return;
    const name = (id: string): string => roads.segments.get(id)?.name || id;
    const firsts = starts(roads).slice(0, 60).map(({ segment_id: id }): [string, string] => [id, `${t("from")} ${name(id)}`]);
    const known = (select: HTMLSelectElement): string => (roads.segments.has(select.value) ? select.value : "");
    fillSelect(this.start, firsts, known(this.start) || (firsts[0]?.[0] ?? ""));
    const all = [...roads.segments.values()].filter((s) => !s.is_internal).map(({ segment_id: id }): [string, string] => [id, name(id)]);
    all.sort((a, b) => a[1].localeCompare(b[1]));
    fillSelect(this.road, all, known(this.road) || (firsts[0]?.[0] ?? all[0]?.[0] ?? ""));
  }

  private get nowMs(): number {
    return this.app.live.zoneTimeMs;
  }

  private async readAll(): Promise<void> {
    if (!this.app.runId || !Number.isFinite(this.nowMs)) return;
    if (!this.start.value) this.fillRoads();
    await Promise.all([this.read(), this.readSegment(), this.readSignals(), this.readIncidents(), this.unusual.read()]);
  }

  private async read(): Promise<void> {
    const corridor = corridorFrom(this.app.roads, this.start.value);
    if (!corridor.length) return;
    const firstMs = ms(this.app.runRow?.first_at);
    const toMs = this.nowMs;
    const fromMs = Math.max(toMs - Number(this.span.value) * 60_000, Math.min(Number.isFinite(firstMs) ? firstMs : 0, toMs - 60_000));
    const ids = corridor.map(({ segment_id: id }) => `&segment=${part(id)}`).join("");
    const isNewest = this.orders.corridor.begin();
    try {
      const where = this.app.where({ from: iso(fromMs), to: iso(toMs), window_s: WINDOW_S });
      const page = await get<Page<Window>>(`/v1/traffic/windows${where}${ids}`);
      if (!isNewest()) return;
      this.diagram.draw(corridor, page.items, fromMs, toMs, WINDOW_S, this.app.theme);
      setText(this.status, `${count(corridor.reduce((sum, s) => sum + s.length_m, 0))} m`);
    } catch (error) {
      setText(this.status, error instanceof Error ? error.message : String(error));
    }
  }

  private async readSegment(): Promise<void> {
    const id = this.road.value;
    const segment = this.app.roads.segments.get(id);
    if (!segment) return;
    interface Row { sampled_at: string; window_s: number; speed_mps?: number; flow_vph?: number }
    const from = iso(this.nowMs - Number(this.span.value) * 60_000);
    const isNewest = this.orders.segment.begin();
    const page = await get<Page<Row>>(`/v1/traffic/segments/${part(id)}/history${this.app.where({ from, limit: 1000 })}`).catch(() => null);
    if (!isNewest()) return;
    const rows = (page?.items ?? []).filter((row) => row.window_s === 60 || row.window_s === 10).sort((a, b) => (a.sampled_at < b.sampled_at ? -1 : 1));
    const shown = rows.filter((row) => row.window_s === 10);
    if (!shown.length) return this.chart.clear(t("No window of this segment is stored."));
    const usual = await this.typical.of(id, shown.map((row) => ms(row.sampled_at)));
    if (!isNewest()) return;
    const kmh = (values: (number | undefined)[]): (number | null)[] => values.map((value) => (value === undefined ? null : value * 3.6));
    const hasUsual = usual.some((quarter) => quarter !== null);
    const soft = SERIES[this.app.theme][6]!;
    this.chart.draw({
      theme: this.app.theme, height: 230, timesMs: shown.map((row) => ms(row.sampled_at)), unit: "km/h", unit2: "veh/h",
      limits: [{ name: t("speed limit"), value: segment.speed_limit_mps * 3.6 }],
      lines: [
        { name: t("speed"), values: shown.map((row) => (row.speed_mps == null ? null : row.speed_mps * 3.6)), digits: 1 },
        { name: t("flow"), values: shown.map((row) => row.flow_vph ?? null), axis: "y2", width: 1, digits: 0 },
        ...(hasUsual ? [
          { name: t("typical speed"), values: kmh(usual.map((q) => q?.speed_mps)), colour: soft, width: 2, digits: 1 },
          { name: t("8 of 10 days, from"), values: kmh(usual.map((q) => q?.speed_low_mps)), colour: soft, width: 1, dash: [4, 4], digits: 1 },
          { name: t("8 of 10 days, to"), values: kmh(usual.map((q) => q?.speed_high_mps)), colour: soft, width: 1, dash: [4, 4], digits: 1 },
        ] : []),
      ],
    });
  }

  private async readSignals(): Promise<void> {
    const groups = [...this.app.live.signals.keys()].sort().slice(0, 24);
    const [fromMs, toMs] = [this.nowMs - SIGNAL_SPAN_MS, this.nowMs];
    if (!groups.length) return sync(this.signals, signalStrips([], fromMs, toMs, new Map()));
    const ids = groups.map((id) => `&group=${part(id)}`).join("");
    const isNewest = this.orders.signals.begin();
    const [page, completed] = await Promise.all([
      get<Page<Change>>(`/v1/signals/history${this.app.where({ from: iso(fromMs), to: iso(toMs) })}${ids}`).catch(() => null),
      get<Page<Completed>>(`/v1/traffic/segments${this.app.where({ completed: "true" })}`).catch(() => null),
    ]);
    if (!page || !isNewest()) return;
    const states = new Map((completed?.items ?? []).map((state) => [state.segment_id, state]));
    sync(this.signals, signalStrips(page.items, fromMs, toMs, approachesOf(this.app.roads.heads, states)));
  }

  private async readIncidents(): Promise<void> {
    const isNewest = this.orders.incidents.begin();
    const page = await get<Page<Alert>>(`/v1/alerts${this.app.where({ kind: "traffic", limit: 60 })}`).catch(() => null);
    if (!page || !isNewest()) return;
    const open = (alert: Alert): void => {
      this.app.selectAlert(alert.id);
      this.app.showView("alerts");
    };
    const rows = page.items.map((alert) => el("tr", { tabindex: 0, "data-key": alert.id, "data-severity": alert.severity, onclick: () => open(alert), onkeydown: (event: KeyboardEvent) => event.key === "Enter" && open(alert) },
      el("td", {}, el("span", { class: "severity" }, t(alert.severity))), el("td", {}, el("b", {}, t(alert.title)), el("div", { class: "status id" }, whatText(alert))),
      el("td", { class: "time" }, timeText(alert.started_at)), el("td", {}, t(alert.state))));
    sync(this.incidents, ...(rows.length ? rows : [el("tr", { "data-key": "none" }, el("td", { colspan: 4, class: "none" }, t("No incident so far.")))]));
  }

  private chooseSegment(id: string): void {
    this.road.value = id;
    void this.readSegment();
  }

  private drawSlowest(): void {
    const { live, roads } = this.app;
    const found = [...live.segments.values()]
      .filter((state) => state.speed_mps != null && !live.isStaleSegment(state) && roads.segments.get(state.subject_id)?.is_internal === false)
      .map((state) => ({ state, share: state.speed_mps! / roads.segments.get(state.subject_id)!.speed_limit_mps }))
      .sort((a, b) => a.share - b.share).slice(0, 20);
    sync(this.slowest, ...found.map(({ state }) => {
      const id = state.subject_id;
      const choose = (): void => this.chooseSegment(id);
      return el("tr", { tabindex: 0, "data-key": id, onclick: choose, onkeydown: (event: KeyboardEvent) => event.key === "Enter" && choose() },
        el("td", { class: "id" }, roads.segments.get(id)?.name || id), el("td", { class: "number" }, decimal(state.speed_mps! * 3.6, 0)),
        el("td", { class: "number" }, decimal(state.density_vpkm, 1)), el("td", { class: "number" }, count(state.flow_vph)));
    }));
  }
}

const iso = (at: number): string => new Date(at).toISOString();

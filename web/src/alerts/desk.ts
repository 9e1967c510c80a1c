// The alert desk: every alert of the zone, open or over, by filters; one of them in full.

import type { App, View } from "../app";
import { get, query } from "../lib/api";
import { el, setText, sync } from "../lib/dom";
import { throttled } from "../lib/events";
import { ms, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import { SEVERITIES, type Alert, type Page } from "../lib/types";
import { AlertDetail } from "./detail";
import { byUrgency, originBadge, whatText } from "./words";

const PAGE = 200;
const MOST_AT_ONCE = 1000; // the service gives no more
const KINDS = ["traffic", "battery", "data", "security", "platform"];
const THIS_ZONE = "this zone";
const OTHER_ZONES_EVERY_MS = 5000; // the stream tells of one zone only
const STATES = ["open", "active", "recovering", "cleared", "historical"];

interface Doing {
  onChanged: (alert: Alert) => void;
  onPlace: (alert: Alert) => void;
  onVehicle: (alert: Alert) => void;
}

export class AlertDesk implements View {
  readonly id = "alerts";
  readonly element = el("section", { class: "desk", "aria-label": t("Alert desk") });
  private readonly detail: AlertDetail;
  private readonly rows = el("tbody");
  private readonly status = el("span", { class: "status", role: "status" });
  private readonly more = el("button", { type: "button", class: "small", hidden: true, onclick: () => void this.read(this.cursor) }, t("Older"));
  private cursor: string | null = null;
  private found: Alert[] = [];
  private foundBy = ""; // the filters
  private readonly order = new Order();
  private isShown = false;
  private hasRead = false;
  private readonly state = this.select("state", STATES, "open");
  private readonly zones = this.select("zone", [THIS_ZONE], THIS_ZONE);
  private readonly kind = this.select("kind", KINDS);
  private readonly severity = this.select("severity", [...SEVERITIES]);
  private readonly owner = this.select("owner", ["nobody", "somebody"]);
  private readonly text = el("input", { type: "search", placeholder: t("subject, rule, road"), "aria-label": t("Filter by text"), oninput: () => this.render() });
  private readonly reread = throttled(400, () => this.isShown && void this.readAgain());

  constructor(
    private readonly app: App,
    doing: Doing,
  ) {
    this.detail = new AlertDetail(app, {
      ...doing,
      onChanged: (alert) => {
        doing.onChanged(alert);
        this.reread(); // of another zone's alert the stream does not tell
      },
    });
    const head = ["Severity", "Alert", "Subject", "Started (UTC)", "State", "Owner"].map((name) => el("th", { scope: "col" }, t(name)));
    this.element.append(
      el("div", { class: "desk-list" },
        el("form", { class: "filters", onsubmit: (event: Event) => event.preventDefault() }, this.zones, this.state, this.kind, this.severity, this.owner, this.text, this.status),
        el("div", { class: "scroll" }, el("table", { class: "grid" }, el("thead", {}, el("tr", {}, ...head)), this.rows), this.more)),
      this.detail.element);
    app.live.on("alerts", this.reread);
    setInterval(() => this.isShown && this.ofAllZones && !document.hidden && void this.readAgain(), OTHER_ZONES_EVERY_MS);
    app.on("select", () => this.select_());
    app.on("run", () => {
      this.order.forget();
      this.select_(); // the link may name one; who works on it keeps it
      this.reread();
    });
  }

  private get ofAllZones(): boolean {
    return this.zones.value !== THIS_ZONE;
  }

  private select(name: string, values: string[], chosen = ""): HTMLSelectElement {
    const select = el("select", { "aria-label": t(name), "data-filter": name, onchange: () => void this.read(null) },
      el("option", { value: "" }, `${t(name)}: ${t("all")}`), ...values.map((value) => el("option", { value }, t(value))));
    select.value = chosen;
    return select;
  }

  show(): void {
    this.isShown = true;
    void this.read(null);
    this.select_();
  }

  hide(): void {
    this.isShown = false;
  }

  private select_(): void {
    if (!this.isShown) return;
    if (this.app.alertId) void this.detail.load(this.app.alertId);
    else this.detail.showNothing();
    this.render();
  }

  /** What is listed, as it stands now; older pages that somebody has asked for stay. */
  private readAgain(): Promise<void> {
    return this.read(null, Math.min(MOST_AT_ONCE, Math.max(PAGE, this.found.length)));
  }

  private async read(cursor: string | null, limit = PAGE): Promise<void> {
    const { zone, runId } = this.app;
    if (!zone || !runId) return;
    const by = { ...(this.ofAllZones ? {} : { zone, run: runId }), state: this.state.value, kind: this.kind.value, severity: this.severity.value };
    const filters = query(by);
    const isNewest = this.order.begin();
    try {
      const page = await get<Page<Alert>>(`/v1/alerts${query({ ...by, limit, cursor })}`);
      if (!isNewest()) return;
      this.hasRead = true;
      const isSame = filters === this.foundBy;
      const below = isSame && !cursor && limit > PAGE && page.next_cursor ? olderThan(page.items, this.found) : [];
      this.found = cursor && isSame ? [...this.found, ...page.items] : [...page.items, ...below];
      this.foundBy = filters;
      if (!below.length) this.cursor = page.next_cursor; // else it is the one behind them
      this.more.hidden = !this.cursor;
      this.render();
    } catch (error) {
      setText(this.status, error instanceof Error ? error.message : String(error));
    }
    if (this.detail.shownId && this.detail.shownId === this.app.alertId) void this.detail.load(this.app.alertId);
  }

  private render(): void {
    const wanted = this.text.value.toLowerCase();
    const owned = this.owner.value;
    const shown = this.found.filter((alert) => {
      const words = `${alert.subject_id} ${alert.rule} ${alert.title} ${alert.segment_id ?? ""} ${alert.assigned_to ?? ""} ${alert.zone}`.toLowerCase();
      const hasOwner = Boolean(alert.acknowledged_by || alert.assigned_to);
      return words.includes(wanted) && (!owned || hasOwner === (owned === "somebody"));
    });
    if (this.state.value === "open") shown.sort(byUrgency(Date.now()));
    if (this.hasRead) setText(this.status, t("{n} alerts", { n: shown.length }));
    const none = el("tr", { "data-key": "none" }, el("td", { colspan: 6, class: "none" }, this.hasRead ? t("No alert fits these filters.") : "…"));
    sync(this.rows, ...(shown.length ? shown.map((alert) => this.row(alert)) : [none]));
  }

  private row(alert: Alert): HTMLElement {
    const open = (): void => this.app.selectAlert(alert.id);
    const folded = alert.folded_into ? ` ${t("(in a storm)")}` : "";
    return el("tr", {
      "data-severity": alert.severity, "data-alert": alert.id, "data-key": alert.id, class: alert.id === this.app.alertId ? "chosen" : "", tabindex: 0,
      onclick: open, onkeydown: (event: KeyboardEvent) => event.key === "Enter" && open(),
    },
      el("td", {}, el("span", { class: "severity" }, t(alert.severity))),
      el("td", {}, el("b", {}, t(alert.title)), folded, originBadge(alert.origin)),
      el("td", { class: "id" }, whatText(alert), this.ofAllZones ? el("div", { class: "status" }, alert.zone) : null),
      el("td", { class: "time" }, timeText(alert.started_at)),
      el("td", {}, t(alert.state)),
      el("td", {}, [alert.assigned_to, alert.acknowledged_by && `✓ ${alert.acknowledged_by}`].filter(Boolean).join(" ")));
  }
}

/** Those that were listed below the last of a page: the newest stand first. */
function olderThan(page: readonly Alert[], listed: readonly Alert[]): Alert[] {
  const last = ms(page.at(-1)?.started_at);
  const known = new Set(page.map((alert) => alert.id));
  return listed.filter((alert) => ms(alert.started_at) <= last && !known.has(alert.id));
}

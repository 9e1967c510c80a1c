// One alert in full: evidence, place, what to do, history of who did what, and what can be done.

import type { App } from "../app";
import { get, part } from "../lib/api";
import { Chart } from "../lib/chart";
import { el, setText, sync, type Child } from "../lib/dom";
import { duration, fieldName, fieldValue, ms, timeText } from "../lib/format";
import { language, t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Action, Alert } from "../lib/types";
import { AlertActions } from "./actions";
import { caseSection } from "./case";
import { evidenceOf } from "./evidence";
import { saidText } from "./said";
import { originBadge, whatText, whereText } from "./words";

const CHART_PX = 230;
const CHART_EVERY_MS = 10_000; // of zone time, while the alert is open

interface Doing {
  onChanged: (alert: Alert) => void;
  onPlace: (alert: Alert) => void;
  onVehicle: (alert: Alert) => void;
}

export class AlertDetail {
  readonly element = el("article", { class: "detail" });
  private alert: Alert | null = null;
  private actions: AlertActions | null = null;
  private readonly order = new Order();
  private readonly chart = new Chart();
  private chartKey = "";
  private readonly header = el("header");
  private readonly advice = el("p");
  private readonly said = el("p");
  private readonly facts = el("dl", { class: "facts" });
  private readonly history = el("ol");

  constructor(
    private readonly app: App,
    private readonly doing: Doing,
  ) {
    app.on("theme", () => this.drawChart(true));
    this.showNothing();
  }

  get shownId(): string {
    return this.alert?.id ?? "";
  }

  showNothing(): void {
    this.alert = this.actions = null;
    this.order.forget();
    sync(this.element, el("p", { class: "none" }, t("Choose an alert to see its evidence.")));
  }

  /** Load an alert with its history and show it. */
  async load(id: string): Promise<void> {
    const isNewest = this.order.begin();
    try {
      const alert = await get<Alert>(`/v1/alerts/${part(id)}`);
      if (id === this.app.alertId && isNewest()) this.show(alert);
    } catch (error) {
      if (id === this.app.alertId && isNewest()) this.fail(id, error instanceof Error ? error.message : String(error));
    }
  }

  // What is shown stays: the service may answer again in a moment, and somebody may be typing.
  private fail(id: string, text: string): void {
    if (this.actions && this.shownId === id) return setText(this.actions.problem, text);
    this.alert = this.actions = null;
    sync(this.element, el("p", { class: "failed" }, text));
  }

  private show(alert: Alert): void {
    const isOther = alert.id !== this.shownId;
    this.alert = alert;
    if (isOther) this.build(alert);
    this.actions?.take(alert);
    sync(this.header,
      el("div", { class: "top" }, el("h2", {}, t(alert.title)), el("span", { class: "severity" }, t(alert.severity)),
        el("span", { class: "state" }, t(alert.state)), originBadge(alert.origin)),
      el("p", { class: "what" }, whatText(alert), " · ", alert.zone, whereText(alert) ? ` · ${whereText(alert)}` : ""));
    this.header.dataset.severity = alert.severity;
    sync(this.advice, t(alert.advice), actionAsked(alert));
    setText(this.said, saidText(alert));
    sync(this.facts, ...facts(alert));
    sync(this.history, ...timeline(alert));
    this.drawChart(false);
  }

  // The elements of one alert: they stay until another one is chosen.
  private build(alert: Alert): void {
    const { id, subject_type: type } = alert;
    this.actions = new AlertActions(id, type === "vehicle", {
      onDone: (changed) => {
        this.doing.onChanged(changed);
        if (id === this.shownId) void this.load(id);
      },
      onPlace: () => this.doing.onPlace(this.alert ?? alert),
      onVehicle: () => this.doing.onVehicle(this.alert ?? alert),
    });
    this.element.replaceChildren(this.header,
      el("div", { class: "advice" }, el("b", {}, t("What to do")), this.advice),
      this.actions.element, this.actions.problem,
      el("div", { class: "evidence" }, el("h3", {}, t("Evidence")), this.said, this.chart.element, this.facts),
      alert.kind === "battery" ? caseSection(alert) : el("span"),
      el("div", { class: "history" }, el("h3", {}, t("History")), this.history));
    this.element.scrollTop = 0;
    this.chart.clear("…");
    this.chartKey = "";
  }

  private drawChart(isForced: boolean): void {
    const alert = this.alert;
    if (!alert) return;
    const since = alert.is_open ? Math.floor(this.app.live.zoneTimeMs / CHART_EVERY_MS) : 0;
    const key = `${alert.id} ${alert.state} ${alert.severity} ${since}`;
    if (key === this.chartKey && !isForced) return;
    this.chartKey = key;
    evidenceOf(alert, this.app).then(
      (spec) => {
        if (key !== this.chartKey) return;
        if (spec) this.chart.draw({ theme: this.app.theme, height: CHART_PX, ...spec });
        else this.chart.clear(t("No stored series speaks for this rule; its values are below."));
      },
      () => {
        if (key !== this.chartKey) return;
        this.chartKey = ""; // read again with the next look
        this.chart.clear(t("The series could not be read."));
      },
    );
  }
}

function facts(alert: Alert): Child[] {
  const { text: _text, action_text: _action, action_within_days: _days, ...values } = alert.evidence;
  const row = (key: string, name: string, value: string): HTMLElement => el("div", { "data-key": key }, el("dt", {}, name), el("dd", {}, value));
  const known = Object.entries(values).filter(([, value]) => value !== null);
  return [
    ...known.map(([name, value]) => row(name, fieldName(name), fieldValue(value))),
    row("of rule", t("rule"), alert.rule),
    row("of confidence", t("confidence"), `${Math.round(alert.confidence * 100)} %`),
    row("of start", t("started (UTC)"), timeText(alert.started_at)),
    row("of detection", t("detected (UTC)"), timeText(alert.detected_at)),
    alert.cleared_at ? row("of end", t("lasted"), duration((ms(alert.cleared_at) - ms(alert.started_at)) / 1000)) : null,
  ];
}

/** What a battery rule asks for, and by when. */
function actionAsked({ evidence }: Alert): HTMLElement | null {
  const { action_text: text, action_within_days: days } = evidence;
  if (typeof text !== "string") return null;
  if (language !== "zh" || typeof days !== "number") return el("strong", { class: "asked" }, text);
  return el("strong", { class: "asked" }, days ? t("Workshop within {n} days.", { n: days }) : t("Stop, leave the car. Keep 15 m away and call the fire brigade."));
}

interface Entry {
  at: string;
  who: string;
  what: string;
}

function timeline(alert: Alert): HTMLElement[] {
  const events = (alert.events ?? []).map((event): Entry => ({
    at: event.stored_at, who: alert.rule, what: `${t(event.change)} (${t(event.severity)}, ${timeText(event.at).slice(11)} ${t("zone time")})`,
  }));
  const actions = (alert.actions ?? []).map((action): Entry => ({ at: action.at, who: action.who, what: actionText(action) }));
  const entries = [...events, ...actions].sort((a, b) => (a.at < b.at ? 1 : -1));
  return entries.map(({ at, who, what }) =>
    el("li", { "data-key": `${at} ${who} ${what}` }, el("time", {}, timeText(at).slice(5)), el("b", {}, who), el("span", {}, what)));
}

function actionText({ action, detail }: Action): string {
  if (action === "assign") return `${t("assigned to")} ${fieldValue(detail.to)}`;
  if (action === "note") return `“${fieldValue(detail.text)}”`;
  if (action === "snooze") return `${t("snoozed until")} ${fieldValue(detail.until_at)}`;
  if (action === "clear") return `${t("cleared by hand")}${detail.note ? `: ${fieldValue(detail.note)}` : ""}`;
  return t("acknowledged");
}

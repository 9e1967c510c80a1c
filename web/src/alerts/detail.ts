// One alert in full: evidence, place, what to do, history of who did what, and what can be done.

import type { App } from "../app";
import { get, part, post } from "../lib/api";
import { Chart } from "../lib/chart";
import { el } from "../lib/dom";
import { duration, fieldName, fieldValue, ms, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import type { Action, Alert } from "../lib/types";
import { caseSection } from "./case";
import { evidenceOf } from "./evidence";
import { originBadge, whatText, whereText } from "./words";

const CHART_PX = 230;
const SNOOZES: [number, string][] = [[15, "15 min"], [60, "1 h"], [480, "8 h"]];

interface Doing {
  onChanged: (alert: Alert) => void;
  onPlace: (alert: Alert) => void;
  onVehicle: (id: string) => void;
}

export class AlertDetail {
  readonly element = el("article", { class: "detail" });
  private alert: Alert | null = null;
  private readonly chart = new Chart();
  private chartKey = "";
  private shownText = "";
  private case: HTMLElement = el("span");
  private readonly problem = el("p", { class: "failed", role: "alert" });

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
    this.alert = null;
    this.shownText = "";
    this.element.replaceChildren(el("p", { class: "none" }, t("Choose an alert to see its evidence.")));
  }

  /** Load an alert with its history and show it. */
  async load(id: string): Promise<void> {
    try {
      const alert = await get<Alert>(`/v1/alerts/${part(id)}`);
      if (id === this.app.alertId) this.show(alert);
    } catch (error) {
      this.element.replaceChildren(el("p", { class: "failed" }, error instanceof Error ? error.message : String(error)));
    }
  }

  // An alert changes each second while somebody types a note about it: what is typed stays, and
  // where the cursor was it is again.
  private show(alert: Alert): void {
    const text = JSON.stringify(alert);
    if (text === this.shownText) return;
    const isSame = alert.id === this.alert?.id;
    const typed = new Map<string, string>();
    for (const form of this.element.querySelectorAll<HTMLFormElement>("form.ask")) typed.set(form.dataset.act ?? "", form.querySelector("input")?.value ?? "");
    const focused = document.activeElement?.closest<HTMLElement>("form.ask")?.dataset.act;
    this.shownText = text;
    this.render(alert, isSame);
    if (!isSame) return;
    for (const [action, value] of typed) {
      const input = this.element.querySelector<HTMLInputElement>(`form.ask[data-act="${action}"] input`);
      if (!input) continue;
      if (value) input.value = value;
      if (action === focused) input.focus();
    }
  }

  private render(alert: Alert, isSame: boolean): void {
    this.alert = alert;
    if (!isSame) {
      this.problem.replaceChildren();
      this.case = alert.kind === "battery" ? caseSection(alert) : el("span");
    }
    const said = typeof alert.evidence.text === "string" ? alert.evidence.text : "";
    this.element.replaceChildren(
      el("header", { "data-severity": alert.severity },
        el("div", { class: "top" }, el("h2", {}, t(alert.title)), el("span", { class: "severity" }, t(alert.severity)),
          el("span", { class: "state" }, t(alert.state)), originBadge(alert.origin)),
        el("p", { class: "what" }, whatText(alert), " · ", alert.zone, whereText(alert) ? ` · ${whereText(alert)}` : "")),
      el("div", { class: "advice" }, el("b", {}, t("What to do")), el("p", {}, t(alert.advice))),
      this.buttons(alert), this.problem,
      el("div", { class: "evidence" }, el("h3", {}, t("Evidence")), said ? el("p", {}, said) : null, this.chart.element, facts(alert)),
      this.case,
      el("div", { class: "history" }, el("h3", {}, t("History")), timeline(alert)),
    );
    this.drawChart(false);
  }

  private drawChart(isForced: boolean): void {
    const alert = this.alert;
    if (!alert) return;
    const key = `${alert.id} ${alert.state} ${alert.severity}`;
    if (key === this.chartKey && !isForced) return;
    this.chartKey = key;
    evidenceOf(alert, this.app).then(
      (spec) => {
        if (alert !== this.alert) return;
        if (spec) this.chart.draw({ theme: this.app.theme, height: CHART_PX, ...spec });
        else this.chart.clear(t("No stored series speaks for this rule; its values are below."));
      },
      () => this.chart.clear(t("The series could not be read.")),
    );
  }

  private buttons(alert: Alert): HTMLElement {
    const act = (name: string, text: string, run: () => void, isOff = false): HTMLElement =>
      el("button", { type: "button", class: "small", "data-act": name, disabled: isOff, onclick: run }, text);
    const snooze = el("select", { "aria-label": t("Snooze"), onchange: (event: Event) => this.snooze(Number((event.target as HTMLSelectElement).value)) },
      el("option", { value: "" }, t("Snooze")), ...SNOOZES.map(([minutes, name]) => el("option", { value: minutes }, name)));
    return el("div", { class: "buttons" },
      act("ack", alert.acknowledged_by ? `✓ ${alert.acknowledged_by}` : t("Acknowledge"), () => void this.act("ack", {}), Boolean(alert.acknowledged_by)),
      this.ask("assign", t("Assign to"), alert.assigned_to ?? "", (to) => ({ to })),
      this.ask("note", t("Note"), "", (text) => ({ text })),
      snooze,
      alert.is_open ? this.ask("clear", t("Clear, because"), "", (note) => ({ note })) : null,
      act("place", t("Show on map"), () => this.doing.onPlace(alert)),
      alert.subject_type === "vehicle" ? act("vehicle", t("Vehicle"), () => this.doing.onVehicle(alert.subject_id)) : null);
  }

  // A field and its button in one form: Enter sends, nothing pops up.
  private ask(action: string, name: string, value: string, body: (text: string) => unknown): HTMLElement {
    const input = el("input", { value, placeholder: name, "aria-label": name, maxlength: action === "assign" ? 100 : 2000, required: true });
    const form = el("form", { class: "ask", "data-act": action }, input, el("button", { type: "submit", class: "small" }, t(action)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value;
      if (action === "note") input.value = "";
      void this.act(action, body(text));
    });
    return form;
  }

  private snooze(minutes: number): void {
    if (minutes) void this.act("snooze", { until_at: new Date(Date.now() + minutes * 60_000).toISOString() });
  }

  private async act(action: string, body: unknown): Promise<void> {
    const alert = this.alert;
    if (!alert) return;
    try {
      this.doing.onChanged(await post<Alert>(`/v1/alerts/${part(alert.id)}/${action}`, body));
      await this.load(alert.id);
    } catch (error) {
      this.problem.replaceChildren(error instanceof Error ? error.message : String(error));
    }
  }
}

function facts(alert: Alert): HTMLElement {
  const { text: _text, ...values } = alert.evidence;
  const row = (name: string, value: string): HTMLElement => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  const known = Object.entries(values).filter(([, value]) => value !== null);
  return el("dl", { class: "facts" },
    ...known.map(([name, value]) => row(fieldName(name), fieldValue(value))),
    row(t("rule"), alert.rule),
    row(t("confidence"), `${Math.round(alert.confidence * 100)} %`),
    row(t("started (UTC)"), timeText(alert.started_at)),
    row(t("detected (UTC)"), timeText(alert.detected_at)),
    alert.cleared_at ? row(t("lasted"), duration((ms(alert.cleared_at) - ms(alert.started_at)) / 1000)) : null);
}

interface Entry {
  at: string;
  who: string;
  what: string;
}

function timeline(alert: Alert): HTMLElement {
  const events = (alert.events ?? []).map((event): Entry => ({
    at: event.stored_at, who: alert.rule, what: `${t(event.change)} (${t(event.severity)}, ${timeText(event.at).slice(11)} ${t("zone time")})`,
  }));
  const actions = (alert.actions ?? []).map((action): Entry => ({ at: action.at, who: action.who, what: actionText(action) }));
  const entries = [...events, ...actions].sort((a, b) => (a.at < b.at ? 1 : -1));
  return el("ol", {}, ...entries.map(({ at, who, what }) =>
    el("li", {}, el("time", {}, timeText(at).slice(5)), el("b", {}, who), el("span", {}, what))));
}

function actionText({ action, detail }: Action): string {
  if (action === "assign") return `${t("assigned to")} ${fieldValue(detail.to)}`;
  if (action === "note") return `“${fieldValue(detail.text)}”`;
  if (action === "snooze") return `${t("snoozed until")} ${fieldValue(detail.until_at)}`;
  if (action === "clear") return `${t("cleared by hand")}${detail.note ? `: ${fieldValue(detail.note)}` : ""}`;
  return t("acknowledged");
}

// The list of open alerts beside every view: worst and newest first, acknowledge, open on a click.

import type { App } from "../app";
import { post, part } from "../lib/api";
import { el, morph, setText, sync } from "../lib/dom";
import { throttled } from "../lib/events";
import { timeText } from "../lib/format";
import { t } from "../lib/i18n";
import type { Alert } from "../lib/types";
import { Notice } from "./notice";
import { saidText } from "./said";
import { byUrgency, isOverdue, isSnoozed, originBadge, sinceText, whatText, whereText } from "./words";

const NEW_MS = 1600;
const MOST_SHOWN = 150;
const RENDER_MS = 80;

export class AlertPanel {
  readonly notice: Notice;
  private readonly list = el("ol", { id: "alerts" });
  private readonly count = el("span", { id: "alert-count", class: "count" }, "0");
  private readonly more = el("p", { class: "none", hidden: true });
  private readonly errors = new Map<string, string>();
  private readonly asked = new Set<string>(); // acknowledged, not yet answered
  private readonly arrived = new Map<string, number>();
  private readonly rows = new Map<string, { text: string; element: HTMLElement }>();
  private readonly render = throttled(RENDER_MS, () => this.draw());

  constructor(
    root: HTMLElement,
    private readonly app: App,
    private readonly onOpen: (alert: Alert) => void,
  ) {
    this.notice = new Notice(app);
    root.setAttribute("aria-label", t("Open alerts"));
    root.append(el("h2", {}, t("Open alerts"), this.count, el("span", { class: "grow" }), this.notice.button), this.list, this.more);
    app.live.on("alerts", this.render);
    app.live.on("time", () => this.showAges());
    app.on("select", this.render);
    app.on("run", this.render);
    this.draw();
  }

  /** One changed alert of the stream. */
  take(alert: Alert): void {
    if (!this.app.live.alerts.has(alert.id) && alert.is_open) this.arrived.set(alert.id, Date.now());
    if (!alert.is_open) this.arrived.delete(alert.id);
    this.app.live.takeAlert(alert);
    this.notice.take(this.app.live.alerts.get(alert.id) ?? alert);
  }

  private draw(): void {
    const nowMs = Date.now();
    const all = this.app.live.speaking.sort(byUrgency(nowMs));
    const shown = all.slice(0, MOST_SHOWN);
    setText(this.count, String(all.length));
    const elements = shown.map((alert) => this.row(alert, nowMs));
    const known = new Set(shown.map((alert) => alert.id));
    for (const id of this.rows.keys()) if (!known.has(id)) this.rows.delete(id);
    // Before the service has said anything, nobody may read that all is well.
    const none = el("li", { class: "none", "data-key": "none" }, this.app.runId ? t("Nothing is wrong right now.") : t("connecting"));
    sync(this.list, ...(all.length ? elements : [none]));
    this.more.hidden = all.length <= MOST_SHOWN;
    setText(this.more, t("{n} more in the alert desk", { n: all.length - MOST_SHOWN }));
  }

  // A row is changed only when something in it did, and stays the same element: whoever has pressed a
  // button in it still hits it.
  private row(alert: Alert, nowMs: number): HTMLElement {
    const isNew = nowMs - (this.arrived.get(alert.id) ?? 0) < NEW_MS;
    const selected = alert.id === this.app.alertId;
    const text = JSON.stringify([alert, selected, this.errors.get(alert.id), this.asked.has(alert.id), isOverdue(alert, this.app.live.zoneTimeMs, nowMs), isSnoozed(alert, nowMs)]);
    const known = this.rows.get(alert.id);
    if (known && known.text === text) {
      known.element.classList.toggle("is-new", isNew);
      return known.element;
    }
    const fresh = this.item(alert, nowMs, selected, isNew);
    if (known) morph(known.element, fresh);
    const element = known?.element ?? fresh;
    this.rows.set(alert.id, { text, element });
    return element;
  }

  private item(alert: Alert, nowMs: number, selected: boolean, isNew: boolean): HTMLElement {
    const overdue = isOverdue(alert, this.app.live.zoneTimeMs, nowMs);
    const text = saidText(alert);
    const classes = ["alert", selected && "open", isNew && "is-new", overdue && "overdue", isSnoozed(alert, nowMs) && "snoozed"];
    const title = el("button", {
      type: "button", class: "title", "aria-pressed": String(selected), onclick: () => this.onOpen(this.app.live.alerts.get(alert.id) ?? alert),
    }, t(alert.title));
    return el("li", { class: classes.filter(Boolean).join(" "), "data-severity": alert.severity, "data-alert": alert.id, "data-key": alert.id },
      el("div", { class: "top" }, title, el("span", { class: "severity" }, overdue ? `${t(alert.severity)} · ${t("nobody acts")}` : t(alert.severity))),
      el("div", { class: "what" }, el("span", {}, whatText(alert)), originBadge(alert.origin)),
      el("div", { class: "where" }, whereText(alert)),
      text ? el("div", { class: "evidence-text" }, text) : null,
      el("div", { class: "foot" },
        el("span", { class: "since", "data-started-at": alert.started_at }, sinceText(alert.started_at, this.app.live.zoneTimeMs)),
        isSnoozed(alert, nowMs) ? el("span", { class: "assigned", title: timeText(alert.snoozed_until_at) }, t("snoozed")) : null,
        alert.assigned_to ? el("span", { class: "assigned" }, `→ ${alert.assigned_to}`) : null,
        this.acknowledgement(alert)),
      this.errors.has(alert.id) ? el("div", { class: "failed" }, this.errors.get(alert.id)) : null);
  }

  private acknowledgement(alert: Alert): HTMLElement {
    if (alert.acknowledged_by) {
      return el("span", { class: "acked", title: `${t("Acknowledged")} ${timeText(alert.acknowledged_at)} UTC` }, `✓ ${alert.acknowledged_by}`);
    }
    return el("button", {
      type: "button", class: "ack", disabled: this.asked.has(alert.id), "aria-label": `${t("Acknowledge")} ${t(alert.title)}`,
      onclick: () => void this.acknowledge(alert.id),
    }, t("Acknowledge"));
  }

  private async acknowledge(id: string): Promise<void> {
    this.asked.add(id);
    this.errors.delete(id);
    this.draw();
    try {
      const alert = await post<Alert>(`/v1/alerts/${part(id)}/ack`);
      if (this.app.isOfRun(alert)) this.take(alert); // meanwhile another zone may be shown
    } catch (error) {
      this.errors.set(id, error instanceof Error ? error.message : String(error));
    }
    this.asked.delete(id);
    this.render();
  }

  private overdueText = "";
  private showAges(): void {
    const { zoneTimeMs } = this.app.live;
    for (const element of this.list.querySelectorAll<HTMLElement>(".since")) {
      setText(element, sinceText(element.dataset.startedAt ?? "", zoneTimeMs));
    }
    const overdue = this.app.live.speaking.filter((alert) => isOverdue(alert, zoneTimeMs, Date.now())).map((a) => a.id).join();
    if (overdue !== this.overdueText) this.render();
    this.overdueText = overdue;
  }
}

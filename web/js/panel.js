// The list of open alerts: worst and newest first, acknowledge, evidence on a click.

import { post } from "./api.js";
import { ageText, byId, el, timeText } from "./dom.js";

const RANK = { critical: 3, serious: 2, warning: 1, info: 0 };
const NEW_MS = 1600;

export class AlertPanel {
  constructor({ onSelect, onChange }) {
    Object.assign(this, { onSelect, onChange });
    this.list = byId("alerts");
    this.alerts = new Map();
    this.errors = new Map();
    this.selected = null;
    this.zoneTime = null;
  }

  /** Start from a snapshot. */
  replace(alerts) {
    this.alerts = new Map(alerts.map((alert) => [alert.id, alert]));
    if (!this.alerts.has(this.selected)) this.selected = null;
    this.render();
  }

  /** Take one changed alert; what an event leaves out (who acknowledged) stays as it was. */
  take(alert) {
    const known = this.alerts.get(alert.id);
    if (!alert.is_open) this.alerts.delete(alert.id);
    else this.alerts.set(alert.id, { arrivedMs: Date.now(), ...known, ...alert });
    this.render();
  }

  /** Alerts that speak for themselves (others are folded into a storm's), worst first. */
  get shown() {
    const open = [...this.alerts.values()].filter((alert) => !alert.folded_into);
    return open.sort(
      (a, b) =>
        Boolean(a.acknowledged_by) - Boolean(b.acknowledged_by) ||
        RANK[b.severity] - RANK[a.severity] ||
        (a.started_at < b.started_at ? 1 : -1),
    );
  }

  select(id) {
    this.selected = this.selected === id ? null : id;
    this.render();
    this.list.querySelector(".alert.open")?.scrollIntoView({ block: "nearest" });
    this.onSelect(this.alerts.get(this.selected) ?? null);
  }

  setZoneTime(iso) {
    this.zoneTime = iso;
    for (const element of this.list.querySelectorAll(".since")) {
      element.textContent = sinceText(element.dataset.startedAt, iso);
    }
  }

  render() {
    const shown = this.shown;
    byId("alert-count").textContent = String(shown.length);
    const focused = document.activeElement?.dataset?.focus;
    this.list.replaceChildren(...shown.map((alert) => this.item(alert)));
    if (!shown.length) this.list.append(el("li", { class: "none" }, "Nothing is wrong right now."));
    if (focused) this.list.querySelector(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
    this.onChange(shown, this.selected);
  }

  item(alert) {
    const isOpen = alert.id === this.selected;
    const isNew = Date.now() - (alert.arrivedMs ?? 0) < NEW_MS;
    const toggle = el(
      "button",
      {
        type: "button",
        class: "title",
        "aria-expanded": String(isOpen),
        "data-focus": `title ${alert.id}`,
        onclick: () => this.select(alert.id),
      },
      alert.title,
    );
    return el(
      "li",
      {
        class: `alert${isOpen ? " open" : ""}${isNew ? " is-new" : ""}`,
        "data-severity": alert.severity,
        "data-alert": alert.id,
      },
      el("div", { class: "top" }, toggle, el("span", { class: "severity" }, alert.severity)),
      el("div", { class: "what" }, el("span", {}, whatText(alert)), originBadge(alert.origin)),
      el("div", { class: "where" }, whereText(alert)),
      el(
        "div",
        { class: "foot" },
        el(
          "span",
          { class: "since", "data-started-at": alert.started_at },
          sinceText(alert.started_at, this.zoneTime),
        ),
        this.acknowledgement(alert),
      ),
      this.errors.has(alert.id) ? el("div", { class: "failed" }, this.errors.get(alert.id)) : null,
      isOpen ? evidence(alert) : null,
    );
  }

  acknowledgement(alert) {
    if (alert.acknowledged_by) {
      const title = `Acknowledged ${timeText(alert.acknowledged_at)} UTC`;
      return el("span", { class: "acked", title }, `✓ ${alert.acknowledged_by}`);
    }
    return el(
      "button",
      {
        type: "button",
        class: "ack",
        "data-focus": `ack ${alert.id}`,
        "aria-label": `Acknowledge ${alert.title}`,
        onclick: (event) => this.acknowledge(alert.id, event.currentTarget),
      },
      "Acknowledge",
    );
  }

  async acknowledge(id, button) {
    button.disabled = true;
    this.errors.delete(id);
    try {
      this.take(await post(`/v1/alerts/${encodeURIComponent(id)}/ack`));
    } catch (error) {
      this.errors.set(id, error.message);
      this.render();
    }
  }
}

// A badge for anything that did not happen in the world just now.
function originBadge(origin) {
  return !origin || origin === "live" ? null : el("span", { class: "badge" }, origin);
}

function whatText(alert) {
  const subject = `${alert.subject_type} ${alert.subject_id}`;
  return alert.component ? `${subject}, ${alert.component.replace(":", " ")}` : subject;
}

function whereText(alert) {
  const parts = [];
  if (alert.segment_id && alert.segment_id !== alert.subject_id) parts.push(`on ${alert.segment_id}`);
  if (alert.lat_deg !== null) parts.push(`${alert.lat_deg.toFixed(5)}, ${alert.lon_deg.toFixed(5)}`);
  if (alert.is_unknown) parts.push("silent: state unknown");
  return parts.join(" · ");
}

function sinceText(startedAt, zoneTime) {
  const age = zoneTime ? ageText(startedAt, zoneTime) : "";
  const time = startedAt.slice(11, 19);
  return age ? `since ${time} (${age})` : `since ${time}`;
}

function evidence(alert) {
  const { text, ...values } = alert.evidence;
  const known = Object.entries(values).filter(([, value]) => value !== null);
  const row = (name, value) => el("div", {}, el("dt", {}, name), el("dd", {}, value));
  const rows = known.map(([name, value]) => row(nameText(name), valueText(value)));
  return el(
    "dl",
    { class: "evidence" },
    text ? el("p", {}, text) : null,
    ...rows,
    row("rule", alert.rule),
    row("started (UTC)", timeText(alert.started_at)),
    alert.advice ? el("p", {}, alert.advice) : null,
  );
}

const UNITS = {
  mps2: "m/s²", mps: "m/s", kmh: "km/h", degc: "°C", ohm: "Ω", vpkm: "veh/km", vph: "veh/h",
  kps: "K/s", ratio: "", deg: "°", v: "V", a: "A", m: "m", s: "s", ms: "ms",
};

// `speed_limit_mps` reads as "speed limit (m/s)".
function nameText(name) {
  const words = name.split("_");
  const unit = words.length > 1 ? UNITS[words.at(-1)] : undefined;
  if (unit === undefined) return words.join(" ");
  return words.slice(0, -1).join(" ") + (unit ? ` (${unit})` : "");
}

function valueText(value) {
  if (typeof value === "number") return String(Number(value.toPrecision(6)));
  if (typeof value === "string" && /^\d{4}-\d\d-\d\dT/.test(value)) return timeText(value);
  return typeof value === "object" && value !== null ? JSON.stringify(value) : String(value);
}

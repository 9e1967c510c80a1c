// The strip of key figures.

import { byId, count, decimal, el, short } from "./dom.js";

// Half full: some time is left, and somebody should look.
const FILLING_RATIO = 0.5;
const SUMS = ["sent", "stored", "pending", "missing", "rejected"];

export class Kpis {
  constructor() {
    this.values = {};
    const tiles = [
      ["vehicles", "Vehicles", ""],
      ["speed", "Mean speed", "km/h"],
      ["rate", "Records", "/s"],
      ["alerts", "Open alerts", ""],
      ["latency", "Latency p99", "ms"],
    ].map(([id, name, unit]) => this.tile(id, name, unit));
    const sums = SUMS.map((id) => this.cell(id, id[0].toUpperCase() + id.slice(1)));
    const wide = el("div", { class: "kpi wide", title: "What became of every record sent" },
      el("div", { class: "sums" }, ...sums));
    byId("kpis").replaceChildren(...tiles, wide);
  }

  tile(id, name, unit) {
    const value = el("span", { "data-kpi": id }, "–");
    this.values[id] = value;
    return el("div", { class: "kpi" }, el("div", { class: "name" }, name),
      el("div", { class: "value" }, value, el("span", { class: "unit" }, unit)));
  }

  cell(id, name) {
    this.values[id] = el("div", { class: "value", "data-kpi": id }, "–");
    return el("div", {}, el("div", { class: "name" }, name), this.values[id]);
  }

  set(id, text) {
    this.values[id].textContent = text;
  }

  clear() {
    for (const value of Object.values(this.values)) value.textContent = "–";
  }

  take(kpi) {
    this.set("vehicles", count(kpi.vehicles));
    this.set("speed", decimal(kpi.mean_speed_mps === null ? NaN : kpi.mean_speed_mps * 3.6, 1));
    this.set("rate", count(kpi.records_per_s));
    this.set("latency", count(kpi.latency_p99_ms ?? NaN));
    this.takeSums(kpi.accounting);
    this.takeEdges(kpi.edges ?? []);
  }

  // What holds an edge up shows on what is pending there, before anything is lost.
  takeEdges(edges) {
    const said = edges
      .filter((edge) => edge.problem || edge.is_silent || edge.fill_ratio >= FILLING_RATIO)
      .map((edge) => `${edge.edge_id}: ${edge.is_silent ? "silent" : edge.problem || "filling"}, `
        + `spool ${Math.round(edge.fill_ratio * 100)} % full, ${count(edge.spool_records)} waiting`);
    this.values.pending.classList.toggle("care", said.length > 0);
    if (said.length > 0) this.values.pending.title = said.join("\n");
  }

  takeSums(account) {
    const rejected = Object.values(account.rejected ?? {}).reduce((sum, n) => sum + n, 0);
    const sums = { ...account, rejected: account.rejected ? rejected : NaN };
    for (const id of SUMS) {
      this.set(id, short(sums[id]));
      this.values[id].title = count(sums[id]);
    }
    this.values.missing.classList.toggle("bad", sums.missing > 0);
    this.values.rejected.classList.toggle("care", sums.rejected > 0);
  }

  setAlerts(n) {
    this.set("alerts", count(n));
  }
}

// Which zone and run the page shows; kept in the address, so that a link shows the same.

import { get } from "./api.js";
import { byId, el } from "./dom.js";

const NEWEST = "";

export class Picker {
  constructor(onChoose) {
    this.onChoose = onChoose;
    this.zones = [];
    const wanted = new URLSearchParams(location.hash.slice(1));
    this.zone = wanted.get("zone") ?? "";
    this.run = wanted.get("run") ?? NEWEST;
    byId("zone").addEventListener("change", (event) => this.choose(event.target.value, NEWEST));
    byId("run").addEventListener("change", (event) => this.choose(this.zone, event.target.value));
  }

  /** Ask for zones and runs again; chooses a zone when none is chosen or it is gone. */
  async refresh() {
    this.zones = (await get("/v1/zones")).items;
    const isKnown = this.zones.some(({ zone }) => zone === this.zone);
    if (!isKnown && this.zones.length) this.choose(busiest(this.zones).zone, NEWEST);
    else this.render();
    return this.zones.length;
  }

  choose(zone, run) {
    this.zone = zone;
    this.run = run;
    const wanted = new URLSearchParams({ zone, ...(run && { run }) });
    history.replaceState(null, "", `#${wanted}`);
    this.render();
    this.onChoose(zone, run);
  }

  get facts() {
    return this.zones.find(({ zone }) => zone === this.zone);
  }

  render() {
    fill(byId("zone"), this.zones.map(({ zone }) => [zone, zone]), this.zone);
    const runs = (this.facts?.runs ?? []).map((run) => [run.run_id, runText(run)]);
    fill(byId("run"), [[NEWEST, "newest"], ...runs], this.run);
  }
}

function busiest(zones) {
  const last = (zone) => zone.runs.map((run) => run.last_at ?? "").sort().at(-1) ?? "";
  return zones.find((z) => z.runs.some((run) => run.state === "running")) ??
    zones.toSorted((a, b) => (last(a) < last(b) ? 1 : -1))[0];
}

function runText(run) {
  const name = run.title ? `${run.title} (${run.run_id})` : run.run_id;
  return run.state === "ended" ? `${name}, ended` : name;
}

function fill(select, options, chosen) {
  const wanted = JSON.stringify(options);
  if (select.dataset.options !== wanted) {
    select.replaceChildren(...options.map(([value, text]) => el("option", { value }, text)));
    select.dataset.options = wanted;
  }
  select.value = chosen;
}

// Find a vehicle, a road or a roadside unit by its id.

import type { App } from "../app";
import { get } from "../lib/api";
import { el, sync } from "../lib/dom";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Page, Vehicle } from "../lib/types";

const MOST = 8;
const WAIT_MS = 180;
type Found = { kind: "vehicle" | "road" | "rsu"; id: string; name: string; place: [number, number] | null };

export class Search {
  readonly element = el("div", { class: "search", role: "search" });
  private readonly input = el("input", {
    type: "search", id: "search", placeholder: t("Find a vehicle, road or RSU ( / )"), autocomplete: "off",
    "aria-label": t("Find by id"), role: "combobox", "aria-expanded": "false", "aria-controls": "found", "aria-autocomplete": "list", oninput: () => this.wait(), onkeydown: (event: KeyboardEvent) => this.key(event),
  });
  private readonly list = el("ul", { hidden: true, id: "found", role: "listbox", "aria-label": t("Find by id") });
  private readonly order = new Order();
  private timer = 0;
  private found: Found[] = [];
  private foundBy = ""; // the text they were found by
  private isEnterAsked = false; // before there was an answer to the text
  private at = 0; // which of them Enter takes

  constructor(
    private readonly app: App,
    private readonly onFound: (found: Found) => void,
  ) {
    this.element.append(this.input, this.list);
    this.input.addEventListener("blur", () => setTimeout(() => this.open(false), 200));
  }

  focus(): void {
    this.input.focus();
    this.input.select();
  }

  private get text(): string {
    return this.input.value.trim();
  }

  private wait(): void {
    this.isEnterAsked = false;
    clearTimeout(this.timer);
    this.timer = window.setTimeout(() => void this.look(), WAIT_MS);
  }

  private key(event: KeyboardEvent): void {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (event.key === "Enter") this.enter();
    else if (event.key === "Escape") this.input.blur();
    else if (step && this.found.length) {
      if (!this.list.hidden) this.at = (this.at + step + this.found.length) % this.found.length;
      else if (this.text === this.foundBy) this.open(true);
      else void this.look();
      this.mark();
      event.preventDefault(); // the cursor stays in the text
    }
    event.stopPropagation();
  }

  private enter(): void {
    const found = this.found[this.at];
    if (this.text !== this.foundBy) this.isEnterAsked = true; // what stands there was found by another text
    else if (found && !this.list.hidden) this.choose(found);
  }

  private open(isOpen: boolean): void {
    this.list.hidden = !isOpen;
    this.input.setAttribute("aria-expanded", String(isOpen));
    if (!isOpen) this.input.removeAttribute("aria-activedescendant");
  }

  private mark(): void {
    this.input.removeAttribute("aria-activedescendant");
    if (!this.found.length || this.list.hidden) return;
    [...this.list.children].forEach((item, i) => item.setAttribute("aria-selected", String(i === this.at)));
    this.input.setAttribute("aria-activedescendant", `found-${this.at}`);
  }

  private async look(): Promise<void> {
    const { text } = this;
    this.open(text !== "");
    if (!text) return;
    const isNewest = this.order.begin();
    const page = await get<Page<Vehicle>>(`/v1/vehicles${this.app.where({ contains: text, limit: MOST })}`).catch(() => null);
    if (!isNewest()) return;
    const vehicles = (page?.items ?? []).map((v): Found => ({
      kind: "vehicle", id: v.vehicle_id, name: v.vehicle_id,
      place: v.lon_deg === null || v.lat_deg === null ? null : [v.lon_deg, v.lat_deg],
    }));
    this.found = [...vehicles, ...this.standing(text.toLowerCase())].slice(0, MOST);
    this.foundBy = text;
    this.render();
    if (this.isEnterAsked && text === this.text) this.enter();
  }

  private standing(text: string): Found[] {
    const { roads, scene } = this.app;
    const has = (...words: (string | undefined)[]): boolean => words.some((word) => word?.toLowerCase().includes(text));
    const found: Found[] = [];
    for (const rsu of scene.rsus.values()) {
      if (has(rsu.subject_id)) found.push({ kind: "rsu", id: rsu.subject_id, name: rsu.subject_id, place: [rsu.lon_deg, rsu.lat_deg] });
    }
    for (const segment of roads.segments.values()) {
      if (found.length > MOST) break;
      if (segment.is_internal || !has(segment.segment_id, segment.name)) continue;
      found.push({ kind: "road", id: segment.segment_id, name: segment.name || segment.segment_id, place: roads.middle(segment.segment_id) });
    }
    return found;
  }

  private render(): void {
    this.at = 0;
    const items = this.found.map((found, i) =>
      el("li", { "data-key": `${i} ${found.kind} ${found.id}`, id: `found-${i}`, role: "option", onmousedown: () => this.choose(found) },
        el("b", {}, found.name), el("span", {}, t(found.kind))));
    sync(this.list, ...(items.length ? items : [el("li", { class: "none", "data-key": "none" }, t("nothing of that name"))]));
    this.mark();
  }

  private choose(found: Found): void {
    clearTimeout(this.timer);
    this.order.forget();
    this.open(false);
    this.input.value = found.name;
    this.input.blur();
    this.onFound(found);
  }
}

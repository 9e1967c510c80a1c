// A segment's typical day beside now, and which segments are unusual beside theirs.

import type { App } from "../app";
import { get, part } from "../lib/api";
import { el, sync } from "../lib/dom";
import { decimal, percent } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Page } from "../lib/types";

const DAY_EVERY_MS = 60_000; // days before change once a quarter of an hour
const UNUSUAL_EVERY_MS = 15_000;
const MOST_ROWS = 40;

export interface Quarter {
  weekday: string;
  time_of_day: string;
  days: number;
  speed_mps: number;
  speed_low_mps: number;
  speed_high_mps: number;
}
interface Day {
  time_zone: string;
  step_s: number;
  items: Quarter[];
}
interface Unusual {
  segment_id: string;
  speed_mps: number;
  speed_ratio: number;
  score: number;
  is_unusual: boolean;
  typical_speed_mps: number;
  typical_days: number;
}

/** Weekday and minute of the day of a moment in a time zone. */
export function slotOf(atMs: number, timeZone: string): [string, number] {
  const parts = new Intl.DateTimeFormat("en-GB", { timeZone, weekday: "long", hour: "2-digit", minute: "2-digit", hourCycle: "h23" }).formatToParts(atMs);
  const value = (type: string): string => parts.find((one) => one.type === type)?.value ?? "";
  return [value("weekday").toLowerCase(), Number(value("hour")) * 60 + Number(value("minute"))];
}

/** What a segment is like at this time of the week, by the days before. */
export class TypicalDay {
  private asked: { key: string; askedMs: number; day: Promise<Day> } | null = null;

  constructor(private readonly app: App) {}

  /** The quarter of each moment; null where too few days are known. */
  async of(segmentId: string, timesMs: number[]): Promise<(Quarter | null)[]> {
    const key = `${this.app.runKey} ${segmentId}`;
    const day = await this.dayOf(key, segmentId).catch(() => null);
    if (!day?.items.length) return timesMs.map(() => null);
    const known = new Map(day.items.map((item) => [`${item.weekday} ${item.time_of_day}`, item]));
    const stepMs = day.step_s * 1000;
    const ofStep = new Map<number, Quarter | null>();
    return timesMs.map((atMs) => {
      const step = Math.floor(atMs / stepMs);
      if (!ofStep.has(step)) ofStep.set(step, known.get(nameOf(...slotOf(step * stepMs, day.time_zone), day.step_s)) ?? null);
      return ofStep.get(step)!;
    });
  }

  // What was asked is kept with its key: a late answer is that of its own segment only. A failed one is asked again.
  private dayOf(key: string, segmentId: string): Promise<Day> {
    if (this.asked?.key === key && Date.now() - this.asked.askedMs <= DAY_EVERY_MS) return this.asked.day;
    const day = get<Day>(`/v1/traffic/segments/${part(segmentId)}/typical${this.app.where()}`);
    const asked = (this.asked = { key, askedMs: Date.now(), day });
    day.catch(() => {
      if (this.asked === asked) this.asked = null;
    });
    return day;
  }
}

function nameOf(weekday: string, minute: number, stepS: number): string {
  const begin = Math.floor((minute * 60) / stepS) * (stepS / 60);
  const two = (n: number): string => String(Math.floor(n)).padStart(2, "0");
  return `${weekday} ${two(begin / 60)}:${two(begin % 60)}`;
}

/** Segments that are slower or faster than on other days at this time. */
export class UnusualList {
  readonly rows = el("tbody");
  readonly status = el("small");
  private readonly order = new Order();
  private readMs = 0;
  private shown = "";

  constructor(
    private readonly app: App,
    private readonly onChoose: (segmentId: string) => void,
  ) {}

  async read(): Promise<void> {
    const { app } = this;
    const key = app.runKey;
    if (key !== this.shown) this.clear(key);
    else if (Date.now() - this.readMs < UNUSUAL_EVERY_MS) return;
    this.readMs = Date.now();
    const isNewest = this.order.begin();
    const page = await get<Page<Unusual>>(`/v1/traffic/unusual${app.where()}`).catch(() => null);
    if (key !== app.runKey || !isNewest()) return;
    if (page) this.draw(page.items);
    else this.readMs = 0; // asked again with the next look
  }

  private clear(key: string): void {
    this.shown = key;
    this.order.forget();
    this.status.textContent = "";
    sync(this.rows);
  }

  private draw(items: Unusual[]): void {
    const found = items.filter((item) => item.is_unusual).sort((a, b) => Math.abs(b.score) - Math.abs(a.score)).slice(0, MOST_ROWS);
    this.status.textContent = items.length ? t("{n} segments compared", { n: items.length }) : "";
    const none = items.length ? t("All is as on other days.") : t("No segment has three days to compare with.");
    sync(this.rows, ...(found.length ? found.map((item) => this.row(item)) : [el("tr", { "data-key": "none" }, el("td", { colspan: 4, class: "none" }, none))]));
  }

  private row({ segment_id: id, speed_mps: speed, speed_ratio: ratio, typical_speed_mps: usual, typical_days: days }: Unusual): HTMLElement {
    const choose = (): void => this.onChoose(id);
    return el("tr", { tabindex: 0, "data-key": id, onclick: choose, onkeydown: (event: KeyboardEvent) => event.key === "Enter" && choose(), title: t("{n} days", { n: days }) },
      el("td", { class: "id" }, this.app.roads.segments.get(id)?.name || id), el("td", { class: "number" }, decimal(speed * 3.6, 0)),
      el("td", { class: "number" }, decimal(usual * 3.6, 0)), el("td", { class: `number ${ratio < 1 ? "failed" : "good"}` }, percent(ratio)));
  }
}

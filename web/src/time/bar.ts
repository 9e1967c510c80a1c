// The time bar: live, or any stored moment of the run; alerts as marks, play at 0.5 to 20x.

import type { App } from "../app";
import { get } from "../lib/api";
import { el, setText, sync } from "../lib/dom";
import { ms, timeOfDay } from "../lib/format";
import { icon } from "../lib/icons";
import { t } from "../lib/i18n";
import { SEVERITY_COLOURS } from "../lib/palette";
import { RANK, type Alert, type Page } from "../lib/types";
import type { Frame } from "../live/frame";
import { RunControl } from "./control";
import { Player } from "./player";

const RATES = [0.5, 1, 2, 5, 10, 20];
const STEP_MS = 200; // a picture of the past this often; the layer glides between them
const MARKS_EVERY_MS = 10_000;
const SLIDER_STEPS = 10_000;
const JUMP_MS = 10_000;

export class TimeBar {
  readonly element = el("section", { class: "time-bar", "aria-label": t("Time") });
  private readonly liveButton = el("button", { type: "button", class: "live-button", onclick: () => this.goLive() }, t("Live"));
  private readonly playButton = el("button", { type: "button", class: "icon", title: t("Play or pause"), "aria-label": t("Play or pause"), onclick: () => this.play(!this.isPlaying) });
  private readonly rate = el("select", { "aria-label": t("Speed"), title: t("Speed") }, ...RATES.map((r) => el("option", { value: r, selected: r === 1 }, `${r}×`)));
  private readonly slider = el("input", { type: "range", min: 0, max: SLIDER_STEPS, value: SLIDER_STEPS, "aria-label": t("Moment of the run"), id: "time-slider", oninput: () => this.slide() });
  private readonly marks = el("canvas", { class: "marks", "aria-hidden": true });
  private readonly from = el("span", { class: "edge" });
  private readonly to = el("span", { class: "edge" });
  private readonly now = el("span", { class: "moment" });
  private atMs = NaN;
  isPlaying = false;
  private isBusy = false;
  private player: Player | null = null;
  private alerts: Alert[] = [];
  private marksKey = "";
  private marksReadMs = 0;

  constructor(
    private readonly app: App,
    private readonly onFrame: (frame: Frame) => void,
    private readonly onLive: () => void,
  ) {
    this.element.append(this.liveButton, this.playButton, this.rate, this.from,
      el("div", { class: "track" }, this.marks, this.slider, this.now), this.to, new RunControl(app).element);
    setInterval(() => void this.tick(), STEP_MS);
    app.on("run", () => {
      this.player = null;
      this.marksKey = "";
      if (app.isPast) this.goLive();
    });
    app.live.on("time", () => this.showSpan());
    app.on("theme", () => this.drawMarks());
    new ResizeObserver(() => this.drawMarks()).observe(this.marks);
    const wanted = Date.parse(app.link.get("t"));
    if (Number.isFinite(wanted)) this.wanted = wanted;
    this.showState();
  }
  private wanted = NaN;

  private get span(): [number, number] {
    const first = ms(this.app.runRow?.first_at);
    const last = Number.isFinite(this.app.live.zoneTimeMs) ? this.app.live.zoneTimeMs : ms(this.app.runRow?.last_at);
    return [Number.isFinite(first) ? first : last - 60_000, last];
  }

  private slide(): void {
    const [first, last] = this.span;
    const share = Number(this.slider.value) / SLIDER_STEPS;
    if (share >= 0.9995) return this.goLive();
    this.goTo(first + (last - first) * share);
  }

  /** Show a past moment. */
  goTo(atMs: number): void {
    const [first, last] = this.span;
    this.atMs = Math.min(last, Math.max(first, atMs));
    this.player ??= new Player(this.app.past, this.app.zone, this.app.runId);
    if (!this.app.isPast) this.app.setPast(true);
    this.app.link.set({ t: new Date(this.atMs).toISOString() });
    this.showState();
    void this.showMoment();
  }

  goLive(): void {
    if (!this.app.isPast) return;
    this.isPlaying = false;
    this.app.link.set({ t: "" });
    this.app.setPast(false);
    this.app.past.clear();
    this.showState();
    this.onLive();
  }

  play(isPlaying: boolean): void {
    if (isPlaying && !this.app.isPast) this.goTo(this.span[1] - 60_000);
    this.isPlaying = isPlaying;
    this.showState();
  }

  jump(seconds: number): void {
    this.goTo((this.app.isPast ? this.atMs : this.span[1]) + seconds * JUMP_MS);
  }

  nameOf(slot: number): string | null {
    return this.player?.nameOf(slot) ?? null;
  }

  private async tick(): Promise<void> {
    if (this.app.runId && Number.isFinite(this.wanted) && this.app.runRow) {
      const at = this.wanted;
      this.wanted = NaN;
      this.goTo(at);
    }
    if (!this.app.isPast || !this.isPlaying || this.isBusy) return;
    this.atMs += STEP_MS * Number(this.rate.value);
    if (this.atMs >= this.span[1]) return this.goLive();
    await this.showMoment();
  }

  private async showMoment(): Promise<void> {
    if (this.isBusy || !this.player) return;
    this.isBusy = true;
    const asked = this.atMs;
    try {
      const frame = await this.player.show(asked);
      if (frame && this.app.isPast) this.onFrame(frame);
      this.element.classList.remove("failed");
    } catch {
      this.element.classList.add("failed");
    }
    this.isBusy = false;
    this.showState();
    if (asked !== this.atMs && !this.isPlaying) void this.showMoment();
  }

  private showState(): void {
    const isPast = this.app.isPast;
    this.element.classList.toggle("past", isPast);
    this.liveButton.setAttribute("aria-pressed", String(!isPast));
    sync(this.playButton, icon(this.isPlaying ? "pause" : "play"));
    this.showSpan();
  }

  private showSpan(): void {
    const [first, last] = this.span;
    if (!Number.isFinite(last)) return;
    setText(this.from, timeOfDay(first));
    setText(this.to, timeOfDay(last));
    const share = this.app.isPast ? (this.atMs - first) / Math.max(1, last - first) : 1;
    this.slider.value = String(Math.round(share * SLIDER_STEPS));
    setText(this.now, this.app.isPast ? timeOfDay(this.atMs) : "");
    this.now.style.left = `${share * 100}%`;
    if (Date.now() - this.marksReadMs > MARKS_EVERY_MS) void this.readMarks();
  }

  private async readMarks(): Promise<void> {
    this.marksReadMs = Date.now();
    if (!this.app.runId || document.hidden) return;
    const run = this.app.runKey;
    const page = await get<Page<Alert>>(`/v1/alerts${this.app.where({ limit: 1000 })}`).catch(() => null);
    if (!page || run !== this.app.runKey) return;
    this.alerts = page.items.filter((alert) => !alert.folded_into);
    this.drawMarks();
  }

  private drawMarks(): void {
    const { clientWidth: width, clientHeight: height } = this.marks;
    const [first, last] = this.span;
    const key = `${width} ${first} ${Math.round((last - first) / 2000)} ${this.alerts.length} ${this.app.theme}`;
    if (!width || key === this.marksKey) return;
    this.marksKey = key;
    const ratio = devicePixelRatio || 1;
    this.marks.width = width * ratio;
    this.marks.height = height * ratio;
    const context = this.marks.getContext("2d");
    if (!context) return;
    context.scale(ratio, ratio);
    for (const alert of this.alerts.toSorted((a, b) => RANK[a.severity] - RANK[b.severity])) {
      const at = (ms(alert.started_at) - first) / Math.max(1, last - first);
      const tall = height * (0.35 + 0.2 * RANK[alert.severity]);
      context.fillStyle = SEVERITY_COLOURS[this.app.theme][alert.severity];
      context.fillRect(Math.max(0, at * width - 1), height - tall, 2, tall);
    }
  }
}

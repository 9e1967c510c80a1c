// Steers a running replay or scenario: pause, speed, a jump. Shown for a run whose driver takes commands.

import type { App } from "../app";
import { get, part, post } from "../lib/api";
import { el, fillSelect, setText, sync } from "../lib/dom";
import { icon } from "../lib/icons";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";

const EVERY_MS = 2000;
const SPEEDS = [0.5, 1, 2, 5, 10, 20];
const JUMP_S = 60;

interface State {
  is_controllable: boolean;
  state: "running" | "paused" | "ended";
  speed: number | null;
  can_seek: boolean;
}

export class RunControl {
  readonly element = el("div", { class: "run-control", hidden: true, role: "group", "aria-label": t("Steer this run") });
  private readonly pause = el("button", { type: "button", class: "icon", onclick: () => void this.send({ action: this.isPaused ? "resume" : "pause" }) });
  private readonly speed = el("select", { title: t("Speed of the run"), "aria-label": t("Speed of the run"), onchange: () => void this.send({ action: "speed", speed: Number(this.speed.value) }) });
  private readonly jump = el("button", { type: "button", class: "small", title: t("Wind a minute ahead"), onclick: () => void this.send({ action: "seek", by_s: JUMP_S }) }, "+1 min");
  private readonly problem = el("span", { class: "failed", role: "alert" });
  private readonly order = new Order();
  private isPaused = false;

  constructor(private readonly app: App) {
    this.element.append(el("span", { class: "status" }, t("Run")), this.pause, this.speed, this.jump, this.problem);
    app.on("run", () => {
      this.element.hidden = true;
    });
    setInterval(() => !document.hidden && void this.read(), EVERY_MS);
  }

  private get path(): string {
    return `/v1/runs/${part(this.app.runId)}/control?zone=${part(this.app.zone)}`;
  }

  private async read(): Promise<void> {
    const { app } = this;
    if (!app.runId || app.isWall || !app.kpi?.is_controllable) return void (this.element.hidden = true);
    const run = app.runKey;
    const isNewest = this.order.begin();
    const state = await get<State>(this.path).catch(() => null);
    if (run === app.runKey && isNewest()) this.show(state);
  }

  private show(state: State | null): void {
    this.element.hidden = !state?.is_controllable;
    if (!state) return;
    this.isPaused = state.state === "paused";
    sync(this.pause, icon(this.isPaused ? "play" : "pause"));
    const name = this.isPaused ? t("Let the run go on") : t("Pause the run");
    this.pause.title = name;
    this.pause.setAttribute("aria-label", name);
    this.element.classList.toggle("paused", this.isPaused);
    this.jump.hidden = !state.can_seek;
    if (document.activeElement === this.speed) return;
    const speed = state.speed ?? 1;
    const speeds = SPEEDS.includes(speed) ? SPEEDS : [...SPEEDS, speed].sort((a, b) => a - b);
    fillSelect(this.speed, speeds.map((x) => [String(x), x === 0 ? t("as fast as it goes") : `${x}×`]), String(speed));
  }

  private async send(command: Record<string, unknown>): Promise<void> {
    try {
      await post(this.path, command);
      setText(this.problem, "");
    } catch (error) {
      setText(this.problem, error instanceof Error ? error.message : String(error));
    }
    this.speed.blur();
    await this.read();
  }
}

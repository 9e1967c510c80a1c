// The top line: which zone and run, which view, what time it is there, and whether the link lives.

import { VIEW_IDS, type App, type ViewId } from "../app";
import { el, fillSelect, setText } from "../lib/dom";
import { timeText } from "../lib/format";
import { icon } from "../lib/icons";
import { language, setLanguage, t } from "../lib/i18n";
import type { RunRow } from "../lib/types";
import type { LinkState } from "../live/feed";
import { keepTheme } from "./settings";

export const VIEW_NAMES: Record<ViewId, string> = {
  map: "Map", alerts: "Alerts", batteries: "Batteries", traffic: "Traffic", health: "Data health",
};
const NEWEST = "";

export class Header {
  private readonly zone = el("select", { id: "zone", onchange: () => this.onChoose(this.zone.value, NEWEST) });
  private readonly run = el("select", { id: "run", onchange: () => this.onChoose(this.app.zone, this.run.value) });
  private readonly origin = el("span", { id: "origin", class: "badge", hidden: true });
  private readonly time = el("time", { id: "zone-time", title: t("Zone time (UTC)") });
  private readonly link = el("span", { id: "link", class: "link", role: "status", "aria-live": "polite" }, t("connecting"));
  private readonly tabs = new Map<ViewId, HTMLButtonElement>();

  constructor(
    root: HTMLElement,
    private readonly app: App,
    private readonly onChoose: (zone: string, run: string) => void,
  ) {
    const tabs = el("nav", { class: "tabs", "aria-label": t("Views") }, ...VIEW_IDS.map((id, i) => this.tab(id, i)));
    root.append(
      el("a", { class: "brand", href: "/", title: "OpenVRC" }, el("span", { class: "logo", "aria-hidden": true }), el("strong", {}, "OpenVRC")),
      tabs,
      el("label", { class: "pick" }, t("Zone"), this.zone),
      el("label", { class: "pick run" }, t("Run"), this.run),
      this.origin,
      el("span", { class: "grow" }),
      this.time,
      this.button("theme", icon("theme"), t("Dark or light"), () => this.turnTheme()),
      this.button("language", language === "en" ? "ZH" : "EN", t("Language"), () => setLanguage(language === "en" ? "zh" : "en")),
      this.button("wall", icon("wall"), t("Wall mode"), () => window.open(this.wallLink(), "_blank", "noopener")),
      el("a", { href: "/docs", class: "quiet" }, "API"),
      this.link,
    );
    app.on("view", (id) => this.showTab(id));
    app.on("zones", () => this.render());
    app.on("run", () => this.render());
    app.on("past", () => this.showTime());
    app.live.on("time", () => this.showTime());
    app.past.on("time", () => this.showTime());
  }

  private tab(id: ViewId, place: number): HTMLButtonElement {
    const button = el("button", { type: "button", "data-view": id, title: `${t(VIEW_NAMES[id])} (${place + 1})`, onclick: () => this.app.showView(id) }, t(VIEW_NAMES[id]));
    this.tabs.set(id, button);
    return button;
  }

  private button(id: string, text: Node | string, title: string, run: () => void): HTMLElement {
    return el("button", { type: "button", id, class: "icon", title, "aria-label": title, onclick: run }, text);
  }

  private showTab(id: ViewId): void {
    for (const [name, button] of this.tabs) button.setAttribute("aria-current", name === id ? "page" : "false");
  }

  private turnTheme(): void {
    this.app.theme = this.app.theme === "dark" ? "light" : "dark";
    keepTheme(this.app.theme);
    this.app.emit("theme", this.app.theme);
  }

  private wallLink(): string {
    const wanted = new URLSearchParams({ zone: this.app.zone, wall: "1" });
    return `/#${wanted}`;
  }

  private render(): void {
    const { app } = this;
    fillSelect(this.zone, app.zones.map(({ zone }) => [zone, zone]), app.zone);
    const runs = (app.zoneRow?.runs ?? []).map((run): [string, string] => [run.run_id, runText(run)]);
    fillSelect(this.run, [[NEWEST, t("newest")], ...runs], app.wantedRun);
    this.origin.hidden = app.origin === "live";
    setText(this.origin, t(app.origin));
    this.origin.dataset.origin = app.origin;
    this.origin.title = app.title;
    document.title = app.zone ? `${app.zone} · OpenVRC` : "OpenVRC";
  }

  private showTime(): void {
    const at = this.app.scene.zoneTimeMs;
    setText(this.time, Number.isFinite(at) ? `${timeText(new Date(at).toISOString())} UTC` : "");
    this.time.classList.toggle("past", this.app.isPast);
  }

  setLink(state: LinkState): void {
    this.link.dataset.state = state;
    setText(this.link, state === "live" ? t("live") : t("reconnecting"));
  }
}

function runText(run: RunRow): string {
  const name = run.title ? `${run.title} (${run.run_id})` : run.run_id;
  return run.state === "ended" ? `${name}, ${t("ended")}` : name;
}

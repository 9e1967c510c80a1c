// What calls for attention: a sound and a desktop notice for the worst, once each.

import type { App } from "../app";
import { el } from "../lib/dom";
import { icon } from "../lib/icons";
import { t } from "../lib/i18n";
import { RANK, type Alert } from "../lib/types";
import { isOn, keepOn } from "../shell/settings";
import { NOTICE_RANK, whatText } from "./words";

const FRESH_MS = 5_000; // what a snapshot brings is not news
const MOST_TOLD = 2_000;

export class Notice {
  readonly button = el("button", { type: "button", class: "icon", onclick: () => this.turn() });
  private readonly told = new Set<string>();
  private readonly sinceMs = Date.now();
  private audio: AudioContext | null = null;

  constructor(private readonly app: App) {
    this.show();
  }

  private turn(): void {
    keepOn("notices", !isOn("notices"));
    this.show();
    if (!isOn("notices")) return;
    this.beep(RANK.serious); // browsers allow sound only after a click: this is that click
    if ("Notification" in window && Notification.permission === "default") void Notification.requestPermission();
  }

  private show(): void {
    const text = isOn("notices") ? t("Sound and notices are on") : t("Sound and notices are off");
    this.button.replaceChildren(icon(isOn("notices") ? "bell" : "bellOff"));
    this.button.title = text;
    this.button.setAttribute("aria-label", text);
    this.button.setAttribute("aria-pressed", String(isOn("notices")));
  }

  /** An alert came or rose: tell of it if it is bad enough and was not told of at this severity. */
  take(alert: Alert): void {
    const key = `${alert.id} ${alert.severity}`;
    if (!alert.is_open || alert.folded_into || RANK[alert.severity] < NOTICE_RANK || this.told.has(key)) return;
    if (this.told.size > MOST_TOLD) this.told.clear();
    this.told.add(key);
    if (!isOn("notices") || alert.acknowledged_by || Date.now() - this.sinceMs < FRESH_MS) return;
    this.beep(RANK[alert.severity]);
    if (!("Notification" in window) || Notification.permission !== "granted") return;
    const notice = new Notification(`${t(alert.severity)}: ${t(alert.title)}`, { body: `${whatText(alert)}\n${alert.zone} (${t(alert.origin)})`, tag: alert.id });
    notice.onclick = () => {
      window.focus();
      this.app.showView("alerts");
      this.app.selectAlert(alert.id);
    };
  }

  private beep(rank: number): void {
    this.audio ??= new AudioContext();
    const { audio } = this;
    for (let i = 0; i < (rank >= RANK.critical ? 3 : 1); i++) {
      const [tone, volume] = [audio.createOscillator(), audio.createGain()];
      const at = audio.currentTime + i * 0.24;
      tone.frequency.value = rank >= RANK.critical ? 880 : 620;
      volume.gain.setValueAtTime(0.0001, at);
      volume.gain.exponentialRampToValueAtTime(0.2, at + 0.02);
      volume.gain.exponentialRampToValueAtTime(0.0001, at + 0.2);
      tone.connect(volume).connect(audio.destination);
      tone.start(at);
      tone.stop(at + 0.22);
    }
  }
}

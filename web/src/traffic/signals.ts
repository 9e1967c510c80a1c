// What signal groups showed: a strip per group, with its cycle and its share of green.

import { el } from "../lib/dom";
import { clock, ms, percent } from "../lib/format";
import { t } from "../lib/i18n";
import { PHASES } from "../lib/palette";

export interface Change {
  subject_id: string;
  phase: string;
  at: string;
}

/** Mean time from one begin of green to the next, and the share of time that was green. */
export function performanceOf(changes: Change[], toMs: number): { cycleS: number | null; green: number | null } {
  const begins = changes.filter((change) => change.phase === "green").map((change) => ms(change.at));
  const cycleS = begins.length > 1 ? (begins.at(-1)! - begins[0]!) / (begins.length - 1) / 1000 : null;
  if (!changes.length) return { cycleS, green: null };
  let greenMs = 0;
  changes.forEach((change, i) => {
    if (change.phase === "green") greenMs += (i + 1 < changes.length ? ms(changes[i + 1]!.at) : toMs) - ms(change.at);
  });
  const whole = toMs - ms(changes[0]!.at);
  return { cycleS, green: whole > 0 ? greenMs / whole : null };
}

export function signalStrips(changes: Change[], fromMs: number, toMs: number): HTMLElement {
  const groups = new Map<string, Change[]>();
  for (const change of changes) groups.set(change.subject_id, [...(groups.get(change.subject_id) ?? []), change]);
  const rows = [...groups].sort(([a], [b]) => a.localeCompare(b, "en", { numeric: true })).map(([group, found]) => {
    const strip = el("div", { class: "strip" });
    found.forEach((change, i) => {
      const mark = el("i", { "data-key": change.at, title: `${t(change.phase.replace("_", " "))} ${change.at.slice(11, 19)}` });
      const end = i + 1 < found.length ? ms(found[i + 1]!.at) : toMs;
      mark.style.left = `${(100 * (ms(change.at) - fromMs)) / (toMs - fromMs)}%`;
      mark.style.width = `${(100 * (end - ms(change.at))) / (toMs - fromMs)}%`;
      mark.style.background = PHASES[change.phase] ?? PHASES.stale!;
      strip.append(mark);
    });
    const { cycleS, green } = performanceOf(found, toMs);
    return el("div", { class: "strip-row", "data-key": group }, el("b", {}, group), strip,
      el("span", { class: "number" }, `${t("cycle")} ${cycleS === null ? "–" : clock(cycleS)} · ${t("green")} ${percent(green)}`));
  });
  return el("div", { class: "strips" }, ...(rows.length ? rows : [el("p", { class: "none" }, t("No signal has reported."))]));
}

// What signal groups showed: a strip per group, with its cycle, its share of green, and what its
// approaches lose at it.

import { el } from "../lib/dom";
import { clock, decimal, ms, percent } from "../lib/format";
import { t } from "../lib/i18n";
import { PHASES } from "../lib/palette";
import type { Completed } from "../lib/types";
import type { Head } from "../map/roads";

export interface Change {
  subject_id: string;
  phase: string;
  at: string;
}
export interface Approach {
  delayS: number | null;
  queueM: number | null;
  isFull: boolean;
}
const GREEN = new Set(["green", "green_permissive"]);

/** Mean time from one begin of green to the next, and the share of time that was green. */
export function performanceOf(changes: Change[], toMs: number): { cycleS: number | null; green: number | null } {
  const begins = changes.filter((change, i) => GREEN.has(change.phase) && !GREEN.has(changes[i - 1]?.phase ?? "")).map((change) => ms(change.at));
  const cycleS = begins.length > 1 ? (begins.at(-1)! - begins[0]!) / (begins.length - 1) / 1000 : null;
  if (!changes.length) return { cycleS, green: null };
  let greenMs = 0;
  changes.forEach((change, i) => {
    if (GREEN.has(change.phase)) greenMs += (i + 1 < changes.length ? ms(changes[i + 1]!.at) : toMs) - ms(change.at);
  });
  const whole = toMs - ms(changes[0]!.at);
  return { cycleS, green: whole > 0 ? greenMs / whole : null };
}

/** What is believed of the segments that end at each group's heads: delay by flow, the longest queue. */
export function approachesOf(heads: readonly Head[], completed: ReadonlyMap<string, Completed>): Map<string, Approach> {
  const segments = new Map<string, Set<string>>();
  for (const { key, segment_id: id } of heads) if (id) segments.set(key, (segments.get(key) ?? new Set()).add(id));
  return new Map([...segments].map(([key, ids]) => {
    const states = [...ids].map((id) => completed.get(id)).filter((state): state is Completed => state !== undefined);
    const delays = states.filter(({ delay_s: delay }) => delay !== null);
    const weight = ({ flow_vph: flow }: Completed): number => flow ?? 1;
    const whole = delays.reduce((sum, state) => sum + weight(state), 0);
    const queues = states.map(({ queue_m: metres }) => metres).filter((metres): metres is number => metres !== null);
    return [key, {
      delayS: whole > 0 ? delays.reduce((sum, state) => sum + state.delay_s! * weight(state), 0) / whole : null,
      queueM: queues.length ? Math.max(...queues) : null,
      isFull: states.some(({ is_spillback: isFull }) => isFull),
    }];
  }));
}

export function signalStrips(changes: Change[], fromMs: number, toMs: number, approaches: ReadonlyMap<string, Approach>): HTMLElement {
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
    return el("div", { class: "strip-row", "data-key": group }, el("b", {}, group), strip, figures(found, toMs, approaches.get(group)));
  });
  return el("div", { class: "strips" }, ...(rows.length ? rows : [el("p", { class: "none" }, t("No signal has reported."))]));
}

function figures(found: Change[], toMs: number, approach: Approach | undefined): HTMLElement {
  const { cycleS, green } = performanceOf(found, toMs);
  const said = [`${t("cycle")} ${cycleS === null ? "–" : clock(cycleS)}`, `${t("green")} ${percent(green)}`];
  if (approach?.delayS != null) said.push(`${t("delay")} ${decimal(approach.delayS, 0)} s`);
  if (approach?.queueM != null) said.push(`${t("queue")} ${decimal(approach.queueM, 0)} m`);
  return el("span", { class: `number ${approach?.isFull ? "failed" : ""}` }, said.join(" · "));
}

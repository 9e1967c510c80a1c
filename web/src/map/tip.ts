// The small box beside the pointer that says what lies under it.

import type { App } from "../app";
import { el } from "../lib/dom";
import { decimal, percent, timeOfDay } from "../lib/format";
import { t } from "../lib/i18n";
import { CLASSES, UNKNOWN_CLASS } from "../lib/palette";
import type { Charger, Completed, Perceived, RoadEvent, Rsu, SegmentState, Vehicle } from "../lib/types";
import type { Head, Segment } from "./roads";
import type { Drawn } from "./vehicle_layer";

export const KMH = 3.6;
export type Thing =
  | { kind: "rsu"; rsu: Rsu }
  | { kind: "charger"; charger: Charger }
  | { kind: "event"; event: RoadEvent }
  | { kind: "head"; head: Head }
  | { kind: "segment"; segment: Segment };

export class Tip {
  readonly element = el("div", { id: "tip", class: "tip", hidden: true });

  hide(): void {
    this.element.hidden = true;
  }

  /** Show lines at a pixel of the map; the first is bold. */
  show(lines: (string | null)[], px: number, py: number): void {
    const tip = this.element;
    tip.hidden = false;
    const [first, ...rest] = lines.filter((line): line is string => Boolean(line));
    tip.replaceChildren(el("strong", {}, first), ...rest.map((line) => el("span", {}, line)));
    const { clientWidth, clientHeight } = tip.parentElement!;
    const left = px + 16 + tip.offsetWidth > clientWidth ? px - 16 - tip.offsetWidth : px + 16;
    const top = Math.min(py + 14, clientHeight - tip.offsetHeight - 8);
    tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
  }
}

export function vehicleLines(item: Drawn, facts: Vehicle | null, seen: Perceived | null = null): (string | null)[] {
  const kind = CLASSES[item.kind] ?? UNKNOWN_CLASS;
  const speed = item.speedKmh === null ? null : `${item.speedKmh} km/h`;
  if (item.isPerceived) {
    const sure = seen?.confidence_ratio == null ? null : `${t("confidence")} ${percent(seen.confidence_ratio)}`;
    return [t(kind.name), [t("perceived, not connected"), speed].filter(Boolean).join(" · "),
      seen?.sources.length ? `${t("seen by")} ${seen.sources.map(trackText).join("; ")}` : null, sure];
  }
  const heat = facts?.probe_temperature_max_degc;
  const battery = facts?.soc_ratio == null ? null
    : `${t("battery")} ${percent(facts.soc_ratio)}${heat == null ? "" : `, ${heat} °C`}`;
  return [
    facts?.vehicle_id ?? t(kind.name),
    [t(kind.name), speed, item.brakes ? t("brakes") : null].filter(Boolean).join(" · "),
    facts?.segment_id ? `${t("on")} ${facts.segment_id}` : null,
    battery,
  ];
}

/** `rsu-market, track 17`: the unit's own number, which its log has too. */
function trackText({ source_id: unit, object_id: track }: Perceived["sources"][number]): string {
  return track ? `${unit}, ${t("track")} ${track}` : unit;
}

export function thingLines(thing: Thing, app: App, believed?: Completed): (string | null)[] {
  if (thing.kind === "rsu") {
    const { rsu } = thing;
    return [
      `RSU ${rsu.subject_id}`,
      `${t("health")}: ${t(rsu.health)}`,
      rsu.range_m ? `${t("range")} ${rsu.range_m} m` : null,
      rsu.vehicles_in_range === undefined ? null : `${rsu.vehicles_in_range} ${t("vehicles in range")}`,
    ];
  }
  if (thing.kind === "charger") {
    const { charger } = thing;
    const power = charger.power_w == null ? null : `${decimal(charger.power_w / 1000, 1)} kW`;
    const energy = charger.energy_j ? `${decimal(charger.energy_j / 3.6e6, 1)} kWh` : null;
    return [`${t("charger")} ${charger.subject_id}`, [t(charger.state), power, energy].filter(Boolean).join(" · "), charger.fault_text ?? null];
  }
  if (thing.kind === "event") {
    const { event } = thing;
    const advised = event.advised_speed_mps == null ? null : `${t("advised speed")} ${decimal(event.advised_speed_mps * KMH, 0)} km/h`;
    return [t(event.kind.replace("_", " ")), event.cause ?? null, event.segment_id ? `${t("on")} ${event.segment_id}` : null, advised,
      event.valid_to_at ? `${t("until")} ${timeOfDay(event.valid_to_at)}` : null, `${t("said by")} ${event.source_id}`];
  }
  if (thing.kind === "head") {
    const { head } = thing;
    const state = app.scene.signals.get(head.key);
    const phase = !state ? t("never heard") : t(state.phase.replace("_", " "));
    const stale = state && app.scene.isStaleSignal(state) ? `, ${t("stale")}` : "";
    return [`${t("Signal")} ${head.intersection_id}`, `${t("group")} ${head.signal_group}: ${phase}${stale}`];
  }
  return segmentLines(thing.segment, app.scene.segments.get(thing.segment.segment_id), believed);
}

export function segmentLines(segment: Segment, state: SegmentState | undefined, believed?: Completed): (string | null)[] {
  const limit = `${t("limit")} ${decimal(segment.speed_limit_mps * KMH, 0)} km/h`;
  const head = [segment.name || segment.segment_id, segment.name ? segment.segment_id : null];
  if (!state) return [...head, limit, t("no traffic seen yet")];
  const speed = state.speed_mps == null ? t("nobody there") : `${decimal(state.speed_mps * KMH, 0)} km/h`;
  return [
    ...head,
    `${speed} · ${limit}`,
    `${decimal(state.density_vpkm, 1)} veh/km · ${decimal(state.flow_vph, 0)} veh/h`,
    believed ? `${t("level of service")} ${believed.level_of_service}${believed.delay_s === null ? "" : ` · ${t("delay")} ${decimal(believed.delay_s, 0)} s`}` : null,
    believed?.queue_m ? queueText(believed) : null,
  ];
}

/** `queue 45 m (30–60), spills back`. */
function queueText({ queue_m: metres, queue_low_m: low, queue_high_m: high, is_spillback: isFull }: Completed): string {
  const span = low === null || high === null ? "" : ` (${decimal(low, 0)}–${decimal(high, 0)})`;
  return `${t("queue")} ${decimal(metres, 0)} m${span}${isFull ? `, ${t("spills back")}` : ""}`;
}

// What a map shows at one moment: states of roads, signals, roadside units, chargers and alerts.
// The live scene is fed by the stream; another one by stored history.

import { Emitter } from "../lib/events";
import { ms } from "../lib/format";
import type { Alert, Charger, RoadEvent, Rsu, SegmentState, SignalState } from "../lib/types";

const SEGMENT_STALE_MS = 90_000; // half as long again as the longest window
const SIGNAL_STALE_MS = 10_000; // signals report at least each second
const EVENT_MS = 900_000; // an event that does not say until when it holds
const MOST_AHEAD_MS = 2_000; // zone time is known each second; beyond that the link is lost

interface States {
  segments: SegmentState;
  signals: SignalState;
  rsus: Rsu;
  chargers: Charger;
  road_events: RoadEvent;
}
export type StateKind = keyof States;

interface SceneEvents {
  segments: null;
  signals: null;
  rsus: null;
  chargers: null;
  road_events: null;
  alerts: null;
  time: null;
}

export class Scene extends Emitter<SceneEvents> {
  readonly segments = new Map<string, SegmentState>();
  readonly signals = new Map<string, SignalState>();
  readonly rsus = new Map<string, Rsu>();
  readonly chargers = new Map<string, Charger>();
  readonly road_events = new Map<string, RoadEvent>();
  readonly alerts = new Map<string, Alert>();
  zoneTimeMs = NaN;
  private takenMs = 0;
  private rate = 1;

  private table<K extends StateKind>(kind: K): Map<string, States[K]> {
    return this[kind] as unknown as Map<string, States[K]>;
  }

  /** Take changed states; with `replace` everything that was known of this kind goes. */
  take<K extends StateKind>(kind: K, items: readonly States[K][], replace = false): void {
    const known = this.table(kind);
    if (replace) known.clear();
    for (const item of items) {
      const old = known.get(item.subject_id);
      const isWindow = kind === "segments";
      if (isWindow && old && !isNewerWindow(item as SegmentState, old as SegmentState)) continue;
      known.set(item.subject_id, item);
    }
    this.emit(kind, null);
  }

  replaceAlerts(alerts: readonly Alert[]): void {
    this.alerts.clear();
    for (const alert of alerts) this.alerts.set(alert.id, alert);
    this.emit("alerts", null);
  }

  /** Take one changed alert; what an event leaves out (who acknowledged) stays as it was. */
  takeAlert(alert: Alert): void {
    if (alert.is_open) this.alerts.set(alert.id, { ...this.alerts.get(alert.id), ...alert });
    else this.alerts.delete(alert.id);
    this.emit("alerts", null);
  }

  /** Zone time as the service says it; `rate` is measured between two of them. */
  setTime(zoneTimeMs: number, nowMs: number): void {
    const [zone, wall] = [zoneTimeMs - this.zoneTimeMs, nowMs - this.takenMs];
    if (zone > 0 && wall > 200) this.rate = Math.min(100, zone / wall);
    this.zoneTimeMs = zoneTimeMs;
    this.takenMs = nowMs;
    this.emit("time", null);
  }

  clear(): void {
    for (const table of [this.segments, this.signals, this.rsus, this.chargers, this.road_events, this.alerts]) table.clear();
    this.zoneTimeMs = NaN;
    for (const kind of ["segments", "signals", "rsus", "chargers", "road_events", "alerts", "time"] as const) this.emit(kind, null);
  }

  /** Zone time now, carried on from the last word of the service. */
  timeMs(nowMs: number): number {
    const ahead = Math.min((nowMs - this.takenMs) * this.rate, MOST_AHEAD_MS * Math.max(1, this.rate));
    return this.zoneTimeMs + Math.max(0, ahead);
  }

  isStaleSegment(state: SegmentState): boolean {
    return this.zoneTimeMs - ms(state.sampled_at) > SEGMENT_STALE_MS;
  }

  isStaleSignal(state: SignalState): boolean {
    const until = ms(state.max_end_at ?? state.likely_end_at ?? state.sampled_at);
    return this.zoneTimeMs > Math.max(until, ms(state.sampled_at) + SIGNAL_STALE_MS);
  }

  /** Events of the road that hold now. */
  get eventsNow(): RoadEvent[] {
    const now = this.zoneTimeMs;
    return [...this.road_events.values()].filter((event) => {
      const to = ms(event.valid_to_at ?? null);
      return !(ms(event.valid_from_at ?? null) > now) && (Number.isFinite(to) ? to : ms(event.sampled_at) + EVENT_MS) >= now;
    });
  }

  /** Alerts that speak for themselves: others are folded into a storm's. */
  get speaking(): Alert[] {
    return [...this.alerts.values()].filter((alert) => !alert.folded_into);
  }
}

function isNewerWindow(item: SegmentState, old: SegmentState): boolean {
  const [isBusy, wasBusy] = [item.vehicle_count > 0, old.vehicle_count > 0];
  if (isBusy !== wasBusy) return isBusy; // an empty window tells of no speed
  if (item.sampled_at !== old.sampled_at) return item.sampled_at > old.sampled_at;
  return item.window_s >= old.window_s;
}

// What the service says, as far as the page reads it.

import type { Datum } from "./datum";

export type Severity = "info" | "warning" | "serious" | "critical";
export const SEVERITIES: readonly Severity[] = ["critical", "serious", "warning", "info"];
export const RANK: Record<Severity, number> = { critical: 3, serious: 2, warning: 1, info: 0 };

export interface Action {
  at: string;
  who: string;
  action: "ack" | "assign" | "snooze" | "note" | "clear";
  detail: Record<string, unknown>;
}
export interface AlertEvent {
  sequence: number;
  change: string;
  severity: Severity;
  state: string;
  at: string;
  stored_at: string;
  evidence: Record<string, unknown>;
}
export interface Alert {
  id: string;
  rule: string;
  kind: string;
  title: string;
  advice: string;
  severity: Severity;
  state: "active" | "recovering" | "cleared" | "historical";
  is_open: boolean;
  is_unknown: boolean;
  zone: string;
  run_id: string;
  origin: string;
  subject_type: string;
  subject_id: string;
  component: string | null;
  segment_id: string | null;
  lat_deg: number | null;
  lon_deg: number | null;
  started_at: string;
  detected_at: string;
  cleared_at: string | null;
  confidence: number;
  folded_into: string | null;
  evidence: Record<string, unknown>;
  acknowledged_by?: string | null;
  acknowledged_at?: string | null;
  assigned_to?: string | null;
  snoozed_until_at?: string | null;
  actions?: Action[];
  events?: AlertEvent[];
  change?: string;
}
export interface SegmentState {
  subject_id: string;
  sampled_at: string;
  window_s: number;
  speed_mps?: number | null;
  density_vpkm?: number | null;
  flow_vph?: number | null;
  vehicle_count: number;
  vehicle_s?: number | null;
  distance_m?: number | null;
  coverage_ratio?: number;
}
/** What is believed of a segment, of all vehicles on it. */
export interface Completed {
  segment_id: string;
  level_of_service: string;
  speed_mps: number | null;
  speed_low_mps: number | null;
  speed_high_mps: number | null;
  delay_s: number | null;
  flow_vph: number | null;
  basis: "observed" | "estimated";
  /** The longest queue of the last minute before a signal, stop line to the last one's front; null elsewhere. */
  queue_m: number | null;
  queue_low_m: number | null;
  queue_high_m: number | null;
  is_spillback: boolean;
}
export interface SignalState {
  subject_id: string;
  intersection_id: string;
  signal_group: number;
  phase: string;
  sampled_at: string;
  min_end_at?: string | null;
  max_end_at?: string | null;
  likely_end_at?: string | null;
}
export interface Rsu {
  subject_id: string;
  lat_deg: number;
  lon_deg: number;
  range_m?: number | null;
  health: string;
  sampled_at: string;
  vehicles_in_range?: number;
  clock_offset_ms?: number;
}
export interface Charger {
  subject_id: string;
  station_id: string;
  lat_deg: number;
  lon_deg: number;
  state: string;
  power_w?: number | null;
  energy_j?: number | null;
  fault_text?: string | null;
  sampled_at: string;
}
export interface RoadEvent {
  subject_id: string;
  source_id: string;
  kind: string;
  lat_deg: number;
  lon_deg: number;
  radius_m?: number | null;
  segment_id?: string | null;
  valid_from_at?: string | null;
  valid_to_at?: string | null;
  cause?: string | null;
  advised_speed_mps?: number | null;
  sampled_at: string;
}
/** A road user that a roadside unit sees. */
export interface Perceived {
  object_id: string; // of all units together
  sources: { source_id: string; object_id: string }[]; // each unit's own number for it
  object_class: string | null;
  confidence_ratio: number | null;
}
export interface Account {
  sent: number;
  stored: number;
  pending: number;
  rejected: Record<string, number>;
  dropped: number;
  expired: number;
  thinned: number;
  missing: number;
  duplicates: number;
  is_closed: boolean;
}
export interface EdgeInShort {
  edge_id: string;
  fill_ratio: number;
  spool_records: number;
  problem: string;
  is_full: boolean;
  is_silent: boolean;
}
export interface Kpi {
  zone: string;
  run_id: string;
  zone_time_at: string | null;
  state: string;
  vehicles: number;
  mean_speed_mps: number | null;
  records_per_s: number;
  latency_p50_ms: number | null;
  latency_p99_ms: number | null;
  accounting: Partial<Account>;
  edges: EdgeInShort[];
  is_controllable?: boolean; // its driver takes commands
}
export interface RunSnapshot {
  zone: string;
  run_id: string;
  origin: string;
  title?: string | null;
  map_version?: string | null;
  clock?: string | null;
  segments: SegmentState[];
  signals: SignalState[];
  rsus: Rsu[];
  chargers: Charger[];
  road_events: RoadEvent[];
  kpi: Kpi;
}
export interface Snapshot {
  runs: RunSnapshot[];
  alerts: Alert[];
}
export interface Vehicle {
  vehicle_id: string;
  zone: string;
  run_id: string;
  slot: number;
  is_present: boolean;
  sampled_at: string | null;
  vehicle_class: string | null;
  brake_on: boolean | null;
  segment_id: string | null;
  lane_index: number | null;
  source_id: string | null;
  battery_at: string | null;
  lat_deg: number | null;
  lon_deg: number | null;
  speed_mps: number | null;
  heading_deg: number | null;
  soc_ratio: number | null;
  pack_voltage_v: number | null;
  pack_current_a: number | null;
  cell_voltage_min_v: number | null;
  cell_voltage_max_v: number | null;
  probe_temperature_max_degc: number | null;
  profile?: Record<string, unknown> | null;
  alerts?: Alert[];
}
export interface RunRow {
  run_id: string;
  origin: string;
  title: string | null;
  state: string;
  first_at: string | null;
  last_at: string | null;
  is_in_memory: boolean;
}
export interface ZoneRow {
  zone: string;
  time_zone: string;
  zone_time_at: string | null;
  default_run_id: string | null;
  background: { path: string; datum: Datum } | null;
  runs: RunRow[];
}
export interface Page<T> {
  items: T[];
  next_cursor: string | null;
}
export interface Lane {
  id: string;
  index: number;
  width_m?: number;
  coordinates: [number, number][];
}
export interface SegmentProperties {
  kind: "segment";
  segment_id: string;
  name?: string;
  length_m: number;
  speed_limit_mps: number;
  is_internal?: boolean;
  lane_count: number;
  lanes?: Lane[];
  successors?: string[];
}
export interface HeadProperties {
  kind: "signal_head";
  intersection_id: string;
  signal_group: number;
  segment_id?: string;
}
export interface ZoneMap {
  features: (
    | { properties: SegmentProperties; geometry: { coordinates: [number, number][] } }
    | { properties: HeadProperties; geometry: { coordinates: [number, number] } }
  )[];
}

// The values behind an alert: which stored series speak for its rule, with limits and the span.

import type { App } from "../app";
import { get, part, query } from "../lib/api";
import type { ChartSpec, Line } from "../lib/chart";
import { ms } from "../lib/format";
import { t } from "../lib/i18n";
import type { Alert, Page } from "../lib/types";

const BEFORE_MS = 90_000;
const AFTER_MS = 90_000;
const MOST_ROWS = 900;

interface Row {
  sampled_at: string;
  [name: string]: unknown;
}
type Spec = Pick<ChartSpec, "timesMs" | "lines" | "unit"> & Partial<ChartSpec>;

/** What to draw for an alert; null where nothing is stored that speaks for it. */
export async function evidenceOf(alert: Alert, app: App): Promise<Spec | null> {
  const [fromMs, toMs] = spanOf(alert, app.live.zoneTimeMs);
  const where = query({ zone: alert.zone, run: alert.run_id, from: iso(fromMs - BEFORE_MS), to: iso(toMs + AFTER_MS), limit: MOST_ROWS });
  const rows = await rowsOf(alert, where);
  if (!rows.length) return null;
  const ordered = rows.toSorted((a, b) => (a.sampled_at < b.sampled_at ? -1 : 1));
  const found = linesOf(alert, ordered);
  if (!found) return null;
  return { ...found, timesMs: ordered.map((row) => ms(row.sampled_at)), limits: limitsOf(alert, found.unit), span: [fromMs, toMs] };
}

function spanOf(alert: Alert, nowMs: number): [number, number] {
  const from = ms((alert.evidence.span_started_at as string) ?? alert.started_at);
  const to = ms((alert.cleared_at ?? (alert.evidence.span_ended_at as string | undefined) ?? null));
  return [from, Number.isFinite(to) ? to : Math.max(from, Math.min(nowMs || from, from + 600_000))];
}

const iso = (at: number): string => new Date(at).toISOString();

async function rowsOf(alert: Alert, where: string): Promise<Row[]> {
  const id = part(alert.subject_id);
  if (alert.subject_type === "segment" || alert.segment_id === alert.subject_id) {
    return (await get<Page<Row>>(`/v1/traffic/segments/${id}/history${where}`)).items.filter((row) => row.window_s === 10);
  }
  if (alert.subject_type !== "vehicle") return [];
  const isBattery = alert.kind === "battery" || batteryField(alert) !== null;
  return (await get<Page<Row>>(`/v1/vehicles/${id}/${isBattery ? "battery" : "history"}${where}`)).items;
}

const BATTERY_FIELDS = ["pack_voltage_v", "pack_current_a", "soc_ratio", "insulation_ohm", "soh_ratio"];

function fieldOf(alert: Alert): string {
  const named = alert.evidence.signal ?? alert.evidence.field ?? alert.component ?? "";
  return typeof named === "string" ? named : "";
}

function batteryField(alert: Alert): string | null {
  const field = fieldOf(alert);
  if (BATTERY_FIELDS.includes(field)) return field;
  return field.includes("cell") || field.includes("probe") ? field : null;
}

function linesOf(alert: Alert, rows: Row[]): { lines: Line[]; unit: string; isLog?: boolean } | null {
  const column = (name: string, scale = 1): (number | null)[] => rows.map((row) => (typeof row[name] === "number" ? (row[name] as number) * scale : null));
  const rule = alert.rule;
  if (rule.includes("insulation")) return { lines: [{ name: t("insulation"), values: column("insulation_ohm", 1e-3), digits: 0 }], unit: "kΩ", isLog: true };
  if (rule.includes("temperature") || rule.includes("thermal") || fieldOf(alert).includes("probe")) return { lines: probes(rows), unit: "°C" };
  if (alert.kind === "battery" || fieldOf(alert).includes("cell")) return cells(alert, rows);
  if (alert.subject_type === "segment" || alert.segment_id === alert.subject_id) {
    return { lines: [{ name: t("speed"), values: column("speed_mps", 3.6), digits: 1 }], unit: "km/h" };
  }
  const field = fieldOf(alert);
  if (rows.some((row) => typeof row[field] === "number") && field !== "speed_mps") return { lines: [{ name: field, values: column(field) }], unit: field };
  const lines = [{ name: t("speed"), values: column("speed_mps", 3.6), digits: 1 }];
  const braking = column("accel_long_mps2");
  if (rule.includes("braking") && braking.some((v) => v !== null)) return { lines: [{ name: t("acceleration"), values: braking }], unit: "m/s²" };
  return { lines, unit: "km/h" };
}

function lists(rows: Row[], name: string): (number | null)[][] {
  return rows.map((row) => (Array.isArray(row[name]) ? (row[name] as (number | null)[]) : []));
}

function probes(rows: Row[]): Line[] {
  const values = lists(rows, "probe_temperatures_degc");
  const n = Math.max(0, ...values.map((list) => list.length));
  return Array.from({ length: Math.min(n, 40) }, (_, i) => ({ name: `${t("probe")} ${i + 1}`, values: values.map((list) => list[i] ?? null), digits: 1 }));
}

function cells(alert: Alert, rows: Row[]): { lines: Line[]; unit: string } | null {
  const values = lists(rows, "cell_voltages_v");
  if (!values.some((list) => list.length)) return null;
  const numbers = values.map((list) => list.filter((v): v is number => v !== null).sort((a, b) => a - b));
  const at = (share: number): (number | null)[] => numbers.map((list) => list[Math.min(list.length - 1, Math.floor(share * list.length))] ?? null);
  const lines: Line[] = [
    { name: t("highest cell"), values: at(1), digits: 3 },
    { name: t("median cell"), values: at(0.5), digits: 3 },
    { name: t("lowest cell"), values: at(0), digits: 3 },
  ];
  const cell = Number(alert.component?.match(/^cell:(\d+)$/)?.[1]);
  if (cell) lines.push({ name: `${t("cell")} ${cell}`, values: values.map((list) => list[cell - 1] ?? null), width: 2.6, digits: 3 });
  return { lines, unit: "V" };
}

const UNIT_OF: Record<string, string[]> = { "°C": ["degc"], "km/h": ["mps"], "m/s²": ["mps2"], V: ["v"], kΩ: ["ohm"] };
const SCALE_OF: Record<string, number> = { "km/h": 3.6, kΩ: 1e-3 };

/** `limit_degc: 55` becomes a line at 55 °C; limits in other units have no place on this axis. */
function limitsOf(alert: Alert, unit: string): { name: string; value: number }[] {
  return Object.entries(alert.evidence)
    .filter(([name, value]) => /(^|_)limit(_|$)/.test(name) && typeof value === "number" && (UNIT_OF[unit] ?? []).includes(name.split("_").at(-1) ?? ""))
    .map(([name, value]) => ({ name: t(name.replace(/_[a-z0-9]+$/, "").replaceAll("_", " ")), value: (value as number) * (SCALE_OF[unit] ?? 1) }));
}

// Numbers and times as text. The page shows UTC everywhere; zone time may lie in 2019.

import { t } from "./i18n";

const DASH = "–";
const NUMBER = new Intl.NumberFormat("en-GB");

export type Maybe = number | null | undefined;

const isNumber = (value: Maybe): value is number => typeof value === "number" && Number.isFinite(value);

/** A whole number with thousands separators, a dash for none. */
export function count(value: Maybe): string {
  return isNumber(value) ? NUMBER.format(Math.round(value)) : DASH;
}

/** A number with at most `digits` decimals, a dash for none. */
export function decimal(value: Maybe, digits: number): string {
  return isNumber(value) ? NUMBER.format(Number(value.toFixed(digits))) : DASH;
}

/** A number with exactly `digits` decimals, a dash for none: for columns that line up. */
export function fixed(value: Maybe, digits: number): string {
  return isNumber(value) ? value.toFixed(digits) : DASH;
}

/** A ratio as a percentage. */
export function percent(ratio: Maybe, digits = 0): string {
  return isNumber(ratio) ? `${(ratio * 100).toFixed(digits)} %` : DASH;
}

/** A number short enough for a tile: 12,345 stays, 1,234,567 becomes 1.23M. */
export function short(value: Maybe): string {
  if (!isNumber(value)) return DASH;
  if (value < 100_000) return count(value);
  return value < 1_000_000 ? `${(value / 1000).toFixed(0)}k` : `${(value / 1e6).toFixed(2)}M`;
}

/** Bytes as kB, MB, GB. */
export function bytes(value: Maybe): string {
  if (!isNumber(value)) return DASH;
  if (value < 1e6) return `${decimal(value / 1e3, 1)} kB`;
  return value < 1e9 ? `${decimal(value / 1e6, 1)} MB` : `${decimal(value / 1e9, 2)} GB`;
}

/** A duration in seconds as `12 s`, `3 min`, `5 h`, `2 d`. */
export function duration(seconds: Maybe): string {
  if (!isNumber(seconds) || seconds < 0) return "";
  if (seconds < 90) return t("{n} s", { n: Math.round(seconds) });
  if (seconds < 5400) return t("{n} min", { n: Math.round(seconds / 60) });
  return seconds < 172_800 ? t("{n} h", { n: Math.round(seconds / 3600) }) : t("{n} d", { n: Math.round(seconds / 86_400) });
}

/** A duration as a clock: `02:05`, `1:02:05`. */
export function clock(seconds: number): string {
  const total = Math.max(0, Math.round(seconds));
  const two = (n: number): string => String(n).padStart(2, "0");
  const [h, m, s] = [Math.floor(total / 3600), Math.floor(total / 60) % 60, total % 60];
  return h ? `${h}:${two(m)}:${two(s)}` : `${two(m)}:${two(s)}`;
}

/** An ISO time as `2026-01-01 00:00:00`. */
export function timeText(iso: string | null | undefined): string {
  return iso ? iso.slice(0, 19).replace("T", " ") : DASH;
}

/** The time of day of an ISO time, or of UTC milliseconds. */
export function timeOfDay(at: string | number | null | undefined): string {
  if (at === null || at === undefined) return DASH;
  const iso = typeof at === "number" ? new Date(at).toISOString() : at;
  return iso.slice(11, 19);
}

/** Milliseconds of an ISO time, NaN for none. */
export function ms(iso: string | null | undefined): number {
  return iso ? Date.parse(iso) : NaN;
}

const UNITS: Record<string, string> = {
  mps2: "m/s²", mps: "m/s", kmh: "km/h", degc: "°C", ohm: "Ω", vpkm: "veh/km", vph: "veh/h",
  kps: "K/s", ratio: "", deg: "°", v: "V", mv: "mV", a: "A", ah: "Ah", m: "m", s: "s", ms: "ms", h: "h",
};

/** `speed_limit_mps` reads as "speed limit (m/s)", `limit_ohm_per_v` as "limit (Ω/V)". */
export function fieldName(name: string): string {
  const ratio = /^(.+)_(\w+)_per_(\w+)$/.exec(name);
  if (ratio && UNITS[ratio[2]!] && UNITS[ratio[3]!]) return `${t(ratio[1]!.replaceAll("_", " "))} (${UNITS[ratio[2]!]}/${UNITS[ratio[3]!]})`;
  const words = name.split("_");
  const unit = words.length > 1 ? UNITS[words.at(-1) ?? ""] : undefined;
  if (unit === undefined) return t(words.join(" "));
  return t(words.slice(0, -1).join(" ")) + (unit ? ` (${unit})` : "");
}

/** Any JSON value as text. */
export function fieldValue(value: unknown): string {
  if (typeof value === "number") return String(Number.isInteger(value) ? value : Number(value.toPrecision(6)));
  if (typeof value === "string") return /^\d{4}-\d\d-\d\dT/.test(value) ? timeText(value) : value;
  return value === null || value === undefined ? DASH : JSON.stringify(value);
}

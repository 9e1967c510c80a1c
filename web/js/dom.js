// Elements from values. Text goes in as text, never as markup: an id may hold anything.

/** A new element with attributes, `on...` handlers and children (elements or text). */
export function el(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  for (const child of children) {
    if (child === null || child === undefined) continue;
    element.append(child instanceof Node ? child : document.createTextNode(String(child)));
  }
  return element;
}

/** The element with this id. */
export const byId = (id) => document.getElementById(id);

const DASH = "–";
const NUMBER = new Intl.NumberFormat("en-GB");

/** A number with thousands separators, a dash for none. */
export function count(value) {
  return Number.isFinite(value) ? NUMBER.format(Math.round(value)) : DASH;
}

/** A number with at most `digits` decimals, a dash for none. */
export function decimal(value, digits) {
  return Number.isFinite(value) ? NUMBER.format(Number(value.toFixed(digits))) : DASH;
}

/** A number short enough for a tile: 12,345 stays, 1,234,567 becomes 1.23M. */
export function short(value) {
  if (!Number.isFinite(value)) return DASH;
  if (value < 100_000) return count(value);
  return value < 1_000_000 ? `${(value / 1000).toFixed(0)}k` : `${(value / 1e6).toFixed(2)}M`;
}

/** An ISO time as `2026-01-01 00:00:00`, without its zone: the page shows UTC everywhere. */
export function timeText(iso) {
  return iso ? iso.slice(0, 19).replace("T", " ") : DASH;
}

/** The time between two ISO times in words. */
export function ageText(fromIso, toIso) {
  const seconds = (Date.parse(toIso) - Date.parse(fromIso)) / 1000;
  if (!Number.isFinite(seconds) || seconds < 0) return "";
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172_800 ? `${Math.round(seconds / 3600)} h` : `${Math.round(seconds / 86_400)} d`;
}

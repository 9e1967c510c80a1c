// A dead letter's bytes, and its fields where we can tell them apart.

import { post } from "../lib/api";
import { el } from "../lib/dom";
import { count, fieldName, fieldValue } from "../lib/format";
import { t } from "../lib/i18n";

const ROW_BYTES = 16;

export interface DeadLetter {
  topic: string;
  reason: string;
  detail: string;
  source_id: string;
  subject_id: string;
  session?: number | null;
  seq?: number | null;
  payload_base64?: string;
  payload_bytes: number;
  edge_received_at: string;
}
interface Field {
  offset: number;
  length: number;
  name: string;
  value: string;
}

export function inspector(letter: DeadLetter, onTrace: (source: string, session: number, seq: number) => void): HTMLElement {
  const data = bytesOf(letter.payload_base64 ?? "");
  const fields = el("div");
  const text = new TextDecoder().decode(data);
  showFields(fields, data, text);
  const { source_id: source, session, seq } = letter;
  return el("div", {},
    el("p", {}, el("b", {}, t(letter.reason)), `: ${letter.detail}`),
    el("p", { class: "status id" }, letter.topic),
    session != null && seq != null ? el("button", { type: "button", class: "small", onclick: () => onTrace(source, session, seq) }, t("Trace this record")) : null,
    fields,
    el("h3", {}, t("Bytes"), letter.payload_bytes > data.length ? ` (${t("first {n} of {all}", { n: count(data.length), all: count(letter.payload_bytes) })})` : ""),
    el("pre", { class: "bytes" }, hexDump(data)));
}

function showFields(target: HTMLElement, data: Uint8Array, text: string): void {
  const known = jsonFields(text);
  if (known) {
    target.replaceChildren(table(known));
    return;
  }
  if (data[0] !== 0x23 && data[0] !== 0x24) return; // "##" and "$$" begin a GB/T 32960 frame
  post<{ fields: Field[] }>("/v1/inspect/gbt32960", { hex: [...data].map((b) => b.toString(16).padStart(2, "0")).join("") }).then(
    ({ fields }) => target.replaceChildren(table(fields.map((f) => [`${f.offset}+${f.length} ${f.name}`, f.value]))),
    (error: unknown) => target.replaceChildren(el("p", { class: "failed" }, error instanceof Error ? error.message : String(error))));
}

function jsonFields(text: string): [string, string][] | null {
  try {
    const value: unknown = JSON.parse(text, exact);
    const record: unknown = Array.isArray(value) ? value[0] : value;
    if (typeof record !== "object" || record === null) return null;
    return Object.entries(record).map(([name, item]) => [fieldName(name), fieldValue(item)]);
  } catch {
    return null;
  }
}

/** Whole numbers beyond 2^53, as nanoseconds are, stay the digits that were sent, where the browser tells them. */
function exact(_name: string, value: unknown, from?: { source?: string }): unknown {
  return Number.isInteger(value) && !Number.isSafeInteger(value) ? (from?.source ?? value) : value;
}

function table(rows: [string, string][]): HTMLElement {
  return el("dl", { class: "facts" }, ...rows.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function bytesOf(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
}

function hexDump(data: Uint8Array): string {
  const lines: string[] = [];
  for (let at = 0; at < data.length; at += ROW_BYTES) {
    const row = [...data.subarray(at, at + ROW_BYTES)];
    const hex = row.map((b) => b.toString(16).padStart(2, "0")).join(" ").padEnd(ROW_BYTES * 3);
    lines.push(`${at.toString(16).padStart(4, "0")}  ${hex} ${row.map((b) => (b > 31 && b < 127 ? String.fromCharCode(b) : "·")).join("")}`);
  }
  return lines.join("\n");
}

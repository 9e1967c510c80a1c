// What the evidence of an alert says, in the page's language.

import { decimal, fieldValue } from "../lib/format";
import { language } from "../lib/i18n";
import type { Alert } from "../lib/types";
import { EVIDENCE_ZH, REASONS_ZH } from "./texts_zh";

/** One sentence; empty where the rule says nothing. */
export function saidText(alert: Alert): string {
  const english = typeof alert.evidence.text === "string" ? alert.evidence.text : "";
  if (language !== "zh" || !english) return withSigns(english);
  const texts = EVIDENCE_ZH[alert.rule];
  const wanted = alert.state !== "active" && texts?.was ? [texts.was] : (texts?.is ?? []);
  for (const template of wanted) {
    const text = filled(template, alert);
    if (text !== null) return text;
  }
  return withSigns(english);
}

// Rules write units in ASCII.
const SIGNS: [RegExp, string][] = [[/\bdegC\b/g, "°C"], [/\b(k|M|m)?ohm\b/g, "$1Ω"], [/m\/s2\b/g, "m/s²"]];

/** A rule's sentence with units as people write them. */
export const withSigns = (text: string): string => SIGNS.reduce((said, [ascii, sign]) => said.replace(ascii, sign), text);

/** A template with the alert's values in it; null where one of them is missing. */
export function filled(template: string, alert: Alert): string | null {
  let isWhole = true;
  const text = template.replace(/\{(\w+)(?:\*(-?[\d.]+))?(?::(\d))?\}/g, (_whole, name: string, scale?: string, digits?: string) => {
    const value = valueOf(alert, name);
    if (value === null || value === undefined) isWhole = false;
    if (typeof value === "number") return decimal(value * Number(scale ?? 1), Number(digits ?? 3));
    return (Array.isArray(value) ? value : [value]).map((one) => REASONS_ZH[String(one)] ?? fieldValue(one)).join("、");
  });
  return isWhole ? text : null;
}

function valueOf(alert: Alert, name: string): unknown {
  if (name === "component") return alert.component;
  if (name === "part") return alert.component?.match(/:(.+)$/)?.[1] ?? null;
  return alert.evidence[name];
}

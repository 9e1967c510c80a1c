// The page's words. English is the key, so that code reads as the page does.

import { ZH } from "./zh";

export type Language = "en" | "zh";

function wanted(): Language {
  const kept = localStorage.getItem("language");
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en";
}

export const language: Language = wanted();

/** Keep another language and load the page anew: every view is then built in it. */
export function setLanguage(next: Language): void {
  localStorage.setItem("language", next);
  location.reload();
}

/** A text of the page in its language; `{name}` is filled from the values. */
export function t(text: string, values: Record<string, string | number> = {}): string {
  const found = language === "zh" ? (ZH[text] ?? text) : text;
  return found.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));
}

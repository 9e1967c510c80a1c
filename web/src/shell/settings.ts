// What a person chose, kept on this machine, and what a link says, kept in the address.

import type { Theme } from "../lib/palette";

/** The address behind `#`: zone, run, view, place, selection, time. */
export class Link {
  private values = new URLSearchParams(location.hash.slice(1));

  get(name: string): string {
    return this.values.get(name) ?? "";
  }

  /** Change parts of the address; empty ones go. No entry in the browser's history. */
  set(changes: Record<string, string>): void {
    for (const [name, value] of Object.entries(changes)) {
      if (value) this.values.set(name, value);
      else this.values.delete(name);
    }
    history.replaceState(null, "", `#${this.values}`);
  }

  /** Somebody changed the address by hand, or a bookmark. */
  onChange(listener: () => void): void {
    window.addEventListener("hashchange", () => {
      this.values = new URLSearchParams(location.hash.slice(1));
      listener();
    });
  }
}

export function themeNow(): Theme {
  const kept = localStorage.getItem("theme");
  if (kept === "dark" || kept === "light") return kept;
  return "dark"; // it hangs on control-room walls; whoever works by daylight chooses light once
}

export function keepTheme(theme: Theme): void {
  localStorage.setItem("theme", theme);
  showTheme(theme);
}

export function showTheme(theme: Theme): void {
  document.documentElement.dataset.theme = theme;
}

export const isOn = (name: string): boolean => localStorage.getItem(name) === "on";
export const keepOn = (name: string, on: boolean): void => localStorage.setItem(name, on ? "on" : "off");

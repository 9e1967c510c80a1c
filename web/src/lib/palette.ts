// Colours with a meaning. Speed steps differ in lightness too, for those who see no red or green.

import type { Severity } from "./types";

export type Theme = "dark" | "light";

export const SPEED_STEPS = [
  { from: 0, dark: "#e5484d", light: "#c4262e" },
  { from: 0.25, dark: "#ff9142", light: "#d8660a" },
  { from: 0.5, dark: "#d9d24a", light: "#a89a00" },
  { from: 0.75, dark: "#3ecf8e", light: "#128a57" },
] as const;

/** Levels of service by density, veh/km and lane (HCM 6, basic freeway segments, in km). */
export const LOS_STEPS = [
  { name: "A", from: 0, dark: "#3ecf8e", light: "#128a57" },
  { name: "B", from: 7, dark: "#9bd45c", light: "#5c8f12" },
  { name: "C", from: 11, dark: "#d9d24a", light: "#a89a00" },
  { name: "D", from: 16, dark: "#ffb347", light: "#c98200" },
  { name: "E", from: 22, dark: "#ff7a45", light: "#cf4f12" },
  { name: "F", from: 28, dark: "#e5484d", light: "#b01e26" },
] as const;

interface MapColours {
  ground: string;
  asphalt: string;
  noData: string;
  edge: string;
  range: string;
  ink: string;
  paper: string;
}
export const MAP: Record<Theme, MapColours> = {
  dark: {
    ground: "#0d151e", asphalt: "#22303f", noData: "#3a4a5c", edge: "#08131c",
    range: "#4cc9f0", ink: "#e6edf3", paper: "#0d151e",
  },
  light: {
    ground: "#eef1f4", asphalt: "#c3ccd6", noData: "#a3afbc", edge: "#ffffff",
    range: "#0b78a8", ink: "#17212b", paper: "#ffffff",
  },
};

export interface VehicleClass {
  name: string;
  dark: string;
  light: string;
  lengthM: number;
  widthM: number;
}
// In the order of the contract's vehicle_class codes.
export const CLASSES: readonly VehicleClass[] = [
  { name: "car", dark: "#7cc4ff", light: "#1565c0", lengthM: 4.6, widthM: 1.9 },
  { name: "truck", dark: "#c49bff", light: "#6a33c9", lengthM: 10, widthM: 2.5 },
  { name: "bus", dark: "#ffd166", light: "#9a6a00", lengthM: 12, widthM: 2.5 },
  { name: "motorcycle", dark: "#ff9ecb", light: "#b3246f", lengthM: 2.2, widthM: 0.9 },
  { name: "bicycle", dark: "#8ef0c8", light: "#00795a", lengthM: 1.8, widthM: 0.7 },
  { name: "pedestrian", dark: "#ffffff", light: "#333f4a", lengthM: 0.9, widthM: 0.9 },
  { name: "tram", dark: "#ffb38a", light: "#a8481a", lengthM: 30, widthM: 2.6 },
  { name: "emergency", dark: "#ff6b6b", light: "#c01a1a", lengthM: 6, widthM: 2.2 },
  { name: "other", dark: "#b8c7d6", light: "#56636f", lengthM: 4.6, widthM: 1.9 },
];
export const UNKNOWN_CLASS: VehicleClass = CLASSES[8]!;

export const PHASES: Record<string, string> = {
  red: "#ff5c5c", amber: "#ffc93c", red_amber: "#ff9142", green: "#3ecf8e", green_permissive: "#8fd96a",
  flashing: "#ffc93c", off: "#5b6b7c", stale: "#8494a5",
};

export const SEVERITY_COLOURS: Record<Theme, Record<Severity, string>> = {
  dark: { critical: "#ff5c5c", serious: "#ff9142", warning: "#f5c542", info: "#6cb6ff" },
  light: { critical: "#c4181f", serious: "#a34300", warning: "#7a5b00", info: "#0b5cad" },
};

/** Lines of a chart, told apart by lightness too. */
export const SERIES: Record<Theme, readonly string[]> = {
  dark: ["#4cc9f0", "#f5c542", "#c49bff", "#3ecf8e", "#ff9142", "#ff9ecb", "#9fb2c6", "#8ef0c8"],
  light: ["#0b78a8", "#8a6a00", "#6a33c9", "#128a57", "#a34300", "#b3246f", "#56636f", "#00795a"],
};

/** Colour of a share of the speed limit. */
export function speedColour(ratio: number, theme: Theme): string {
  return (SPEED_STEPS.findLast((step) => ratio >= step.from) ?? SPEED_STEPS[0])[theme];
}

/** Colour of a density in vehicles per km and lane. */
export function losColour(perLane: number, theme: Theme): string {
  return (LOS_STEPS.findLast((step) => perLane >= step.from) ?? LOS_STEPS[0])[theme];
}

/** A colour from blue over pale to red for -1 to 1. */
export function diverging(value: number): [number, number, number] {
  const t = Math.max(-1, Math.min(1, value));
  const mix = (a: number, b: number): number => Math.round(a + (b - a) * Math.abs(t));
  return t < 0 ? [mix(38, 86), mix(52, 170), mix(66, 255)] : [mix(38, 255), mix(52, 92), mix(66, 72)];
}

// Colours with a meaning. Speed steps differ in lightness too, for those who see no red or green.

export const SPEED_STEPS = [
  { from: 0.75, colour: "#3ecf8e", text: "free" },
  { from: 0.5, colour: "#d9d24a", text: "dense" },
  { from: 0.25, colour: "#ff9142", text: "slow" },
  { from: 0, colour: "#e5484d", text: "jam" },
];
export const NO_DATA = "#3a4a5c";

/** Colour of a share of the speed limit. */
export function speedColour(ratio) {
  return (SPEED_STEPS.find((step) => ratio >= step.from) ?? SPEED_STEPS.at(-1)).colour;
}

// In the order of the contract's vehicle_class codes.
export const CLASSES = [
  { name: "car", colour: "#7cc4ff" },
  { name: "truck", colour: "#c49bff" },
  { name: "bus", colour: "#ffd166" },
  { name: "motorcycle", colour: "#ff9ecb" },
  { name: "bicycle", colour: "#8ef0c0" },
  { name: "pedestrian", colour: "#ffffff" },
  { name: "tram", colour: "#f4a261" },
  { name: "emergency", colour: "#ff6b6b" },
  { name: "other", colour: "#b8c4d0" },
];
export const UNKNOWN_CLASS = { name: "unknown", colour: "#b8c4d0" };

export const PHASES = {
  red: "#ff4d4f",
  red_amber: "#ff8c3a",
  green: "#35d07f",
  green_permissive: "#a5e05f",
  amber: "#ffc53d",
  flashing: "#ffc53d",
  off: "#6b7a8a",
};
export const STALE_PHASE = "#6b7a8a";

export const SEVERITIES = {
  info: "#6cb6ff",
  warning: "#f5c542",
  serious: "#ff9142",
  critical: "#ff5c5c",
};

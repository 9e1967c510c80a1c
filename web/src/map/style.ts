// The map's layers in MapLibre's style language; no glyphs, no sprites, no tiles from elsewhere.

import type { StyleSpecification, ExpressionSpecification } from "maplibre-gl";
import { LOS_STEPS, MAP, PHASES, SEVERITY_COLOURS, SPEED_STEPS, type Theme } from "../lib/palette";
import { scale } from "../lib/scale";

export type Colouring = "speed" | "los";
const NONE: { type: "FeatureCollection"; features: [] } = { type: "FeatureCollection", features: [] };
const TILE_PX = 512;
const EARTH_M = 40_075_016.686;

/** Width in pixels of something that is `metres` wide on the ground, at least `leastPx`. */
function groundWidth(metres: ExpressionSpecification | number, latDeg: number, leastPx: number): ExpressionSpecification {
  const least = leastPx * scale();
  const perMetre = (zoom: number): number => (TILE_PX * 2 ** zoom) / (EARTH_M * Math.cos((latDeg * Math.PI) / 180));
  const stops = [8, 22].flatMap((zoom) => [zoom, ["max", least, ["*", metres, perMetre(zoom)]]]);
  // Between the two stops a width grows with 2^zoom, as the ground does.
  const near = [12, 13, 14, 15, 16, 17].flatMap((zoom) => [zoom, ["max", least, ["*", metres, perMetre(zoom)]]]);
  const all = [stops[0], stops[1], ...near, stops[2], stops[3]];
  return ["interpolate", ["exponential", 2], ["zoom"], ...all] as unknown as ExpressionSpecification;
}

function stepped(state: string, steps: readonly { from: number; dark: string; light: string }[], theme: Theme): ExpressionSpecification {
  const [first, ...rest] = steps;
  const value = ["feature-state", state];
  const step = ["step", value, first![theme], ...rest.flatMap((s) => [s.from, s[theme]])];
  return ["case", ["==", ["typeof", value], "number"], step, MAP[theme].noData] as unknown as ExpressionSpecification;
}

/** The lanes' colour: by share of the speed limit, or by density as a level of service. */
export function laneColour(colouring: Colouring, theme: Theme): ExpressionSpecification {
  return colouring === "speed" ? stepped("speed", SPEED_STEPS, theme) : stepped("density", LOS_STEPS, theme);
}

// What differs from feature to feature is compiled into a layer's shader, and each other set of such properties is
// another shader: a fifth of a second of CPU without a graphics card. So nothing but colour and width
// differs: who is not to be seen has a colour that cannot be seen.
const UNSEEN = "rgba(0, 0, 0, 0)";
const FAINT = 0.25;

function phaseColour(): ExpressionSpecification {
  const { stale, ...known } = PHASES;
  const value = ["coalesce", ["feature-state", "phase"], "stale"];
  return ["match", value, ...Object.entries(known).flat(), faint(stale!)] as unknown as ExpressionSpecification;
}

function faint(hex: string): string {
  const [r, g, b] = [1, 3, 5].map((at) => Number.parseInt(hex.slice(at, at + 2), 16));
  return `rgba(${r}, ${g}, ${b}, ${FAINT})`;
}

/** One colour, as if it differed: with the shader of the layers where it does. */
function same(colour: string): ExpressionSpecification {
  return ["case", ["to-boolean", ["get", "is_internal"]], colour, colour] as unknown as ExpressionSpecification;
}

function alertColour(theme: Theme): ExpressionSpecification {
  const { critical, serious, warning, info } = SEVERITY_COLOURS[theme];
  const value = ["coalesce", ["feature-state", "alert"], 0];
  return ["match", value, 4, critical, 3, serious, 2, warning, 1, info, UNSEEN] as unknown as ExpressionSpecification;
}

/** Pixels by zoom, as large as the page is written. */
function byZoom(...stops: [zoom: number, px: number][]): ExpressionSpecification {
  return ["interpolate", ["linear"], ["zoom"], ...stops.flatMap(([zoom, px]) => [zoom, px * scale()])] as unknown as ExpressionSpecification;
}

/** The whole style for a theme; widths are true at the zone's latitude. */
export function styleOf(theme: Theme, colouring: Colouring, latDeg: number): StyleSpecification {
  const colours = MAP[theme];
  const width: ExpressionSpecification = ["get", "width_m"];
  const round = { "line-cap": "round", "line-join": "round" } as const;
  const health: ExpressionSpecification = ["match", ["get", "health"], "ok", colours.range, "degraded",
    SEVERITY_COLOURS[theme].warning, SEVERITY_COLOURS[theme].critical];
  const source = { type: "geojson", data: NONE, tolerance: 0.05, maxzoom: 20, buffer: 64 } as const;
  return {
    version: 8,
    sources: {
      lanes: { ...source, promoteId: "segment_id" },
      heads: { ...source, promoteId: "key" },
      rsus: { ...source },
      chargers: { ...source },
      events: { ...source },
      queues: { ...source },
    },
    layers: [
      { id: "ground", type: "background", paint: { "background-color": colours.ground } },
      { id: "rsu-range", type: "fill", source: "rsus", filter: ["==", ["get", "part"], "range"],
        paint: { "fill-color": health, "fill-opacity": theme === "dark" ? 0.06 : 0.05, "fill-antialias": false } },
      { id: "alert-glow", type: "line", source: "lanes", layout: round,
        paint: {
          "line-color": alertColour(theme),
          "line-width": groundWidth(["+", width, 9], latDeg, 12),
          "line-opacity": 0.4,
          "line-blur": 5,
        } },
      { id: "asphalt", type: "line", source: "lanes", layout: round,
        paint: { "line-color": same(colours.asphalt), "line-width": groundWidth(["+", width, 0.7], latDeg, 3.6) } },
      { id: "junctions", type: "line", source: "lanes", layout: round, filter: ["get", "is_internal"],
        paint: {
          "line-color": laneColour(colouring, theme),
          "line-width": groundWidth(["*", width, 0.5], latDeg, 1.6),
          "line-opacity": ["interpolate", ["linear"], ["zoom"], 14, 0.6, 18, 0.25],
        } },
      { id: "lanes", type: "line", source: "lanes", layout: round, filter: ["!", ["get", "is_internal"]],
        paint: {
          "line-color": laneColour(colouring, theme),
          "line-width": groundWidth(["*", width, 0.6], latDeg, 2.2),
          "line-opacity": ["interpolate", ["linear"], ["zoom"], 15, 1, 17.5, 0.62],
        } },
      { id: "queues", type: "line", source: "queues", layout: { "line-cap": "butt", "line-join": "round" },
        paint: {
          "line-color": ["case", ["get", "is_full"], SEVERITY_COLOURS[theme].critical, colours.ink],
          "line-width": groundWidth(0.7, latDeg, 1.6),
          "line-dasharray": [2.4, 1.2],
        } },
      { id: "rsu-edge", type: "line", source: "rsus", filter: ["==", ["get", "part"], "range"],
        paint: { "line-color": health, "line-width": 1.2 * scale(), "line-opacity": 0.55, "line-dasharray": [4, 4] } },
      { id: "event-reach", type: "fill", source: "events",
        paint: { "fill-color": SEVERITY_COLOURS[theme].warning, "fill-opacity": 0.12, "fill-outline-color": SEVERITY_COLOURS[theme].warning } },
      { id: "heads", type: "circle", source: "heads",
        paint: {
          "circle-color": phaseColour(),
          "circle-radius": byZoom([13, 1.8], [15, 3.2], [18, 6.5]),
          "circle-stroke-color": colours.edge,
          "circle-stroke-width": byZoom([13, 0.6], [16, 1.6]),
        } },
      { id: "chargers", type: "circle", source: "chargers",
        paint: {
          "circle-color": ["match", ["get", "state"], "charging", "#3ecf8e", "occupied", "#ffc93c", "faulted", "#ff5c5c", "offline", "#8494a5", "#6cb6ff"],
          "circle-radius": byZoom([13, 3], [18, 8]),
          "circle-stroke-color": colours.edge, "circle-stroke-width": 2 * scale(),
        } },
      { id: "rsus", type: "circle", source: "rsus", filter: ["==", ["get", "part"], "place"],
        paint: {
          "circle-color": health,
          "circle-radius": byZoom([12, 3.5], [17, 7]),
          "circle-stroke-color": colours.edge, "circle-stroke-width": 2.5 * scale(),
        } },
    ],
  };
}

/** Layers that a switch of the page shows or hides. */
export const SWITCHES = {
  vehicles: [],
  perceived: [],
  roads: ["lanes", "junctions"],
  signals: ["heads"],
  rsus: ["rsus", "rsu-range", "rsu-edge"],
  chargers: ["chargers"],
  events: ["event-reach"],
  queues: ["queues"],
  alerts: ["alert-glow"],
  background: [],
} as const;
export type Switch = keyof typeof SWITCHES;

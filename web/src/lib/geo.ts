// Web Mercator of WGS-84 in a unit square. y runs south.

import { remPx } from "./scale";

export const WORLD = 2 ** 32;
const EARTH_CIRCUMFERENCE_M = 40_075_016.686;
const MAX_LAT_DEG = 85.05112878;
const TILE_PX = 512; // MapLibre's zoom 0 shows the world this wide

export type Box = [minX: number, minY: number, maxX: number, maxY: number];

export function toWorld(lonDeg: number, latDeg: number): [number, number] {
  const lat = (Math.max(-MAX_LAT_DEG, Math.min(MAX_LAT_DEG, latDeg)) * Math.PI) / 180;
  return [(lonDeg + 180) / 360, 0.5 - Math.asinh(Math.tan(lat)) / (2 * Math.PI)];
}

export function toLonLat(x: number, y: number): [number, number] {
  return [x * 360 - 180, (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI];
}

/** Metres on the ground that one unit of the world square is long, at a latitude. */
export function metresPerWorld(latDeg: number): number {
  return EARTH_CIRCUMFERENCE_M * Math.cos((latDeg * Math.PI) / 180);
}

/** CSS pixels that the world is wide at a zoom of MapLibre's. */
export const worldPx = (zoom: number): number => TILE_PX * 2 ** zoom;

const FIT_PX = { top: 56, side: 40, foot: 12 }; // room for search and buttons
const FOOT_REM = 5; // the time bar
const FIT_MOST_ZOOM = 17.5;

/** The view of a map of this size in CSS pixels that shows a whole box, with room for what lies over it. */
export function fitted([west, south, east, north]: Box, width: number, height: number): { lon: number; lat: number; zoom: number } {
  const foot = FIT_PX.foot + FOOT_REM * remPx();
  const [x0, y0] = toWorld(west, north);
  const [x1, y1] = toWorld(east, south);
  const across = Math.max(1, width - 2 * FIT_PX.side) / Math.max(1e-9, x1 - x0);
  const down = Math.max(1, height - FIT_PX.top - foot) / Math.max(1e-9, y1 - y0);
  const zoom = Math.min(FIT_MOST_ZOOM, Math.log2(Math.min(across, down) / TILE_PX));
  const [lon, lat] = toLonLat((x0 + x1) / 2, (y0 + y1) / 2 + (foot - FIT_PX.top) / 2 / worldPx(zoom));
  return { lon, lat, zoom };
}

/** A circle on the ground as a polygon's ring. */
export function circle(lonDeg: number, latDeg: number, radiusM: number, corners = 72): [number, number][] {
  const [x, y] = toWorld(lonDeg, latDeg);
  const radius = radiusM / metresPerWorld(latDeg);
  return Array.from({ length: corners + 1 }, (_, i) => {
    const angle = (i % corners) * ((2 * Math.PI) / corners);
    return toLonLat(x + radius * Math.cos(angle), y + radius * Math.sin(angle));
  });
}

/** Distance between two places in metres, on the sphere's tangent: for what lies near. */
export function metresBetween(a: [number, number], b: [number, number]): number {
  const perDeg = EARTH_CIRCUMFERENCE_M / 360;
  const east = (b[0] - a[0]) * perDeg * Math.cos((a[1] * Math.PI) / 180);
  return Math.hypot(east, (b[1] - a[1]) * perDeg);
}

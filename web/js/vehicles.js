// Vehicles: the binary frames of /v1/live, and their positions between two frames.

import { WORLD } from "./geo.js";
import { CLASSES, UNKNOWN_CLASS } from "./palette.js";

const MAGIC = 0x4c435256; // "VRCL", little-endian
const HEADER_BYTES = 32;
const VEHICLE_BYTES = 16;
const FLAG_NO_HEADING = 32;
const SPEED_ABSENT = 255;
const OUTLINE = "#0a121a"; // tells a vehicle from the road's colour below it
const OUTLINE_FROM_PX = 7;
const TELEPORT_WORLD = 250 / 40_075_017; // further than 250 m is another vehicle or a gap: no glide
const FIRST_GLIDE_MS = 1000;
const MIN_GLIDE_MS = 150;
const MAX_GLIDE_MS = 1500;

/** A frame as an object, or null when it is not one of ours. */
export function decodeFrame(buffer) {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) return null;
  const n = view.getUint32(8, true);
  if (view.getUint8(4) !== 1 || buffer.byteLength !== HEADER_BYTES + n * VEHICLE_BYTES) return null;
  return { view, n, number: view.getUint32(12, true), serverTimeMs: view.getFloat64(16, true) };
}

/** All vehicles of the last frame, each on its way from where it was drawn to where it is. */
export class Vehicles {
  constructor() {
    this.bySlot = new Map();
    this.movingUntilMs = 0;
  }

  clear() {
    this.bySlot.clear();
  }

  /** Take a frame that came at `nowMs` (the page's clock). */
  take(frame, nowMs) {
    const next = new Map();
    for (let i = 0; i < frame.n; i++) {
      const at = HEADER_BYTES + i * VEHICLE_BYTES;
      const slot = frame.view.getUint32(at, true);
      const x = frame.view.getUint32(at + 4, true) / WORLD;
      const y = frame.view.getUint32(at + 8, true) / WORLD;
      const flags = frame.view.getUint8(at + 15);
      const speed = frame.view.getUint8(at + 14);
      const heading = (frame.view.getUint16(at + 12, true) / 65536) * 2 * Math.PI;
      const known = this.bySlot.get(slot);
      const item = this.place(known, x, y, nowMs);
      item.slot = slot;
      item.heading = flags & FLAG_NO_HEADING ? null : heading;
      item.speedKmh = speed === SPEED_ABSENT ? null : speed;
      item.kind = CLASSES[flags & 15] ?? UNKNOWN_CLASS;
      item.brakes = Boolean(flags & 16);
      next.set(slot, item);
    }
    this.bySlot = next;
  }

  // A vehicle glides for as long as its own last report took to come, so that it arrives when the
  // next one is due: every sender has its rhythm.
  place(known, x, y, nowMs) {
    if (!known) return { fromX: x, fromY: y, x, y, startMs: nowMs, glideMs: FIRST_GLIDE_MS };
    if (known.x === x && known.y === y) return known;
    const isFar = Math.abs(known.x - x) + Math.abs(known.y - y) > TELEPORT_WORLD;
    const [fromX, fromY] = isFar ? [x, y] : this.positionOf(known, nowMs);
    const glideMs = Math.min(Math.max(nowMs - known.startMs, MIN_GLIDE_MS), MAX_GLIDE_MS);
    this.movingUntilMs = Math.max(this.movingUntilMs, nowMs + glideMs);
    return { fromX, fromY, x, y, startMs: nowMs, glideMs };
  }

  positionOf(item, nowMs) {
    const share = Math.min(1, (nowMs - item.startMs) / item.glideMs);
    return [item.fromX + (item.x - item.fromX) * share, item.fromY + (item.y - item.fromY) * share];
  }

  /** Whether anything is still between two places. */
  isMoving(nowMs) {
    return nowMs < this.movingUntilMs + 100;
  }

  draw(context, view, nowMs) {
    const perMetre = 1 / view.metresPerPixel;
    const least = leastLength(view.metresPerPixel);
    const length = Math.min(Math.max(4.6 * perMetre, least), 60);
    const width = Math.min(Math.max(1.9 * perMetre, least * 0.55), 26);
    for (const item of this.bySlot.values()) {
      const [x, y] = view.toScreen(...this.positionOf(item, nowMs));
      if (x < -60 || y < -60 || x > view.width + 60 || y > view.height + 60) continue;
      drawVehicle(context, item, x, y, length, width);
    }
  }

  /** The vehicle nearest to a pixel, within reach. */
  at(view, px, py, nowMs, reach = 12) {
    let best = null;
    let bestDistance = reach;
    for (const item of this.bySlot.values()) {
      const [x, y] = view.toScreen(...this.positionOf(item, nowMs));
      const distance = Math.hypot(x - px, y - py);
      if (distance < bestDistance) [best, bestDistance] = [item, distance];
    }
    return best;
  }
}

// Seen from afar vehicles shrink, or they would hide the roads' colours; near by they can be told
// by colour and heading even where they are smaller than that in truth.
function leastLength(metresPerPixel) {
  const [near, far] = [0.8, 3];
  const share = Math.min(1, Math.max(0, (metresPerPixel - near) / (far - near)));
  return 9.5 - share * 5;
}

function drawVehicle(context, item, x, y, length, width) {
  context.fillStyle = item.kind.colour;
  context.beginPath();
  if (item.heading === null) {
    context.arc(x, y, width / 2 + 1, 0, 2 * Math.PI);
    context.strokeStyle = OUTLINE;
    context.lineWidth = 2;
    context.stroke();
    context.fill();
    return;
  }
  // The position is the middle of the front bumper: the body lies behind it.
  const [sin, cos] = [Math.sin(item.heading), -Math.cos(item.heading)];
  const corner = (ahead, aside) =>
    [x + sin * ahead - cos * aside, y + cos * ahead + sin * aside];
  context.moveTo(...corner(0, 0));
  context.lineTo(...corner(-length * 0.32, width / 2));
  context.lineTo(...corner(-length, width / 2));
  context.lineTo(...corner(-length, -width / 2));
  context.lineTo(...corner(-length * 0.32, -width / 2));
  context.closePath();
  if (length > OUTLINE_FROM_PX) {
    context.strokeStyle = OUTLINE;
    context.lineWidth = 2;
    context.stroke();
  }
  context.fill();
  if (item.brakes) {
    context.strokeStyle = "#ff3b3b";
    context.lineWidth = Math.max(2, width * 0.22);
    context.beginPath();
    context.moveTo(...corner(-length, width / 2));
    context.lineTo(...corner(-length, -width / 2));
    context.stroke();
  }
}

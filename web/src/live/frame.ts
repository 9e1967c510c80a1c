// The binary frames of /v1/live: a header and 16 bytes a vehicle (cloud/live_frame.py).

const MAGIC = 0x4c435256; // "VRCL", little-endian
const VERSION = 1;
export const HEADER_BYTES = 32;
export const VEHICLE_BYTES = 16;
export const FLAG_BRAKE = 16;
export const FLAG_NO_HEADING = 32;
export const FLAG_PERCEIVED = 64; // seen by the road, not connected
export const OBJECT_SLOTS = 2 ** 31; // slots of perceived road users begin here
export const SPEED_ABSENT = 255;

/** One moment of all vehicles in view, as columns; index i is one vehicle. */
export interface Frame {
  n: number;
  number: number;
  serverTimeMs: number;
  slot: Uint32Array;
  x: Uint32Array; // Web Mercator in 2^-32 of the world
  y: Uint32Array;
  heading: Uint16Array; // 2^16 a turn, 0 north, clockwise
  speedKmh: Uint8Array;
  flags: Uint8Array; // class 4 bits, brake, no heading, perceived
}

export function emptyFrame(n: number): Frame {
  return {
    n,
    number: 0,
    serverTimeMs: 0,
    slot: new Uint32Array(n),
    x: new Uint32Array(n),
    y: new Uint32Array(n),
    heading: new Uint16Array(n),
    speedKmh: new Uint8Array(n),
    flags: new Uint8Array(n),
  };
}

/** The frame without whom only the road sees. */
export function connectedOnly(frame: Frame): Frame {
  let n = 0;
  const kept = emptyFrame(frame.n);
  for (let i = 0; i < frame.n; i++) {
    if (frame.flags[i]! & FLAG_PERCEIVED) continue;
    for (const name of ["slot", "x", "y", "heading", "speedKmh", "flags"] as const) kept[name][n] = frame[name][i]!;
    n++;
  }
  return { ...kept, n, number: frame.number, serverTimeMs: frame.serverTimeMs };
}

/** A frame from bytes, or null when it is not one of ours. */
export function decodeFrame(buffer: ArrayBuffer): Frame | null {
  if (buffer.byteLength < HEADER_BYTES) return null;
  const view = new DataView(buffer);
  const n = view.getUint32(8, true);
  if (view.getUint32(0, true) !== MAGIC || view.getUint8(4) !== VERSION) return null;
  if (buffer.byteLength !== HEADER_BYTES + n * VEHICLE_BYTES) return null;
  const frame = emptyFrame(n);
  frame.number = view.getUint32(12, true);
  frame.serverTimeMs = view.getFloat64(16, true);
  // Every machine that runs a browser is little-endian, so rows are read as words.
  const words = new Uint32Array(buffer, HEADER_BYTES, n * 4);
  const halves = new Uint16Array(buffer, HEADER_BYTES, n * 8);
  const bytes = new Uint8Array(buffer, HEADER_BYTES, n * 16);
  for (let i = 0; i < n; i++) {
    frame.slot[i] = words[i * 4]!;
    frame.x[i] = words[i * 4 + 1]!;
    frame.y[i] = words[i * 4 + 2]!;
    frame.heading[i] = halves[i * 8 + 6]!;
    frame.speedKmh[i] = bytes[i * 16 + 14]!;
    frame.flags[i] = bytes[i * 16 + 15]!;
  }
  return frame;
}

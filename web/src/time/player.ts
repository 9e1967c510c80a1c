// A past stretch of stored history, played into a scene and the vehicles' layer.

import { get, getBytes, query } from "../lib/api";
import { ms } from "../lib/format";
import type { Alert, Charger, Page, RoadEvent, Rsu, SegmentState, SignalState } from "../lib/types";
import { emptyFrame, type Frame } from "../live/frame";
import type { Scene } from "../live/scene";

const MAGIC = 0x50435256; // "VRCP", little-endian
const HEADER_BYTES = 24;
const SAMPLE_BYTES = 20;
const CHUNK_MS = 40_000;
const GONE_MS = 6_000; // without a sample for so long a vehicle is not shown
const STATES_EVERY_MS = 5_000;
const MOST_CHUNKS = 6;

interface Chunk {
  fromMs: number;
  names: string[];
  n: number;
  slot: Uint32Array;
  atMs: Uint32Array; // after fromMs
  x: Uint32Array;
  y: Uint32Array;
  heading: Uint16Array;
  speedKmh: Uint8Array;
  flags: Uint8Array;
}
interface PastState {
  segments: SegmentState[];
  signals: SignalState[];
  rsus: Rsu[];
  chargers: Charger[];
  road_events: RoadEvent[];
}

/** Samples of a chunk, ordered by vehicle and time (cloud/past_frame.py). */
export function decodeChunk(buffer: ArrayBuffer, fromMs: number): Chunk {
  const view = new DataView(buffer);
  if (buffer.byteLength < HEADER_BYTES || view.getUint32(0, true) !== MAGIC) throw new Error("no positions");
  const [n, namesBytes] = [view.getUint32(8, true), view.getUint32(12, true)];
  const end = HEADER_BYTES + n * SAMPLE_BYTES;
  const names = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, end, namesBytes))) as string[];
  const words = new Uint32Array(buffer, HEADER_BYTES, n * 5);
  const halves = new Uint16Array(buffer, HEADER_BYTES, n * 10);
  const bytes = new Uint8Array(buffer, HEADER_BYTES, n * 20);
  const pick = (at: number): Uint32Array => Uint32Array.from({ length: n }, (_, i) => words[i * 5 + at]!);
  return {
    fromMs, names, n, slot: pick(0), atMs: pick(1), x: pick(2), y: pick(3),
    heading: Uint16Array.from({ length: n }, (_, i) => halves[i * 10 + 8]!),
    speedKmh: Uint8Array.from({ length: n }, (_, i) => bytes[i * 20 + 18]!),
    flags: Uint8Array.from({ length: n }, (_, i) => bytes[i * 20 + 19]!),
  };
}

/** Where everybody was at a moment, between the samples before and after it. */
export function frameAt(chunk: Chunk, atMs: number): Frame {
  const wanted = atMs - chunk.fromMs;
  const at: number[] = [];
  for (let i = 0; i < chunk.n; i++) {
    const isLast = i + 1 === chunk.n || chunk.slot[i + 1] !== chunk.slot[i];
    if (chunk.atMs[i]! <= wanted && (isLast || chunk.atMs[i + 1]! > wanted) && wanted - chunk.atMs[i]! < GONE_MS) at.push(i);
  }
  const frame = emptyFrame(at.length);
  at.forEach((i, place) => {
    const j = i + 1 < chunk.n && chunk.slot[i + 1] === chunk.slot[i] ? i + 1 : i;
    const gap = chunk.atMs[j]! - chunk.atMs[i]!;
    const share = gap > 0 && gap < GONE_MS ? Math.min(1, (wanted - chunk.atMs[i]!) / gap) : 0;
    frame.slot[place] = chunk.slot[i]!;
    frame.x[place] = chunk.x[i]! + (chunk.x[j]! - chunk.x[i]!) * share;
    frame.y[place] = chunk.y[i]! + (chunk.y[j]! - chunk.y[i]!) * share;
    frame.heading[place] = chunk.heading[i]!;
    frame.speedKmh[place] = chunk.speedKmh[i]!;
    frame.flags[place] = chunk.flags[i]!;
  });
  return frame;
}

/** Loads what a moment needs, ahead of it, and shows it. */
export class Player {
  private readonly chunks = new Map<number, Chunk | Promise<Chunk>>();
  private statesAtMs = NaN;
  private names: string[] = [];

  constructor(
    private readonly scene: Scene,
    private readonly zone: string,
    private readonly run: string,
  ) {}

  /** Show a moment; null while its positions are being read. */
  async show(atMs: number): Promise<Frame | null> {
    const key = Math.floor(atMs / CHUNK_MS);
    void this.chunk(key + 1).catch(() => {}); // the next one is ready when it is needed
    const chunk = await this.chunk(key);
    this.names = chunk.names;
    if (!(Math.abs(atMs - this.statesAtMs) < STATES_EVERY_MS)) {
      await this.showStates(atMs);
      this.statesAtMs = atMs; // only once they are there: what failed is read again
    }
    this.scene.setTime(atMs, performance.now());
    return frameAt(chunk, atMs);
  }

  /** Who a number of the last frame stands for. */
  nameOf(slot: number): string | null {
    return this.names[slot] ?? null;
  }

  private async chunk(key: number): Promise<Chunk> {
    let known = this.chunks.get(key);
    if (!known) {
      known = this.read(key);
      this.chunks.set(key, known);
      known.then((chunk) => this.chunks.set(key, chunk), () => this.chunks.delete(key));
      while (this.chunks.size > MOST_CHUNKS) this.chunks.delete(this.chunks.keys().next().value!);
    }
    return known;
  }

  private async read(key: number): Promise<Chunk> {
    const fromMs = key * CHUNK_MS;
    const where = { zone: this.zone, run: this.run, from: iso(fromMs - GONE_MS), to: iso(fromMs + CHUNK_MS) };
    return decodeChunk(await getBytes(`/v1/past/positions${query(where)}`), fromMs - GONE_MS);
  }

  private async showStates(atMs: number): Promise<void> {
    const where = { zone: this.zone, run: this.run };
    const [state, alerts] = await Promise.all([
      get<PastState>(`/v1/past/state${query({ ...where, at: iso(atMs) })}`),
      get<Page<Alert>>(`/v1/alerts${query({ ...where, from: iso(atMs), to: iso(atMs), limit: 500 })}`),
    ]);
    this.scene.zoneTimeMs = atMs;
    this.scene.take("segments", state.segments, true);
    this.scene.take("signals", state.signals, true);
    this.scene.take("rsus", state.rsus, true);
    this.scene.take("chargers", state.chargers, true);
    this.scene.take("road_events", state.road_events, true);
    const wasOpen = (alert: Alert): boolean => ms(alert.detected_at) <= atMs && !(ms(alert.cleared_at) < atMs);
    this.scene.replaceAlerts(alerts.items.filter(wasOpen).map((alert) => ({ ...alert, is_open: true })));
  }
}

const iso = (at: number): string => new Date(at).toISOString();

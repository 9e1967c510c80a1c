// The two links to the service, each of which heals by itself: SSE for alerts and states, a
// WebSocket for positions.

import { ApiError, get, query } from "../lib/api";
import type { Perceived, Vehicle } from "../lib/types";
import { decodeFrame, type Frame } from "./frame";

const RETRY_MS = 2000;
const SILENT_MS = 15_000; // key figures come each second, so this silence is a dead link
const EVENTS = ["snapshot", "alert", "segments", "signals", "rsus", "chargers", "road_events", "kpi", "runs"] as const;
export type EventName = (typeof EVENTS)[number];
export type LinkState = "live" | "lost";

interface EventListeners {
  on: (name: EventName, data: unknown) => void;
  onState: (state: LinkState) => void;
  onRefused: () => void;
}

/** Server-sent events of one zone and run. */
export class EventFeed {
  path = "";
  private source: EventSource | null = null;
  private heardMs = 0;

  constructor(private readonly listeners: EventListeners) {
    setInterval(() => void this.watch(), RETRY_MS);
  }

  open(zone: string, run: string): void {
    this.path = `/v1/stream${query({ zone, run })}`;
    this.connect();
  }

  private connect(): void {
    this.source?.close();
    const source = new EventSource(this.path);
    this.source = source;
    this.heardMs = Date.now();
    for (const name of EVENTS) {
      source.addEventListener(name, (event: MessageEvent<string>) => {
        if (source !== this.source) return;
        this.heardMs = Date.now();
        this.listeners.onState("live");
        this.listeners.on(name, JSON.parse(event.data));
      });
    }
    source.onerror = () => source === this.source && this.listeners.onState("lost");
  }

  /** Lose the link, as a network does; it comes back by itself. */
  drop(): void {
    this.source?.close();
    this.listeners.onState("lost");
  }

  // EventSource gives up for good after an HTTP error, and cannot say which: ask once, then retry.
  private async watch(): Promise<void> {
    if (!this.path || !this.source) return;
    const isClosed = this.source.readyState === EventSource.CLOSED;
    if (!isClosed && Date.now() - this.heardMs < SILENT_MS) return;
    this.listeners.onState("lost");
    try {
      await get("/v1/zones");
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.listeners.onRefused();
      return;
    }
    this.connect();
  }
}

interface PositionListeners {
  onFrame: (frame: Frame) => void;
  onWho: (slot: number, vehicle: Vehicle | null, seen: Perceived | null) => void;
  onState: (state: LinkState) => void;
}

/** Live positions in the viewport. */
export class PositionFeed {
  private socket: WebSocket | null = null;
  private view = "";
  private isPaused = false;

  constructor(private readonly listeners: PositionListeners) {
    setInterval(() => this.watch(), RETRY_MS);
  }

  /** What to show from now on: bounds are west, south, east, north in degrees. */
  show(zone: string, run: string, bounds: readonly number[]): void {
    this.view = JSON.stringify({ zone, run, bounds });
    if (this.isPaused) return;
    if (!this.socket) this.connect();
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send(this.view);
  }

  /** Ask who is in a slot; the answer goes to `onWho`. */
  ask(slot: number): void {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ who: slot }));
  }

  /** Nobody looks: an unseen map asks for nothing. */
  pause(isPaused: boolean): void {
    if (this.isPaused === isPaused) return;
    this.isPaused = isPaused;
    if (isPaused) {
      const socket = this.socket;
      this.socket = null;
      if (socket?.readyState === WebSocket.CONNECTING) socket.onopen = () => socket.close(); // before that it is an error
      else socket?.close();
    } else if (this.view) this.connect();
  }

  private connect(): void {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => socket.send(this.view);
    socket.onclose = () => socket === this.socket && this.listeners.onState("lost");
    socket.onmessage = ({ data }: MessageEvent<string | ArrayBuffer>) => {
      if (socket !== this.socket) return;
      this.listeners.onState("live");
      if (typeof data !== "string") return this.take(socket, data);
      const said = JSON.parse(data) as { who: number; vehicle: Vehicle | null; object?: Perceived | null };
      this.listeners.onWho(said.who, said.vehicle, said.object ?? null);
    };
  }

  private take(socket: WebSocket, data: ArrayBuffer): void {
    const frame = decodeFrame(data);
    if (!frame) return;
    this.listeners.onFrame(frame);
    // Acknowledged once it is taken: that is what paces the service.
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: frame.number }));
  }

  /** Lose the link, as a network does; it comes back by itself. */
  drop(): void {
    this.socket?.close();
  }

  private watch(): void {
    if (!this.view || !this.socket || document.hidden) return;
    const { readyState } = this.socket;
    if (readyState === WebSocket.CLOSED || readyState === WebSocket.CLOSING) this.connect();
  }
}

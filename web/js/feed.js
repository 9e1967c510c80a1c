// The two links to the service, each of which heals by itself: SSE for alerts and states, a
// WebSocket for positions.

import { ApiError, get, query } from "./api.js";
import { decodeFrame } from "./vehicles.js";

const RETRY_MS = 2000;
const SILENT_MS = 15_000; // key figures come each second, so this silence is a dead link
const EVENTS = ["snapshot", "alert", "segments", "signals", "rsus", "kpi", "runs"];

/** Server-sent events of one zone and run. `on(name, data)`, `onState("live" | "lost")`. */
export class EventFeed {
  constructor({ on, onState, onRefused }) {
    Object.assign(this, { on, onState, onRefused });
    this.source = null;
    this.heardMs = 0;
    setInterval(() => this.watch(), RETRY_MS);
  }

  open(zone, run) {
    this.path = `/v1/stream${query({ zone, run })}`;
    this.connect();
  }

  connect() {
    this.source?.close();
    const source = new EventSource(this.path);
    this.source = source;
    this.heardMs = Date.now();
    for (const name of EVENTS) {
      source.addEventListener(name, (event) => {
        if (source !== this.source) return;
        this.heardMs = Date.now();
        this.onState("live");
        this.on(name, JSON.parse(event.data));
      });
    }
    source.onerror = () => source === this.source && this.onState("lost");
  }

  /** Lose the link, as a network does; it comes back by itself. */
  drop() {
    this.source.close();
    this.onState("lost");
  }

  // EventSource gives up for good after an HTTP error, and cannot say which: ask once, then retry.
  async watch() {
    if (!this.path) return;
    const isClosed = this.source.readyState === EventSource.CLOSED;
    if (!isClosed && Date.now() - this.heardMs < SILENT_MS) return;
    this.onState("lost");
    try {
      await get("/v1/zones");
    } catch (error) {
      if (error instanceof ApiError && error.status === 401) this.onRefused();
      return;
    }
    this.connect();
  }
}

/** Live positions in the viewport. */
export class PositionFeed {
  constructor({ onFrame, onWho, onState }) {
    Object.assign(this, { onFrame, onWho, onState });
    this.socket = null;
    this.view = null;
    this.heardMs = 0;
    setInterval(() => this.watch(), RETRY_MS);
  }

  /** What to show from now on. */
  show(zone, run, bounds) {
    this.view = JSON.stringify({ zone, run, bounds });
    if (!this.socket) this.connect();
    else if (this.socket.readyState === WebSocket.OPEN) this.socket.send(this.view);
  }

  /** Ask who is in a slot; the answer goes to `onWho`. */
  ask(slot) {
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ who: slot }));
  }

  connect() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(`${scheme}//${location.host}/v1/live`);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    this.heardMs = Date.now();
    socket.onopen = () => socket.send(this.view);
    socket.onclose = () => socket === this.socket && this.onState("lost");
    socket.onmessage = ({ data }) => {
      if (socket !== this.socket) return;
      this.heardMs = Date.now();
      this.onState("live");
      if (typeof data === "string") this.onWho(JSON.parse(data));
      else this.take(socket, data);
    };
  }

  take(socket, data) {
    const frame = decodeFrame(data);
    if (!frame) return;
    this.onFrame(frame);
    // Acknowledged once it is taken: that is what paces the service.
    if (socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify({ ack: frame.number }));
  }

  /** Lose the link, as a network does; it comes back by itself. */
  drop() {
    this.socket.close();
  }

  watch() {
    if (!this.view || !this.socket || document.hidden) return;
    const { readyState } = this.socket;
    const isDead = readyState === WebSocket.CLOSED || readyState === WebSocket.CLOSING;
    if (isDead) this.connect();
  }
}

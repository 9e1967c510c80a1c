// Wall mode: views take turns, nobody needs to touch anything, and a page that broke comes back.

import { VIEW_IDS, type App, type ViewId } from "../app";

const TURN_MS = 20_000;
const MAP_TURNS = 2; // the map is shown twice as long as the rest
const DEAD_MS = 120_000;
const RELOAD_MS = 12 * 3600_000; // twice a day a wall starts afresh, whatever a browser has piled up

export function startWall(app: App, isLive: () => boolean): void {
  document.body.classList.add("wall");
  const order = VIEW_IDS.flatMap((id): ViewId[] => (id === "map" ? Array(MAP_TURNS).fill(id) : id === "alerts" ? [] : [id]));
  const everyMs = Number(app.link.get("turn")) * 1000 || TURN_MS;
  let place = 0;
  let aliveMs = Date.now();
  setInterval(() => {
    place = (place + 1) % order.length;
    app.emit("view", order[place]!); // the link stays what it was: read-only
  }, everyMs);
  const startedMs = Date.now();
  setInterval(() => {
    if (isLive()) aliveMs = Date.now();
    const isDead = Date.now() - aliveMs > DEAD_MS;
    if ((isDead || Date.now() - startedMs > RELOAD_MS) && navigator.onLine) location.reload();
  }, 5000);
}

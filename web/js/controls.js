// Moving around the map by pointer, wheel, keys and buttons.

import { byId } from "./dom.js";

const WHEEL_STEP = 0.0016;
const BUTTON_STEP = 1.5;
const KEY_PAN_PX = 80;
const CLICK_PX = 4;

/** Bind everything; `onMove()` after each change of the view, `onHover(px, py)`, `onClick(px, py)`. */
export function bindControls(map, { onMove, onHover, onClick }) {
  const canvas = byId("moving");
  const pointers = new Map();
  let travelled = 0;

  const changed = () => {
    map.isDirty = true;
    onMove();
  };
  const zoom = (factor, px, py) => {
    map.view.zoom(factor, px, py);
    changed();
  };

  canvas.addEventListener("pointerdown", (event) => {
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, [event.offsetX, event.offsetY]);
    travelled = 0;
    canvas.classList.add("dragging");
  });
  canvas.addEventListener("pointermove", (event) => {
    const last = pointers.get(event.pointerId);
    if (!last) return onHover(event.offsetX, event.offsetY);
    const here = [event.offsetX, event.offsetY];
    if (pointers.size === 2) pinch(pointers, event.pointerId, here, zoom);
    map.view.pan((here[0] - last[0]) / pointers.size, (here[1] - last[1]) / pointers.size);
    travelled += Math.hypot(here[0] - last[0], here[1] - last[1]);
    pointers.set(event.pointerId, here);
    changed();
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    canvas.classList.remove("dragging");
  };
  canvas.addEventListener("pointerup", (event) => {
    if (pointers.size === 1 && travelled < CLICK_PX) onClick(event.offsetX, event.offsetY);
    release(event);
  });
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => onHover(null));
  canvas.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      zoom(Math.exp(-event.deltaY * WHEEL_STEP), event.offsetX, event.offsetY);
    },
    { passive: false },
  );

  const fit = () => {
    map.fit();
    onMove();
  };
  const keys = {
    "+": () => zoom(BUTTON_STEP),
    "=": () => zoom(BUTTON_STEP),
    "-": () => zoom(1 / BUTTON_STEP),
    0: fit,
    ArrowLeft: () => { map.view.pan(KEY_PAN_PX, 0); changed(); },
    ArrowRight: () => { map.view.pan(-KEY_PAN_PX, 0); changed(); },
    ArrowUp: () => { map.view.pan(0, KEY_PAN_PX); changed(); },
    ArrowDown: () => { map.view.pan(0, -KEY_PAN_PX); changed(); },
  };
  canvas.addEventListener("keydown", (event) => {
    if (!keys[event.key] || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    keys[event.key]();
  });
  byId("zoom-in").addEventListener("click", () => zoom(BUTTON_STEP));
  byId("zoom-out").addEventListener("click", () => zoom(1 / BUTTON_STEP));
  byId("fit").addEventListener("click", fit);
  new ResizeObserver(() => {
    map.resize();
    onMove();
  }).observe(canvas.parentElement);
}

function pinch(pointers, moved, here, zoom) {
  const [other] = [...pointers].filter(([id]) => id !== moved).map(([, at]) => at);
  const last = pointers.get(moved);
  const before = Math.hypot(last[0] - other[0], last[1] - other[1]);
  const after = Math.hypot(here[0] - other[0], here[1] - other[1]);
  if (before > 0) zoom(after / before, (here[0] + other[0]) / 2, (here[1] + other[1]) / 2);
}

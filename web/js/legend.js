// What the colours and marks on the map mean.

import { byId, el } from "./dom.js";
import { drawAlert, drawHead, drawRsuIcon } from "./map.js";
import { CLASSES, NO_DATA, SPEED_STEPS } from "./palette.js";

const SIZE = [16, 14];

function swatch(draw) {
  const ratio = window.devicePixelRatio || 1;
  const canvas = el("canvas", { width: SIZE[0] * ratio, height: SIZE[1] * ratio });
  const context = canvas.getContext("2d");
  context.scale(ratio, ratio);
  draw(context);
  return canvas;
}

const item = (draw, text) => el("span", { class: "item" }, swatch(draw), text);

const road = (colour) => (context) => {
  context.fillStyle = colour;
  context.fillRect(0, 5, 16, 4);
};

const vehicle = (colour) => (context) => {
  context.fillStyle = colour;
  context.beginPath();
  context.moveTo(15, 7);
  context.lineTo(10, 11);
  context.lineTo(2, 11);
  context.lineTo(2, 3);
  context.lineTo(10, 3);
  context.fill();
};

/** Fill the legend once. */
export function drawLegend() {
  const row = (name, ...items) => el("div", { class: "row" }, el("b", {}, name), ...items);
  const percent = (ratio) => `${Math.round(ratio * 100)} %`;
  byId("legend").replaceChildren(
    row(
      "Speed",
      ...SPEED_STEPS.map((step, i) => {
        const text = i < SPEED_STEPS.length - 1 ? `≥ ${percent(step.from)}` : `< ${percent(0.25)}`;
        return item(road(step.colour), text);
      }),
      item(road(NO_DATA), "no data"),
      el("span", {}, "of the limit"),
    ),
    row("Vehicles", ...CLASSES.slice(0, 6).map(({ name, colour }) => item(vehicle(colour), name))),
    row(
      "Roadside",
      item((c) => drawRsuIcon(c, 8, 7, "ok"), "RSU and range"),
      item((c) => drawHead(c, 8, 7, 5, "red"), "signal"),
      item((c) => drawHead(c, 8, 7, 5, null), "signal, stale"),
      item((c) => { c.translate(8, 7); c.scale(0.66, 0.66); drawAlert(c, 0, 0, "serious"); }, "alert"),
    ),
  );
}

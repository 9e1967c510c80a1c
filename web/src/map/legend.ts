// Switches of the map's layers, and what the colours and marks mean.

import { el } from "../lib/dom";
import { t } from "../lib/i18n";
import { CLASSES, LOS_STEPS, SPEED_STEPS } from "../lib/palette";
import { isOn, keepOn } from "../shell/settings";
import type { MapView } from "./map_view";
import { SWITCHES, type Colouring, type Switch } from "./style";

const ROOM_PX = 850; // on a lower window it would hide the roads: it opens when asked for

const NAMES: Record<Switch, string> = {
  vehicles: "Vehicles", perceived: "Perceived, not connected", roads: "Traffic", signals: "Signals", rsus: "Roadside units",
  chargers: "Chargers", events: "Road events", queues: "Queues", alerts: "Alerts", background: "Background map",
};

/** The panel in the map's corner. */
export function drawLegend(map: MapView): HTMLElement {
  const body = el("div", { class: "legend-body" });
  const panel = el("details", { class: "legend" }, el("summary", {}, t("Layers and legend")), body);
  panel.open = !isOn("legend-closed") && innerHeight >= ROOM_PX;
  panel.querySelector("summary")!.addEventListener("click", () => keepOn("legend-closed", panel.open));
  const steps = el("div", { class: "row steps" });
  body.append(switches(map), colouring(map, steps), steps, classes(), roadside());
  drawSteps(map, steps);
  map.app.on("theme", () => drawSteps(map, steps));
  return panel;
}

function switches(map: MapView): HTMLElement {
  const boxes = (Object.keys(SWITCHES) as Switch[]).map((name) =>
    el("label", { class: `item of-${name}` }, el("input", {
      type: "checkbox",
      checked: !map.hidden.has(name),
      "data-switch": name,
      onchange: (event: Event) => map.setSwitch(name, (event.target as HTMLInputElement).checked),
    }), t(NAMES[name])));
  return el("div", { class: "row" }, ...boxes);
}

function colouring(map: MapView, steps: HTMLElement): HTMLElement {
  const choose = (event: Event): void => {
    map.setColouring((event.target as HTMLSelectElement).value as Colouring);
    drawSteps(map, steps);
  };
  return el("label", { class: "row" }, t("Roads by"), el("select", { onchange: choose, "data-colouring": true },
    el("option", { value: "speed" }, t("speed, share of the limit")),
    el("option", { value: "los", selected: map.colouring === "los" }, t("density, level of service"))));
}

function drawSteps(map: MapView, steps: HTMLElement): void {
  const theme = map.app.theme;
  const swatch = (colour: string, text: string): HTMLElement => {
    const mark = el("i", { class: "swatch" });
    mark.style.background = colour;
    return el("span", { class: "item" }, mark, text);
  };
  const items = map.colouring === "speed"
    ? SPEED_STEPS.toReversed().map((step) => swatch(step[theme], step.from ? `≥ ${step.from * 100} %` : "< 25 %"))
    : LOS_STEPS.map((step) => swatch(step[theme], `${step.name} ≥ ${step.from}`));
  const none = el("span", { class: "item" }, el("i", { class: "swatch unknown" }), t("no data"));
  steps.replaceChildren(...items, none);
}

function classes(): HTMLElement {
  const items = CLASSES.slice(0, 6).map((kind, i) =>
    el("span", { class: "item" }, el("i", { class: `arrow class-${i}` }), t(kind.name)));
  const perceived = el("span", { class: "item" }, el("i", { class: "perceived-mark" }), t("perceived, not connected"));
  return el("div", { class: "row" }, ...items, perceived);
}

function roadside(): HTMLElement {
  const item = (kind: string, text: string): HTMLElement =>
    el("span", { class: "item" }, el("i", { class: `dot ${kind}` }), text);
  const queue = el("span", { class: "item" }, el("i", { class: "queue-mark" }), t("queue"));
  return el("div", { class: "row" }, item("rsu", t("RSU and range")), item("red", t("signal")),
    item("stale", t("signal, stale")), item("charger", t("charger")), item("event", t("road event")), queue, item("warn", t("alert")),
    el("span", { class: "item" }, el("i", { class: "dot warn" }, el("b", {}, "×")), t("Collision course")));
}

// Every pack of the fleet as one cell of a grid, coloured by a measure; open alerts framed.

import { el } from "../lib/dom";
import { fixed } from "../lib/format";
import { t } from "../lib/i18n";
import { MAP, SEVERITY_COLOURS, type Theme } from "../lib/palette";
import { badness, type Battery, type Measure } from "./types";

const LEAST_PX = 5;
const MOST_PX = 26;

export class HeatGrid {
  readonly element = el("div", { class: "heat" });
  private readonly canvas = el("canvas", { class: "plot", tabindex: 0, role: "img" });
  private readonly tip = el("div", { class: "tip", hidden: true });
  private batteries: Battery[] = [];
  private measure: Measure | null = null;
  private columns = 1;
  private cell = MOST_PX;
  private drawn: [Theme, string] | null = null;

  constructor(onChoose: (id: string) => void) {
    this.element.append(this.canvas, this.tip);
    this.canvas.addEventListener("click", (event) => {
      const found = this.at(event);
      if (found) onChoose(found.vehicle_id);
    });
    this.canvas.addEventListener("mousemove", (event) => this.hover(event));
    this.canvas.addEventListener("mouseleave", () => (this.tip.hidden = true));
    new ResizeObserver(() => this.drawn && this.draw(this.batteries, this.measure!, ...this.drawn)).observe(this.element);
  }

  draw(batteries: Battery[], measure: Measure, theme: Theme, chosen: string): void {
    this.batteries = batteries;
    this.measure = measure;
    this.drawn = [theme, chosen];
    const { clientWidth: width, clientHeight: height } = this.element;
    if (!width || !height) return;
    this.cell = Math.max(LEAST_PX, Math.min(MOST_PX * devicePixelRatioScale(), Math.floor(Math.sqrt((width * height) / Math.max(1, batteries.length)))));
    while (this.cell > LEAST_PX && Math.ceil(batteries.length / Math.floor(width / this.cell)) * this.cell > height) this.cell--;
    this.columns = Math.max(1, Math.floor(width / this.cell));
    const rows = Math.ceil(batteries.length / this.columns);
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = Math.max(1, rows * this.cell * ratio);
    this.canvas.style.height = `${rows * this.cell}px`;
    this.canvas.setAttribute("aria-label", `${t(measure.name)}: ${batteries.length} ${t("batteries")}`);
    const context = this.canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    batteries.forEach((battery, i) => this.drawCell(context, battery, i, theme, chosen));
  }

  private drawCell(context: CanvasRenderingContext2D, battery: Battery, i: number, theme: Theme, chosen: string): void {
    const gap = this.cell > 9 ? 2 : 1;
    const [x, y, size] = [(i % this.columns) * this.cell, Math.floor(i / this.columns) * this.cell, this.cell - gap];
    const value = this.measure!.of(battery);
    context.fillStyle = value === null ? MAP[theme].noData : heatColour(badness(this.measure!, value), theme);
    context.fillRect(x, y, size, size);
    if (battery.severity) {
      context.strokeStyle = SEVERITY_COLOURS[theme][battery.severity];
      context.lineWidth = 2.5;
      context.strokeRect(x + 1, y + 1, size - 2, size - 2);
    }
    if (battery.vehicle_id === chosen) {
      context.strokeStyle = MAP[theme].ink;
      context.lineWidth = 2;
      context.strokeRect(x, y, size, size);
    }
  }

  private at(event: MouseEvent): Battery | null {
    const column = Math.floor(event.offsetX / this.cell);
    return column < this.columns ? (this.batteries[Math.floor(event.offsetY / this.cell) * this.columns + column] ?? null) : null;
  }

  private hover(event: MouseEvent): void {
    const found = this.at(event);
    this.tip.hidden = !found;
    if (!found || !this.measure) return;
    this.tip.replaceChildren(el("strong", {}, found.vehicle_id),
      el("span", {}, `${t(this.measure.name)} ${fixed(this.measure.of(found), this.measure.digits)} ${this.measure.unit}`),
      el("span", {}, found.model ?? ""));
    const left = Math.min(event.offsetX + 14, this.element.clientWidth - this.tip.offsetWidth);
    this.tip.style.transform = `translate(${left}px, ${event.offsetY + 14}px)`;
  }
}

const devicePixelRatioScale = (): number => Math.max(1, innerWidth / 1600);

/** From well to bad: lightness rises with trouble on a dark ground and falls on a light one. */
export function heatColour(bad: number, theme: Theme): string {
  const [from, middle, to] = theme === "dark" ? [[29, 78, 92], [217, 178, 60], [255, 86, 86]] : [[178, 222, 214], [226, 171, 44], [190, 24, 32]];
  const [a, b, share] = bad < 0.5 ? [from!, middle!, bad * 2] : [middle!, to!, bad * 2 - 1];
  return `rgb(${a.map((value, i) => Math.round(value + (b[i]! - value) * share)).join(" ")})`;
}

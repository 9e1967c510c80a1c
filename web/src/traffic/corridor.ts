// A corridor: the chain of segments ahead of one, and its space-time diagram.

import type { Roads, Segment } from "../map/roads";
import { el } from "../lib/dom";
import { count, decimal, ms, timeOfDay } from "../lib/format";
import { t } from "../lib/i18n";
import { MAP, speedColour, type Theme } from "../lib/palette";
import { scale } from "../lib/scale";

const MOST_SEGMENTS = 24;
const LEFT_PX = 52;
const FOOT_PX = 22;
const TEXT_PX = 12;

export interface Window {
  segment_id: string;
  sampled_at: string;
  speed_mps: number | null;
  density_vpkm: number | null;
  flow_vph: number | null;
  vehicle_count: number;
}

/** Segments one behind the other from a start: at each junction the straightest way on. */
export function corridorFrom(roads: Roads, startId: string): Segment[] {
  const chain: Segment[] = [];
  let segment = roads.segments.get(startId);
  while (segment && chain.length < MOST_SEGMENTS && !chain.includes(segment)) {
    chain.push(segment);
    const end = segment.line;
    const next: Segment[] = (segment.successors ?? []).map((id) => roads.segments.get(id)).filter((s): s is Segment => Boolean(s));
    segment = next.toSorted((a, b) => turn(end, a.line) - turn(end, b.line))[0];
    if (segment && turn(end, segment.line) > Math.PI / 2) break; // a turn back is no corridor
  }
  return chain;
}

/** Where corridors begin: a segment that nothing leads straight into, long enough to be a road. */
export function starts(roads: Roads): Segment[] {
  const segments = [...roads.segments.values()].filter((segment) => !segment.is_internal);
  const firsts = segments.filter((segment) => !segments.some((other) => other !== segment && corridorFrom(roads, other.segment_id).indexOf(segment) > 0));
  return (firsts.length ? firsts : segments).sort((a, b) => lengthOf(roads, b) - lengthOf(roads, a));
}

const lengthOf = (roads: Roads, start: Segment): number => corridorFrom(roads, start.segment_id).reduce((sum, s) => sum + s.length_m, 0);

function turn(from: [number, number][], to: [number, number][]): number {
  const angle = ([a, b]: [[number, number], [number, number]]): number => Math.atan2((b[0] - a[0]) * Math.cos((a[1] * Math.PI) / 180), b[1] - a[1]);
  const [last, first] = [angle([from.at(-2)!, from.at(-1)!]), angle([to.at(-2)!, to.at(-1)!])];
  const difference = Math.abs(last - first) % (2 * Math.PI);
  return Math.min(difference, 2 * Math.PI - difference);
}

export class SpaceTime {
  readonly element = el("div", { class: "space-time" });
  private readonly canvas = el("canvas", { class: "plot", role: "img" });
  private readonly note = el("p", { class: "status" });
  private cells: { x: number; y: number; w: number; h: number; text: string }[] = [];

  constructor() {
    this.canvas.style.height = "17rem";
    this.element.append(this.canvas, this.note);
    this.canvas.addEventListener("mousemove", ({ offsetX: x, offsetY: y }) => {
      const cell = this.cells.find((c) => x >= c.x && x < c.x + c.w && y >= c.y && y < c.y + c.h);
      if (cell) this.note.textContent = cell.text;
    });
  }

  draw(corridor: Segment[], windows: Window[], fromMs: number, toMs: number, windowS: number, theme: Theme): void {
    const [width, height] = [this.canvas.clientWidth, this.canvas.clientHeight];
    if (!width) return;
    const ratio = devicePixelRatio || 1;
    this.canvas.width = width * ratio;
    this.canvas.height = height * ratio;
    const context = this.canvas.getContext("2d")!;
    context.scale(ratio, ratio);
    const px = scale();
    const left = LEFT_PX * px;
    context.font = `${TEXT_PX * px}px system-ui, sans-serif`;
    const total = corridor.reduce((sum, segment) => sum + segment.length_m, 0) || 1;
    const [plotW, plotH] = [width - left, height - FOOT_PX * px];
    context.fillStyle = MAP[theme].ground;
    context.fillRect(left, 0, plotW, plotH);
    this.cells = [];
    let at = 0;
    for (const segment of corridor) {
      const [y, h] = [plotH * (1 - (at + segment.length_m) / total), (plotH * segment.length_m) / total];
      for (const window of windows.filter((w) => w.segment_id === segment.segment_id)) {
        const end = ms(window.sampled_at);
        const x = left + (plotW * (end - windowS * 1000 - fromMs)) / (toMs - fromMs);
        this.drawCell(context, { x: Math.max(left, x), y, w: (plotW * windowS * 1000) / (toMs - fromMs) + 0.5, h }, window, segment, theme);
      }
      at += segment.length_m;
    }
    this.drawAxes(context, corridor, total, fromMs, toMs, width, plotH, theme);
    this.canvas.setAttribute("aria-label", t("Space-time diagram"));
    this.note.textContent ||= t("Time runs right, the corridor up; colours are shares of the speed limit.");
  }

  private drawCell(context: CanvasRenderingContext2D, box: { x: number; y: number; w: number; h: number }, window: Window, segment: Segment, theme: Theme): void {
    if (window.speed_mps === null || !window.vehicle_count) return;
    context.fillStyle = speedColour(window.speed_mps / segment.speed_limit_mps, theme);
    context.fillRect(box.x, box.y, box.w, box.h);
    const text = `${segment.name || segment.segment_id}, ${timeOfDay(window.sampled_at)}: ${decimal(window.speed_mps * 3.6, 0)} km/h, ${decimal(window.density_vpkm, 1)} veh/km, ${count(window.flow_vph)} veh/h`;
    this.cells.push({ ...box, text });
  }

  private drawAxes(context: CanvasRenderingContext2D, corridor: Segment[], total: number, fromMs: number, toMs: number, width: number, plotH: number, theme: Theme): void {
    context.fillStyle = context.strokeStyle = theme === "dark" ? "#9fb2c6" : "#4a5866";
    const px = scale();
    const left = LEFT_PX * px;
    context.textAlign = "right";
    context.textBaseline = "middle";
    let [at, lastY] = [0, Infinity];
    for (const segment of corridor) {
      const y = plotH * (1 - at / total);
      if (lastY - y > 16 * px) {
        context.fillText(`${Math.round(at)} m`, left - 6 * px, Math.min(plotH - 6 * px, Math.max(8 * px, y)));
        lastY = y;
      }
      context.globalAlpha = 0.35;
      context.fillRect(left, y, width - left, 1);
      context.globalAlpha = 1;
      at += segment.length_m;
    }
    context.textBaseline = "top";
    for (let i = 0; i <= 6; i++) {
      context.textAlign = i === 0 ? "left" : i === 6 ? "right" : "center";
      context.fillText(timeOfDay(fromMs + ((toMs - fromMs) * i) / 6), left + ((width - left) * i) / 6, plotH + 5 * px);
    }
  }
}

// Line charts over zone time (UTC), with limits as dashed lines and a span that is shaded.

import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { el, sync } from "./dom";
import { timeOfDay } from "./format";
import { SERIES, SEVERITY_COLOURS, type Theme } from "./palette";
import { scale } from "./scale";

export interface Line {
  name: string;
  values: (number | null)[];
  colour?: string;
  width?: number;
  axis?: "y" | "y2";
  digits?: number;
  dash?: number[];
}
export interface ChartSpec {
  theme: Theme;
  height: number; // at a 1366 px wide screen
  timesMs: number[];
  lines: Line[];
  unit: string;
  unit2?: string;
  limits?: { name: string; value: number }[];
  span?: [number, number];
  isLog?: boolean;
  hasLegend?: boolean;
  xName?: string; // x is a number of this name, not a time
  points?: boolean;
}

const TEXT_PX = 12;
const MOST_APART_PX = 24; // two lines of a low chart have numbers, too

/** A chart that fills its parent's width and goes with it. */
export class Chart {
  readonly element = el("div", { class: "chart" });
  private plot: uPlot | null = null;
  private spec: ChartSpec | null = null;
  private shape = "";
  private readonly watcher = new ResizeObserver(() => this.resize());

  constructor() {
    this.watcher.observe(this.element);
  }

  /** Show what the spec says. While only its numbers change, the chart under the pointer stays. */
  draw(spec: ChartSpec): void {
    const shape = shapeOf(spec);
    this.spec = spec;
    if (this.plot && shape === this.shape) return this.plot.setData(data(spec));
    this.plot?.destroy();
    this.element.replaceChildren();
    this.shape = shape;
    this.plot = new uPlot(options(spec, this.element.clientWidth || 400, () => this.spec ?? spec), data(spec), this.element);
  }

  clear(text: string): void {
    this.plot?.destroy();
    this.plot = null;
    sync(this.element, el("p", { class: "none" }, text));
  }

  destroy(): void {
    this.watcher.disconnect();
    this.plot?.destroy();
    this.plot = null;
  }

  private resize(): void {
    const width = this.element.clientWidth;
    if (this.plot && width && width !== this.plot.width) this.plot.setSize({ width, height: this.plot.height });
  }
}

function data(spec: ChartSpec): uPlot.AlignedData {
  const xs = spec.xName ? spec.timesMs : spec.timesMs.map((at) => at / 1000);
  return [xs, ...spec.lines.map((line) => line.values)] as uPlot.AlignedData;
}

// What a chart cannot change once it is made.
function shapeOf(spec: ChartSpec): string {
  const { timesMs, lines, limits: _limits, span: _span, ...rest } = spec;
  return JSON.stringify([rest, timesMs.length < 3, lines.map(({ values: _values, ...line }) => line)]);
}

function options(spec: ChartSpec, width: number, now: () => ChartSpec): uPlot.Options {
  const isDark = spec.theme === "dark";
  const ink = isDark ? "#9fb2c6" : "#4a5866";
  const grid = { stroke: isDark ? "#26364a" : "#d7dee5", width: 1 };
  const px = (size: number): number => Math.round(size * scale());
  const font = `${px(TEXT_PX)}px system-ui, sans-serif`;
  const axis = { stroke: ink, grid, ticks: { ...grid, size: 4 }, font, labelFont: font, labelSize: px(18), gap: px(5) };
  const hasSecond = spec.lines.some((line) => line.axis === "y2");
  const scales: uPlot.Scales = { x: { time: !spec.xName }, y: yScale(spec, now) };
  const clockAxis = { space: px(78), size: px(30), values: (_plot: uPlot, at: number[]) => at.map((seconds) => timeOfDay(seconds * 1000)) };
  const axes: uPlot.Axis[] = [{ ...axis, ...(spec.xName ? { label: spec.xName, size: px(30) } : clockAxis) }, { ...axis, label: spec.unit, size: px(54), space: px(MOST_APART_PX) }];
  if (hasSecond) {
    scales.y2 = {};
    axes.push({ ...axis, scale: "y2", side: 1, label: spec.unit2 ?? "", size: px(50), space: px(MOST_APART_PX), grid: { show: false } });
  }
  return {
    width,
    height: px(spec.height),
    padding: [null, hasSecond ? null : px(30), null, null], // half of a clock's time stands out
    tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "UTC"),
    legend: { show: spec.hasLegend ?? spec.lines.length > 1, live: (spec.hasLegend ?? true) && spec.lines.length < 9 },
    cursor: { points: { size: px(5) } },
    scales,
    axes,
    series: [{ label: spec.xName ?? "UTC", ...(spec.xName ? {} : { value: "{HH}:{mm}:{ss}" }) }, ...spec.lines.map((line, i) => series(spec, line, i))],
    hooks: { drawAxes: [(plot) => shade(plot, now())], draw: [(plot) => limits(plot, now())] },
  };
}

function yScale(spec: ChartSpec, now: () => ChartSpec): uPlot.Scale {
  if (spec.isLog) return { distr: 3 };
  return {
    range: (_plot, low, high) => {
      const marks = (now().limits ?? []).map((limit) => limit.value);
      const [from, to] = [Math.min(low ?? 0, ...marks), Math.max(high ?? 1, ...marks)];
      const room = (to - from || Math.abs(to) || 1) * 0.08;
      return [from - room, to + room];
    },
  };
}

function series(spec: ChartSpec, line: Line, i: number): uPlot.Series {
  const palette = SERIES[spec.theme];
  return {
    label: line.name,
    stroke: line.colour ?? palette[i % palette.length]!,
    width: (line.width ?? 1.6) * scale(),
    ...(line.dash ? { dash: line.dash } : {}),
    scale: line.axis ?? "y",
    spanGaps: true,
    value: (_plot, value) => (value == null ? "–" : value.toFixed(line.digits ?? 2)),
    points: { show: spec.points ?? spec.timesMs.length < 3, size: 5 * scale() },
    ...(spec.points ? { paths: () => null } : {}),
  };
}

function shade(plot: uPlot, spec: ChartSpec): void {
  if (!spec.span) return;
  const { ctx, bbox } = plot;
  const [from, to] = spec.span.map((at) => plot.valToPos(at / 1000, "x", true)) as [number, number];
  const [left, right] = [Math.max(bbox.left, from), Math.min(bbox.left + bbox.width, Math.max(to, from + 3))];
  ctx.save();
  ctx.fillStyle = `${SEVERITY_COLOURS[spec.theme].serious}33`;
  ctx.fillRect(left, bbox.top, Math.max(2, right - left), bbox.height);
  ctx.restore();
}

function limits(plot: uPlot, spec: ChartSpec): void {
  const { ctx, bbox } = plot;
  const ratio = (devicePixelRatio || 1) * scale();
  ctx.save();
  ctx.strokeStyle = ctx.fillStyle = SEVERITY_COLOURS[spec.theme].critical;
  ctx.lineWidth = 1.3 * ratio;
  ctx.font = `${TEXT_PX * ratio}px system-ui, sans-serif`;
  ctx.textAlign = "right";
  for (const { name, value } of spec.limits ?? []) {
    const y = plot.valToPos(value, "y", true);
    ctx.setLineDash([6 * ratio, 4 * ratio]);
    ctx.beginPath();
    ctx.moveTo(bbox.left, y);
    ctx.lineTo(bbox.left + bbox.width, y);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillText(name, bbox.left + bbox.width - 4 * ratio, y - 4 * ratio);
  }
  ctx.restore();
}

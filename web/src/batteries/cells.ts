// All cells over time: each row a cell, each column a frame, coloured by distance from the median.

import { el } from "../lib/dom";
import { ms, timeOfDay } from "../lib/format";
import { t } from "../lib/i18n";
import { diverging } from "../lib/palette";
import type { BatteryFrame } from "./types";

const LEAST_SCALE_V = 0.02; // colours are full at this distance at least, or noise would glow

export class CellChart {
  readonly element = el("div", { class: "cells" });
  private readonly canvas = el("canvas", { class: "plot", role: "img" });
  private readonly note = el("p", { class: "status" });
  private frames: BatteryFrame[] = [];

  constructor() {
    this.canvas.style.height = "11rem";
    this.canvas.style.imageRendering = "pixelated";
    this.element.append(this.canvas, this.note);
    this.canvas.addEventListener("mousemove", (event) => this.tell(event));
  }

  draw(frames: BatteryFrame[]): void {
    this.frames = frames.filter((frame) => frame.cell_voltages_v?.length);
    const n = Math.max(0, ...this.frames.map((frame) => frame.cell_voltages_v!.length));
    this.canvas.hidden = !n;
    this.note.textContent = n ? t("{n} cells, distance from the median; point at one", { n }) : t("This vehicle sends no cell voltages.");
    if (!n) return;
    this.canvas.width = this.frames.length;
    this.canvas.height = n;
    const context = this.canvas.getContext("2d")!;
    const image = context.createImageData(this.frames.length, n);
    const medians = this.frames.map((frame) => median(frame.cell_voltages_v!));
    let scale = LEAST_SCALE_V;
    this.frames.forEach((frame, i) => frame.cell_voltages_v!.forEach((v) => {
      if (v !== null) scale = Math.max(scale, Math.abs(v - medians[i]!));
    }));
    this.frames.forEach((frame, column) => {
      frame.cell_voltages_v!.forEach((value, row) => {
        const colour = value === null ? [90, 100, 110] : diverging((value - medians[column]!) / scale);
        image.data.set([...colour, 255], (row * this.frames.length + column) * 4);
      });
    });
    context.putImageData(image, 0, 0);
    this.canvas.setAttribute("aria-label", this.note.textContent);
  }

  private tell(event: MouseEvent): void {
    const column = Math.floor((event.offsetX / this.canvas.clientWidth) * this.canvas.width);
    const row = Math.floor((event.offsetY / this.canvas.clientHeight) * this.canvas.height);
    const frame = this.frames[column];
    const value = frame?.cell_voltages_v?.[row];
    if (!frame || value == null) return;
    const off = Math.round((value - median(frame.cell_voltages_v!)) * 1000);
    this.note.textContent = `${t("cell")} ${row + 1}: ${value.toFixed(3)} V, ${off > 0 ? "+" : ""}${off} mV, ${timeOfDay(ms(frame.sampled_at))}`;
  }
}

function median(values: (number | null)[]): number {
  const known = values.filter((v): v is number => v !== null).sort((a, b) => a - b);
  return known[Math.floor(known.length / 2)] ?? 0;
}

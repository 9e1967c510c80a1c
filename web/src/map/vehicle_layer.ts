// Vehicles on a WebGL canvas of their own above the map: the map below is drawn only when the view
// or a state changes, so that 20,000 gliding vehicles cost their own pixels and no road's.

import { CLASSES, MAP, SEVERITY_COLOURS, type Theme } from "../lib/palette";
import { metresPerWorld, WORLD, worldPx } from "../lib/geo";
import { scale as textScale } from "../lib/scale";
import { FLAG_BRAKE, FLAG_NO_HEADING, FLAG_PERCEIVED, OBJECT_SLOTS, SPEED_ABSENT, type Frame } from "../live/frame";
import { FAR_FRAGMENT, FAR_VERTEX, FRAGMENT, VERTEX } from "./shaders";

const TELEPORT_UNITS = (250 / 40_075_017) * WORLD; // beyond 250 m it is a gap: no glide
const FIRST_GLIDE_MS = 1000;
const MIN_GLIDE_MS = 150;
const MAX_GLIDE_MS = 1500;
const INSTANCE_BYTES = 32;
const MOST_SLOTS = 4_000_000; // a number beyond this is no slot of ours
const SMALLEST_PX = 4.5;
const FEW = 600; // as many are drawn in full from any distance
const NEAR_PX_PER_M = 2.2; // a car is ten pixels long: its shape can be seen
const UNIFORMS = [
  "u_centre", "u_now", "u_px_per_unit", "u_px_per_m", "u_least_px", "u_size", "u_colour",
  "u_metres", "u_edge", "u_mark", "u_ratio",
] as const;

/** The part of the map that is shown. */
export interface View {
  centreX: number; // world square
  centreY: number;
  zoom: number;
  latDeg: number;
  width: number; // CSS pixels
  height: number;
}

/** One vehicle as drawn, with its place on the canvas. */
export interface Drawn {
  slot: number;
  px: number;
  py: number;
  speedKmh: number | null;
  kind: number;
  brakes: boolean;
  isPerceived: boolean;
}

/** Where in the frame a slot is; vehicles and perceived road users count apart. */
class Places {
  private readonly ofVehicles: Int32Array;
  private readonly ofObjects: Int32Array;

  constructor(slots: Uint32Array, n: number) {
    let [vehicles, objects] = [0, 0];
    for (let i = 0; i < n; i++) {
      const slot = slots[i]!;
      if (slot < MOST_SLOTS) vehicles = Math.max(vehicles, slot + 1);
      else if (slot >= OBJECT_SLOTS && slot < OBJECT_SLOTS + MOST_SLOTS) objects = Math.max(objects, slot - OBJECT_SLOTS + 1);
    }
    this.ofVehicles = new Int32Array(vehicles).fill(-1);
    this.ofObjects = new Int32Array(objects).fill(-1);
    // What lies outside an array's length is not written.
    for (let i = 0; i < n; i++) {
      const slot = slots[i]!;
      if (slot < OBJECT_SLOTS) this.ofVehicles[slot] = i;
      else this.ofObjects[slot - OBJECT_SLOTS] = i;
    }
  }

  /** -1: not in the frame. */
  of(slot: number): number {
    return (slot < OBJECT_SLOTS ? this.ofVehicles[slot] : this.ofObjects[slot - OBJECT_SLOTS]) ?? -1;
  }
}

export class VehicleLayer {
  n = 0;
  marked = -1;
  private readonly gl: WebGL2RenderingContext;
  private readonly near: Program;
  private readonly far: Program;
  private readonly buffer: WebGLBuffer;
  private data = new ArrayBuffer(0);
  private words = new Uint32Array(0);
  private floats = new Float32Array(0);
  private halves = new Uint16Array(0);
  private bytes = new Uint8Array(0);
  private places = new Places(new Uint32Array(0), 0);
  private slots = new Uint32Array(0); // by index
  private takenMs = 0;
  private movingUntilMs = 0;
  private isUploaded = false;

  /** Throws where the browser has no WebGL 2 or its shaders do not link. */
  constructor(
    readonly canvas: HTMLCanvasElement,
    private theme: Theme,
  ) {
    const gl = canvas.getContext("webgl2", { alpha: true, antialias: false, premultipliedAlpha: true });
    if (!gl) throw new Error("this browser has no WebGL 2");
    this.gl = gl;
    this.near = programOf(gl, VERTEX, FRAGMENT);
    this.far = programOf(gl, FAR_VERTEX, FAR_FRAGMENT);
    this.buffer = gl.createBuffer();
    bindLayout(gl, this.buffer, 0, 1);
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.setTheme(theme);
  }

  setTheme(theme: Theme): void {
    this.theme = theme;
    const { gl } = this;
    for (const { program, uniforms } of [this.near, this.far]) {
      gl.useProgram(program);
      gl.uniform3fv(uniforms.u_colour, CLASSES.flatMap((kind) => rgb(kind[this.theme])));
      gl.uniform2fv(uniforms.u_metres, CLASSES.flatMap((kind) => [kind.widthM, kind.lengthM]));
      gl.uniform3fv(uniforms.u_edge, rgb(MAP[theme].edge));
      gl.uniform3fv(uniforms.u_mark, rgb(theme === "dark" ? "#ffffff" : SEVERITY_COLOURS.light.info));
    }
  }

  clear(): void {
    this.n = 0;
    this.places = new Places(this.slots, 0);
    this.isUploaded = false;
  }

  /** Take a frame that came at `nowMs` (the page's clock). Every frame is a whole picture. */
  take(frame: Frame, nowMs: number): void {
    const old = { words: this.words, floats: this.floats, halves: this.halves };
    const places = this.places;
    const oldTakenMs = this.takenMs;
    this.reserve(frame);
    for (let i = 0; i < frame.n; i++) {
      const slot = frame.slot[i]!;
      this.place(i, frame, places.of(slot), old, oldTakenMs, nowMs);
      this.bytes.set([frame.flags[i]! & 15, frame.flags[i]!, frame.speedKmh[i]!, 0], i * INSTANCE_BYTES + 28);
      this.slots[i] = slot;
    }
    this.places = new Places(this.slots, frame.n);
    this.n = frame.n;
    this.takenMs = nowMs;
    this.isUploaded = false;
  }

  private reserve(frame: Frame): void {
    this.data = new ArrayBuffer(frame.n * INSTANCE_BYTES);
    this.words = new Uint32Array(this.data);
    this.floats = new Float32Array(this.data);
    this.halves = new Uint16Array(this.data);
    this.bytes = new Uint8Array(this.data);
    this.slots = new Uint32Array(frame.n);
  }

  // A vehicle glides for as long as its own last report took to come, so that it arrives when the
  // next one is due: every sender has its rhythm.
  private place(
    i: number,
    frame: Frame,
    known: number,
    old: { words: Uint32Array; floats: Float32Array; halves: Uint16Array },
    oldTakenMs: number,
    nowMs: number,
  ): void {
    const [w, h] = [i * 8, i * 16 + 12];
    const [x, y, heading] = [frame.x[i]!, frame.y[i]!, frame.heading[i]!];
    let [fromX, fromY, fromHeading, startMs, glideMs] = [x, y, heading, nowMs, FIRST_GLIDE_MS];
    if (known >= 0) {
      const k = known * 8;
      startMs = old.floats[k + 4]! + oldTakenMs;
      glideMs = old.floats[k + 5]!;
      if (old.words[k + 2] === x && old.words[k + 3] === y) {
        [fromX, fromY, fromHeading] = [old.words[k]!, old.words[k + 1]!, old.halves[known * 16 + 12]!];
      } else {
        const share = Math.min(1, (nowMs - startMs) / glideMs);
        fromX = between(old.words[k]!, old.words[k + 2]!, share);
        fromY = between(old.words[k + 1]!, old.words[k + 3]!, share);
        fromHeading = turned(old.halves[known * 16 + 12]!, old.halves[known * 16 + 13]!, share);
        if (Math.abs(fromX - x) + Math.abs(fromY - y) > TELEPORT_UNITS) [fromX, fromY, fromHeading] = [x, y, heading];
        glideMs = Math.min(Math.max(nowMs - startMs, MIN_GLIDE_MS), MAX_GLIDE_MS);
        startMs = nowMs;
        this.movingUntilMs = Math.max(this.movingUntilMs, nowMs + glideMs);
      }
    }
    this.words.set([fromX, fromY, x, y], w);
    this.floats.set([startMs - nowMs, glideMs], w + 4);
    this.halves.set([fromHeading, heading], h);
  }

  /** Whether anything is still between two places. */
  isMoving(nowMs: number): boolean {
    return nowMs < this.movingUntilMs + 60;
  }

  draw(view: View, nowMs: number): void {
    const { gl, canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [Math.round(view.width * ratio), Math.round(view.height * ratio)];
    if (canvas.width !== width || canvas.height !== height) {
      canvas.width = width;
      canvas.height = height;
    }
    gl.viewport(0, 0, width, height);
    gl.clearColor(0, 0, 0, 0);
    gl.clear(gl.COLOR_BUFFER_BIT);
    if (!this.n) return;
    if (!this.isUploaded) {
      gl.bufferData(gl.ARRAY_BUFFER, this.data, gl.DYNAMIC_DRAW);
      this.isUploaded = true;
    }
    const pxPerM = worldPx(view.zoom) / metresPerWorld(view.latDeg);
    const isNear = this.n <= FEW || pxPerM >= NEAR_PX_PER_M;
    const marked = this.mark();
    if (isNear) {
      this.use(this.near, view, nowMs);
      gl.enable(gl.BLEND);
      gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, this.n);
      return;
    }
    this.use(this.far, view, nowMs);
    gl.disable(gl.BLEND);
    bindLayout(gl, this.buffer, 0, 0);
    gl.drawArrays(gl.POINTS, 0, this.n);
    gl.enable(gl.BLEND);
    bindLayout(gl, this.buffer, 0, 1);
    if (marked < 0) return;
    bindLayout(gl, this.buffer, marked * INSTANCE_BYTES, 1);
    this.use(this.near, view, nowMs);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, 1);
    bindLayout(gl, this.buffer, 0, 1);
  }

  private use({ program, uniforms }: Program, view: View, nowMs: number): void {
    const { gl } = this;
    const scale = worldPx(view.zoom);
    gl.useProgram(program);
    gl.uniform2ui(uniforms.u_centre, Math.round(view.centreX * WORLD) >>> 0, Math.round(view.centreY * WORLD) >>> 0);
    gl.uniform1f(uniforms.u_now, nowMs - this.takenMs);
    gl.uniform1f(uniforms.u_px_per_unit, scale / WORLD);
    gl.uniform1f(uniforms.u_px_per_m, scale / metresPerWorld(view.latDeg));
    // Where thousands are in view they shrink, so that each still has its own place.
    const roomPx = 1.3 * Math.sqrt((view.width * view.height) / Math.max(1, this.n));
    gl.uniform1f(uniforms.u_least_px, textScale() * Math.max(SMALLEST_PX, Math.min(leastPx(metresPerWorld(view.latDeg) / scale), roomPx)));
    gl.uniform2f(uniforms.u_size, view.width, view.height);
    gl.uniform1f(uniforms.u_ratio, window.devicePixelRatio || 1);
  }

  /** Mark the chosen vehicle; its index, -1 where it is not in view. */
  private mark(): number {
    const index = this.marked >= 0 ? this.places.of(this.marked) : -1;
    if (index >= 0) this.gl.bufferSubData(this.gl.ARRAY_BUFFER, index * INSTANCE_BYTES + 31, new Uint8Array([1]));
    return index;
  }

  /** Take the mark away before another vehicle gets it. */
  setMarked(slot: number): void {
    if (this.marked === slot) return;
    this.marked = slot;
    this.isUploaded = false;
  }

  /** World place of a vehicle as drawn now; null when it is not in view. */
  placeOf(slot: number, nowMs: number): [number, number] | null {
    const index = this.places.of(slot);
    return index < 0 ? null : this.worldAt(index, nowMs);
  }

  /** The vehicle nearest to a pixel, within reach. */
  at(view: View, px: number, py: number, nowMs: number, reachPx = 13): Drawn | null {
    const scale = worldPx(view.zoom);
    let [best, bestDistance] = [-1, reachPx * textScale()];
    let [bestX, bestY] = [0, 0];
    for (let i = 0; i < this.n; i++) {
      const [x, y] = this.worldAt(i, nowMs);
      const sx = (x - view.centreX) * scale + view.width / 2;
      const sy = (y - view.centreY) * scale + view.height / 2;
      const distance = Math.hypot(sx - px, sy - py);
      if (distance < bestDistance) [best, bestDistance, bestX, bestY] = [i, distance, sx, sy];
    }
    return best < 0 ? null : this.drawn(best, bestX, bestY);
  }

  private worldAt(i: number, nowMs: number): [number, number] {
    const w = i * 8;
    const share = Math.min(1, Math.max(0, (nowMs - this.takenMs - this.floats[w + 4]!) / this.floats[w + 5]!));
    const [x0, y0, x1, y1] = [this.words[w]!, this.words[w + 1]!, this.words[w + 2]!, this.words[w + 3]!];
    return [(x0 + (x1 - x0) * share) / WORLD, (y0 + (y1 - y0) * share) / WORLD];
  }

  private drawn(i: number, px: number, py: number): Drawn {
    const at = i * INSTANCE_BYTES + 28;
    const speed = this.bytes[at + 2]!;
    return {
      slot: this.slots[i]!,
      px,
      py,
      speedKmh: speed === SPEED_ABSENT ? null : speed,
      kind: this.bytes[at]!,
      brakes: (this.bytes[at + 1]! & FLAG_BRAKE) !== 0,
      isPerceived: (this.bytes[at + 1]! & FLAG_PERCEIVED) !== 0,
    };
  }
}

/** Whether a flag byte says that the heading is not known. */
export const hasNoHeading = (flags: number): boolean => (flags & FLAG_NO_HEADING) !== 0;

const between = (from: number, to: number, share: number): number => Math.round(from + (to - from) * share);

function turned(from: number, to: number, share: number): number {
  let turn = (to - from) / 65536;
  turn -= Math.floor(turn + 0.5);
  return Math.round(from + turn * 65536 * share) & 0xffff;
}

// Seen from afar vehicles shrink, or they would hide the roads' colours; near by they can be told
// by colour and heading even where they are smaller than that in truth.
function leastPx(metresPerPixel: number): number {
  const [near, far] = [0.8, 6];
  const share = Math.min(1, Math.max(0, (metresPerPixel - near) / (far - near)));
  return 10.5 - share * 6;
}

function rgb(hex: string): [number, number, number] {
  const value = Number.parseInt(hex.slice(1), 16);
  return [(value >> 16) / 255, ((value >> 8) & 255) / 255, (value & 255) / 255];
}

interface Program {
  program: WebGLProgram;
  uniforms: Record<(typeof UNIFORMS)[number], WebGLUniformLocation | null>;
}

function programOf(gl: WebGL2RenderingContext, vertex: string, fragment: string): Program {
  const program = link(gl, vertex, fragment);
  const places = UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]);
  return { program, uniforms: Object.fromEntries(places) as Program["uniforms"] };
}

function link(gl: WebGL2RenderingContext, vertex: string, fragment: string): WebGLProgram {
  const program = gl.createProgram();
  for (const [kind, source] of [[gl.VERTEX_SHADER, vertex], [gl.FRAGMENT_SHADER, fragment]] as const) {
    const shader = gl.createShader(kind);
    if (!shader) throw new Error("no shader");
    gl.shaderSource(shader, source);
    gl.compileShader(shader);
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  // A program that failed draws nothing and looks fast.
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) {
    throw new Error(`the vehicles' shaders do not link: ${gl.getProgramInfoLog(program)}`);
  }
  return program;
}

function bindLayout(gl: WebGL2RenderingContext, buffer: WebGLBuffer, at: number, divisor: number): void {
  gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
  const fields: [number, number, number, number, boolean][] = [
    [0, 4, gl.UNSIGNED_INT, 0, true],
    [1, 2, gl.FLOAT, 16, false],
    [2, 2, gl.UNSIGNED_SHORT, 24, true],
    [3, 4, gl.UNSIGNED_BYTE, 28, true],
  ];
  for (const [place, size, type, offset, isInteger] of fields) {
    gl.enableVertexAttribArray(place);
    if (isInteger) gl.vertexAttribIPointer(place, size, type, INSTANCE_BYTES, at + offset);
    else gl.vertexAttribPointer(place, size, type, false, INSTANCE_BYTES, at + offset);
    gl.vertexAttribDivisor(place, divisor);
  }
}

// The first picture: roads and vehicles on plain canvases, until the map has drawn its own. The map has
// 1.1 MB of code to read and shaders to compile, which without a graphics card takes seconds; this takes
// milliseconds once the data is there. It shows the same view, and goes as soon as the map stands.

import type { App } from "../app";
import { el } from "../lib/dom";
import { fitted, metresPerWorld, toLonLat, toWorld, WORLD, worldPx } from "../lib/geo";
import { CLASSES, losColour, MAP, speedColour, UNKNOWN_CLASS } from "../lib/palette";
import { scale } from "../lib/scale";
import { FLAG_NO_HEADING, FLAG_PERCEIVED, type Frame } from "../live/frame";
import { flowOf } from "./flow";
import type { MapView } from "./map_view";
import { lanesOf, type Segment } from "./roads";
import type { View } from "./vehicle_layer";

const MOST_WAIT_MS = 4000; // where nothing came until then, the map is loaded without a picture
const FEW = 600; // as many are drawn with their headings
const POINT_PX = 3;
const LEAST_LONG_PX = 8;
const LEAST_WIDE_PX = 4.5;

export class FirstPicture {
  readonly element = el("div", { class: "first", "aria-hidden": true });
  /** Settles once roads and vehicles were drawn, or will not be. */
  readonly drawn: Promise<void>;
  private readonly roads = el("canvas");
  private readonly vehicles = el("canvas");
  private settle = (): void => {};
  private view: View | null = null;
  private frame: Frame | null = null;
  private map: MapView | null = null;
  private isRemoved = false;
  private readonly stops: (() => void)[];

  constructor(
    private readonly app: App,
    host: HTMLElement,
    private readonly onView: (bounds: number[]) => void,
  ) {
    this.element.append(this.roads, this.vehicles);
    host.append(this.element);
    this.drawn = new Promise((settle) => (this.settle = settle));
    setTimeout(this.settle, MOST_WAIT_MS);
    this.stops = [app.on("roads", () => this.begin()), app.live.on("segments", () => this.drawRoads()), app.on("past", () => this.remove())];
  }

  private begin(): void {
    const { clientWidth: width, clientHeight: height } = this.element;
    const place = placeWanted(this.app, width, height);
    if (!place || !width) return this.settle(); // a zone without a map, or an unseen page
    const [centreX, centreY] = toWorld(place.lon, place.lat);
    this.view = { centreX, centreY, zoom: place.zoom, latDeg: place.lat, width, height };
    const [dx, dy] = [(0.65 * width) / worldPx(place.zoom), (0.65 * height) / worldPx(place.zoom)];
    const [west, north] = toLonLat(Math.max(0, centreX - dx), Math.max(0, centreY - dy));
    const [east, south] = toLonLat(Math.min(1, centreX + dx), Math.min(1, centreY + dy));
    this.onView([west, south, east, north]);
    this.drawRoads();
  }

  takeFrame(frame: Frame): void {
    this.frame = frame;
    if (this.map?.framesDrawn) return this.vehicles.remove(); // the map's own glide
    this.drawVehicles();
    if (!this.view) return;
    // Behind the next picture, so that the map's code does not hold it up.
    requestAnimationFrame(() => setTimeout(() => {
      if (!performance.getEntriesByName("openvrc:picture").length) performance.mark("openvrc:picture");
      this.settle();
    }));
  }

  /** The map is there: it lies below until its roads are drawn. */
  giveWayTo(map: MapView): void {
    if (!this.isRemoved) this.lieOver(map);
    const idle = (): void => {
      const hasNone = this.app.isMapKnown && !this.app.roads.box; // in a zone without a map there is nothing to wait for
      if (!map.isDrawn && !hasNone) return;
      map.map.off("idle", idle);
      performance.mark("openvrc:map");
      this.remove();
    };
    map.map.on("idle", idle);
  }

  private lieOver(map: MapView): void {
    this.map = map;
    map.vehicles.canvas.before(this.element);
    if (this.frame) map.takeFrame(this.frame, performance.now());
    const moved = (): void => this.moved(map);
    map.map.on("move", moved);
    this.stops.push(() => map.map.off("move", moved));
  }

  private moved(map: MapView): void {
    if (!this.element.isConnected) return;
    this.view = map.view();
    this.drawRoads();
    this.drawVehicles();
  }

  remove(): void {
    this.isRemoved = true;
    for (const stop of this.stops) stop();
    this.element.remove();
    this.settle();
  }

  private drawRoads(): void {
    const { view, app } = this;
    if (!view) return;
    const context = cleared(this.roads, view);
    const [perM, px] = [worldPx(view.zoom) / metresPerWorld(view.latDeg), scale()];
    const [asphalt, lanes] = [new Map<string, Path2D>(), new Map<string, Path2D>()];
    for (const segment of app.roads.segments.values()) {
      const colour = this.colourOf(segment);
      for (const { coordinates, width_m: metres } of lanesOf(segment)) {
        const path = new Path2D();
        for (const [lon, lat] of coordinates) path.lineTo(...onScreen(view, ...toWorld(lon, lat)));
        joined(asphalt, `${MAP[app.theme].asphalt} ${Math.max(3.6 * px, (metres + 0.7) * perM)}`).addPath(path);
        joined(lanes, `${colour} ${segment.is_internal ? Math.max(1.6 * px, metres * 0.5 * perM) : Math.max(2.2 * px, metres * 0.6 * perM)}`).addPath(path);
      }
    }
    context.lineCap = context.lineJoin = "round";
    for (const [look, path] of [...asphalt, ...lanes]) {
      const [colour, width] = look.split(" ");
      context.strokeStyle = colour!;
      context.lineWidth = Number(width);
      context.stroke(path);
    }
  }

  private colourOf(segment: Segment): string {
    const { theme, live, link } = this.app;
    const { share, perLane } = flowOf(segment, live);
    if (link.get("by") === "los") return perLane === null ? MAP[theme].noData : losColour(perLane, theme);
    return share === null ? MAP[theme].noData : speedColour(share, theme);
  }

  private drawVehicles(): void {
    const { view, frame } = this;
    if (!view || !frame || !this.vehicles.isConnected) return;
    const context = cleared(this.vehicles, view);
    const [perM, px] = [worldPx(view.zoom) / metresPerWorld(view.latDeg), scale()];
    const isFew = frame.n <= FEW;
    for (let i = 0; i < frame.n; i++) {
      const flags = frame.flags[i]!;
      const kind = CLASSES[flags & 15] ?? UNKNOWN_CLASS;
      const [x, y] = onScreen(view, frame.x[i]! / WORLD, frame.y[i]! / WORLD);
      context.fillStyle = context.strokeStyle = kind[this.app.theme];
      if (!isFew) {
        context.fillRect(x - (POINT_PX * px) / 2, y - (POINT_PX * px) / 2, POINT_PX * px, POINT_PX * px);
        continue;
      }
      const [long, wide] = [Math.max(LEAST_LONG_PX * px, kind.lengthM * perM), Math.max(LEAST_WIDE_PX * px, kind.widthM * perM)];
      const angle = flags & FLAG_NO_HEADING ? 0 : (frame.heading[i]! / 65536) * 2 * Math.PI;
      context.save();
      context.translate(x, y);
      context.rotate(angle); // the place is the middle of the front bumper
      if (flags & FLAG_PERCEIVED) context.strokeRect(-wide / 2, 0, wide, long);
      else context.fillRect(-wide / 2, 0, wide, long);
      context.restore();
    }
  }
}

/** Where the page's map begins: what the link says, else the whole zone. */
export function placeWanted(app: App, width: number, height: number): { lon: number; lat: number; zoom: number } | null {
  const at = app.link.get("at").split(",").map(Number);
  if (at.length === 3 && at.every(Number.isFinite)) return { lon: at[0]!, lat: at[1]!, zoom: at[2]! };
  return app.roads.box && width ? fitted(app.roads.box, width, height) : null;
}

function onScreen(view: View, x: number, y: number): [number, number] {
  const scale = worldPx(view.zoom);
  return [(x - view.centreX) * scale + view.width / 2, (y - view.centreY) * scale + view.height / 2];
}

function joined(paths: Map<string, Path2D>, look: string): Path2D {
  const path = paths.get(look) ?? new Path2D();
  paths.set(look, path);
  return path;
}

function cleared(canvas: HTMLCanvasElement, { width, height }: View): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d")!;
  context.scale(ratio, ratio);
  return context;
}

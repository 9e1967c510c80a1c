// Web Mercator of WGS-84 in a unit square, and the view onto it. y runs south.

export const WORLD = 2 ** 32;
const EARTH_CIRCUMFERENCE_M = 40_075_016.686;
const MAX_LAT_DEG = 85.05112878;

export function toWorld(lonDeg, latDeg) {
  const lat = (Math.max(-MAX_LAT_DEG, Math.min(MAX_LAT_DEG, latDeg)) * Math.PI) / 180;
  return [(lonDeg + 180) / 360, 0.5 - Math.asinh(Math.tan(lat)) / (2 * Math.PI)];
}

export function toLonLat(x, y) {
  return [x * 360 - 180, (Math.atan(Math.sinh((0.5 - y) * 2 * Math.PI)) * 180) / Math.PI];
}

/** Metres on the ground that one unit of the world square is long, at a world y. */
export function metresPerWorld(y) {
  const [, latDeg] = toLonLat(0.5, y);
  return EARTH_CIRCUMFERENCE_M * Math.cos((latDeg * Math.PI) / 180);
}

/** The part of the world that a canvas shows: its centre, and CSS pixels per world unit. */
export class View {
  constructor() {
    this.x = 0.5;
    this.y = 0.5;
    this.scale = 512;
    this.width = 1;
    this.height = 1;
  }

  /** World to CSS pixels; differences are taken first, so that no digits are lost. */
  toScreen(x, y) {
    return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2];
  }

  toWorldAt(px, py) {
    return [(px - this.width / 2) / this.scale + this.x, (py - this.height / 2) / this.scale + this.y];
  }

  pan(dxPx, dyPx) {
    this.x -= dxPx / this.scale;
    this.y -= dyPx / this.scale;
  }

  /** Zoom by a factor and keep the point under the pointer where it is. */
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toWorldAt(px, py);
    const closest = 40 / (1 / metresPerWorld(y)); // 40 pixels a metre
    this.scale = Math.min(Math.max(this.scale * factor, 256), closest);
    this.x = x - (px - this.width / 2) / this.scale;
    this.y = y - (py - this.height / 2) / this.scale;
  }

  /** Show a whole box [minX, minY, maxX, maxY] above what covers the lowest `footPx` pixels. */
  fit(box, footPx = 0) {
    const [minX, minY, maxX, maxY] = box;
    const margin = Math.min(40, this.width / 8, this.height / 8);
    const height = this.height - footPx;
    const least = 60 / metresPerWorld((minY + maxY) / 2); // not closer than 60 m across
    const across = Math.max(maxX - minX, least);
    const down = Math.max(maxY - minY, least);
    this.scale = Math.min((this.width - 2 * margin) / across, (height - 2 * margin) / down);
    this.x = (minX + maxX) / 2;
    this.y = (minY + maxY) / 2 + footPx / 2 / this.scale;
  }

  get metresPerPixel() {
    return metresPerWorld(this.y) / this.scale;
  }

  /** West, south, east, north in degrees, with a margin so that vehicles glide in. */
  bounds(margin = 0.15) {
    const [x0, y0] = this.toWorldAt(-this.width * margin, -this.height * margin);
    const [x1, y1] = this.toWorldAt(this.width * (1 + margin), this.height * (1 + margin));
    const clamp = (value) => Math.max(0, Math.min(1, value));
    const [west, north] = toLonLat(clamp(x0), clamp(y0));
    const [east, south] = toLonLat(clamp(x1), clamp(y1));
    return [west, Math.max(south, -90), east, Math.min(north, 90)];
  }
}

// The map: roads and what stands beside them on one canvas, what moves on another above it.

import { metresPerWorld, toWorld, View } from "./geo.js";
import { NO_DATA, PHASES, SEVERITIES, speedColour, STALE_PHASE } from "./palette.js";

const ASPHALT = "#22303f";
const SEGMENT_STALE_MS = 90_000; // half as long again as the longest window
const SIGNAL_STALE_MS = 10_000; // signals report at least each second
const MIN_ROAD_PX = 2.2;
const LABELS_BELOW = 2.5; // metres a pixel: from further away names would run into one another

export class RoadMap {
  constructor(roadsCanvas, movingCanvas) {
    this.canvases = [roadsCanvas, movingCanvas];
    this.view = new View();
    this.segments = new Map();
    this.heads = [];
    this.states = { segments: new Map(), signals: new Map(), rsus: new Map() };
    this.alerts = [];
    this.selected = null;
    this.zoneTimeMs = NaN;
    this.origin = { x: 0.5, y: 0.5, k: 1 };
    this.colours = null;
    this.isDirty = true;
  }

  /** Take a zone's map (canonical GeoJSON); null when there is none. */
  load(geojson) {
    this.segments.clear();
    this.heads = [];
    const features = geojson?.features ?? [];
    const lines = features.filter((f) => f.properties.kind === "segment");
    const box = boxOf(lines);
    if (box) this.origin = originOf(box);
    for (const feature of lines) this.addSegment(feature);
    for (const feature of features) {
      if (feature.properties.kind !== "signal_head") continue;
      const [lon, lat] = feature.geometry.coordinates;
      const [x, y] = toWorld(lon, lat);
      const { intersection_id: intersection, signal_group: group } = feature.properties;
      this.heads.push({ x, y, key: `${intersection}:${group}`, intersection, group });
    }
    this.box = box;
    this.asphalt = new Path2D();
    for (const segment of this.segments.values()) this.asphalt.addPath(segment.path);
    this.recolour();
    if (box) this.fit();
  }

  addSegment(feature) {
    const { origin } = this;
    const properties = feature.properties;
    const path = new Path2D();
    const points = [];
    const lanes = properties.lanes?.map((lane) => lane.coordinates);
    for (const line of lanes?.length ? lanes : [feature.geometry.coordinates]) {
      line.forEach(([lon, lat], i) => {
        const [x, y] = toWorld(lon, lat);
        if (i) path.lineTo((x - origin.x) * origin.k, (y - origin.y) * origin.k);
        else path.moveTo((x - origin.x) * origin.k, (y - origin.y) * origin.k);
        points.push([x, y]);
      });
    }
    const centre = feature.geometry.coordinates.map(([lon, lat]) => toWorld(lon, lat));
    this.segments.set(properties.segment_id, { properties, path, centre, box: extent(points) });
  }

  /** Replace or add states of one kind ("segments", "signals", "rsus"). */
  update(kind, items, { replace = false } = {}) {
    const known = this.states[kind];
    if (replace) known.clear();
    for (const item of items) {
      const old = known.get(item.subject_id);
      if (kind !== "segments" || !old || isNewerWindow(item, old)) known.set(item.subject_id, item);
    }
    if (kind === "segments") this.colours = null;
    this.isDirty = true;
  }

  setAlerts(alerts, selected) {
    this.alerts = alerts.map((alert) => ({ alert, place: this.placeOf(alert) })).filter((a) => a.place);
    this.selected = selected;
    this.isDirty = true;
  }

  setZoneTime(iso) {
    const before = this.zoneTimeMs;
    this.zoneTimeMs = Date.parse(iso);
    if (Math.abs(this.zoneTimeMs - before) > 0) this.recolour();
  }

  recolour() {
    this.colours = null;
    this.isDirty = true;
  }

  fit() {
    this.resize();
    if (this.box) this.view.fit(this.box, this.footPx());
    this.isDirty = true;
  }

  /** Fit to positions when there is no map to fit to. */
  fitTo(points) {
    this.resize();
    this.view.fit(extent(points), this.footPx());
    this.isDirty = true;
  }

  // The legend lies on the map's foot; on a low window it may cover the map rather than shrink it.
  footPx() {
    const legend = this.canvases[0].parentElement.querySelector(".legend");
    return legend.offsetHeight < this.view.height / 4 ? legend.offsetHeight : 0;
  }

  /** Bring a place to the middle, close enough to see single vehicles. */
  centreOn([x, y]) {
    this.view.x = x;
    this.view.y = y;
    const close = metresPerWorld(y) / 0.45;
    if (this.view.scale < close) this.view.scale = close;
    this.isDirty = true;
  }

  resize() {
    const { clientWidth, clientHeight } = this.canvases[0].parentElement;
    const ratio = window.devicePixelRatio || 1;
    if (this.view.width === clientWidth && this.view.height === clientHeight) return;
    this.view.width = clientWidth;
    this.view.height = clientHeight;
    for (const canvas of this.canvases) {
      canvas.width = Math.round(clientWidth * ratio);
      canvas.height = Math.round(clientHeight * ratio);
    }
    this.isDirty = true;
  }

  /** World position of an alert: its own, else the middle of its segment. */
  placeOf(alert) {
    if (alert.lat_deg !== null && alert.lon_deg !== null) return toWorld(alert.lon_deg, alert.lat_deg);
    const line = this.segments.get(alert.segment_id)?.centre;
    return line ? line[Math.floor(line.length / 2)] : null;
  }

  ratioOf(segment) {
    const state = this.states.segments.get(segment.properties.segment_id);
    if (!state || !Number.isFinite(state.speed_mps)) return null;
    if (this.zoneTimeMs - Date.parse(state.sampled_at) > SEGMENT_STALE_MS) return null;
    return state.speed_mps / segment.properties.speed_limit_mps;
  }

  isStale(signal) {
    const until = Date.parse(signal.max_end_at ?? signal.likely_end_at ?? signal.sampled_at);
    return this.zoneTimeMs > Math.max(until, Date.parse(signal.sampled_at) + SIGNAL_STALE_MS);
  }

  /** Draw the still layer if anything in it changed. */
  drawRoads() {
    if (!this.isDirty) return;
    this.isDirty = false;
    const context = this.context(0);
    this.drawSegments(context);
    this.drawRsus(context);
    this.drawHeads(context);
    this.drawLabels(context);
  }

  /** A cleared context in CSS pixels. */
  context(layer) {
    const canvas = this.canvases[layer];
    const ratio = window.devicePixelRatio || 1;
    const context = canvas.getContext("2d");
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    return context;
  }

  drawSegments(context) {
    if (!this.asphalt) return;
    const { view, origin } = this;
    const perUnit = view.scale / origin.k; // pixels a metre
    const [left, top] = view.toScreen(origin.x, origin.y);
    context.save();
    context.translate(left, top);
    context.scale(perUnit, perUnit);
    context.lineCap = context.lineJoin = "round";
    context.strokeStyle = ASPHALT;
    context.lineWidth = Math.max(3.2, (MIN_ROAD_PX + 1.6) / perUnit);
    context.stroke(this.asphalt);
    this.colours ??= this.groupByColour();
    context.lineWidth = Math.max(1.1, MIN_ROAD_PX / perUnit);
    for (const [colour, path] of this.colours) {
      context.strokeStyle = colour;
      context.stroke(path);
    }
    context.restore();
  }

  groupByColour() {
    const groups = new Map([[NO_DATA, new Path2D()]]);
    for (const segment of this.segments.values()) {
      const ratio = this.ratioOf(segment);
      if (ratio === null && segment.properties.is_internal) continue; // junctions stay plain
      const colour = ratio === null ? NO_DATA : speedColour(ratio);
      if (!groups.has(colour)) groups.set(colour, new Path2D());
      groups.get(colour).addPath(segment.path);
    }
    return groups;
  }

  drawRsus(context) {
    for (const rsu of this.states.rsus.values()) {
      const [worldX, worldY] = toWorld(rsu.lon_deg, rsu.lat_deg);
      const [x, y] = this.view.toScreen(worldX, worldY);
      const radius = (rsu.range_m ?? 0) / this.view.metresPerPixel;
      context.beginPath();
      context.arc(x, y, radius, 0, 2 * Math.PI);
      context.fillStyle = "#4cc9f00a";
      context.fill();
      context.setLineDash([6, 6]);
      context.strokeStyle = "#4cc9f066";
      context.lineWidth = 1;
      context.stroke();
      context.setLineDash([]);
      drawRsuIcon(context, x, y, rsu.health);
    }
  }

  // Above everything that stands still, so that no road runs through a name.
  drawLabels(context) {
    if (this.view.metresPerPixel > LABELS_BELOW) return;
    for (const rsu of this.states.rsus.values()) {
      const [x, y] = this.view.toScreen(...toWorld(rsu.lon_deg, rsu.lat_deg));
      label(context, rsu.subject_id, x + 11, y - 13);
    }
  }

  drawHeads(context) {
    const perMetre = 1 / this.view.metresPerPixel;
    const radius = Math.min(Math.max(1.5 * perMetre, 2.5), 6);
    for (const head of this.heads) {
      const [x, y] = this.view.toScreen(head.x, head.y);
      const state = this.states.signals.get(head.key);
      drawHead(context, x, y, radius, state && !this.isStale(state) ? state.phase : null);
    }
  }

  /** Marks of alerts, above the vehicles. */
  drawAlerts(context) {
    for (const { alert, place } of this.alerts) {
      const [x, y] = this.view.toScreen(...place);
      drawAlert(context, x, y, alert.severity, alert.id === this.selected, alert.acknowledged_by);
    }
  }

  /** What lies under a pixel: {alert}, {rsu}, {head, signal} or {segment}; null for nothing. */
  at(px, py) {
    const near = (x, y, reach) => {
      const [sx, sy] = this.view.toScreen(x, y);
      return Math.hypot(sx - px, sy - py) < reach;
    };
    const alert = this.alerts.findLast(({ place }) => near(place[0], place[1], 13));
    if (alert) return { alert: alert.alert };
    for (const rsu of this.states.rsus.values()) {
      if (near(...toWorld(rsu.lon_deg, rsu.lat_deg), 11)) return { rsu };
    }
    const head = this.heads.find(({ x, y }) => near(x, y, 7));
    if (head) return { head, signal: this.states.signals.get(head.key) };
    const segment = this.segmentAt(px, py);
    return segment ? { segment, state: this.states.segments.get(segment.properties.segment_id) } : null;
  }

  segmentAt(px, py) {
    const [x, y] = this.view.toWorldAt(px, py);
    const reach = 9 / this.view.scale;
    let best = null;
    let bestDistance = reach;
    for (const segment of this.segments.values()) {
      const [minX, minY, maxX, maxY] = segment.box;
      if (x < minX - reach || x > maxX + reach || y < minY - reach || y > maxY + reach) continue;
      const distance = distanceTo(segment.centre, x, y);
      if (distance < bestDistance) [best, bestDistance] = [segment, distance];
    }
    return best;
  }
}

function isNewerWindow(item, old) {
  const [isBusy, wasBusy] = [item.vehicle_count > 0, old.vehicle_count > 0];
  if (isBusy !== wasBusy) return isBusy; // an empty window tells of no speed
  if (item.sampled_at !== old.sampled_at) return item.sampled_at > old.sampled_at;
  return item.window_s >= old.window_s;
}

function extent(points) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (const [x, y] of points) {
    box[0] = Math.min(box[0], x);
    box[1] = Math.min(box[1], y);
    box[2] = Math.max(box[2], x);
    box[3] = Math.max(box[3], y);
  }
  return box;
}

function boxOf(lines) {
  const points = lines.flatMap((f) => f.geometry.coordinates.map(([lon, lat]) => toWorld(lon, lat)));
  return points.length ? extent(points) : null;
}

// Paths are kept in metres around the map's middle: as world units their digits would run out.
function originOf([minX, minY, maxX, maxY]) {
  const y = (minY + maxY) / 2;
  return { x: (minX + maxX) / 2, y, k: metresPerWorld(y) };
}

function distanceTo(line, x, y) {
  let best = Infinity;
  for (let i = 1; i < line.length; i++) {
    const [ax, ay] = line[i - 1];
    const [bx, by] = line[i];
    const length2 = (bx - ax) ** 2 + (by - ay) ** 2;
    const along = length2 ? ((x - ax) * (bx - ax) + (y - ay) * (by - ay)) / length2 : 0;
    const share = Math.max(0, Math.min(1, along));
    best = Math.min(best, Math.hypot(ax + (bx - ax) * share - x, ay + (by - ay) * share - y));
  }
  return best;
}

function label(context, text, x, y) {
  context.font = "12px system-ui, sans-serif";
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.fillStyle = "#0d151ee6";
  context.fillRect(x - 4, y - 9, context.measureText(text).width + 8, 18);
  context.fillStyle = "#9fd8ea";
  context.fillText(text, x, y);
}

export function drawRsuIcon(context, x, y, health) {
  context.fillStyle = health === "failed" ? "#ff5c5c" : health === "degraded" ? "#f5c542" : "#4cc9f0";
  context.strokeStyle = "#08131c";
  context.lineWidth = 2;
  context.beginPath();
  context.rect(x - 5, y - 5, 10, 10);
  context.fill();
  context.stroke();
  context.fillStyle = "#08131c";
  context.fillRect(x - 1.5, y - 1.5, 3, 3);
}

export function drawHead(context, x, y, radius, phase) {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  context.fillStyle = phase ? PHASES[phase] : STALE_PHASE;
  context.fill();
  context.lineWidth = 1.4;
  context.strokeStyle = "#08131c";
  context.stroke();
}

export function drawAlert(context, x, y, severity, isSelected, isAcknowledged) {
  const size = isSelected ? 12 : 9.5;
  context.save();
  context.translate(x, y);
  if (isSelected) {
    context.beginPath();
    context.arc(0, 0, 19, 0, 2 * Math.PI);
    context.strokeStyle = "#ffffffcc";
    context.lineWidth = 2;
    context.stroke();
  }
  context.rotate(Math.PI / 4);
  context.globalAlpha = isAcknowledged ? 0.62 : 1;
  context.fillStyle = SEVERITIES[severity] ?? SEVERITIES.info;
  context.strokeStyle = "#08131c";
  context.lineWidth = 2;
  context.beginPath();
  context.rect(-size * 0.75, -size * 0.75, size * 1.5, size * 1.5);
  context.fill();
  context.stroke();
  context.rotate(-Math.PI / 4);
  context.fillStyle = "#08131c";
  context.fillRect(-1.3, -5.5, 2.6, 6.6);
  context.fillRect(-1.3, 2.7, 2.6, 2.6);
  context.restore();
}

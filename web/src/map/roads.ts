// A zone's map as GeoJSON sources for MapLibre, and what the page asks of its geometry.

import { metresBetween, type Box } from "../lib/geo";
import type { HeadProperties, SegmentProperties, ZoneMap } from "../lib/types";

type Position = [number, number];
interface Feature {
  type: "Feature";
  properties: Record<string, string | number | boolean>;
  geometry: { type: string; coordinates: unknown };
}
export interface Features {
  type: "FeatureCollection";
  features: Feature[];
}

const LANE_M = 3.2; // where the map does not say

export interface Segment extends SegmentProperties {
  line: Position[];
  box: Box;
}
export interface Head extends HeadProperties {
  key: string;
  lon: number;
  lat: number;
}

export class Roads {
  readonly segments = new Map<string, Segment>();
  readonly heads: Head[] = [];
  box: Box | null = null;

  constructor(map: ZoneMap | null) {
    for (const { properties, geometry } of map?.features ?? []) {
      if (properties.kind === "segment") this.addSegment(properties, geometry.coordinates as Position[]);
      else if (properties.kind === "signal_head") this.addHead(properties, geometry.coordinates as Position);
    }
  }

  private addSegment(properties: SegmentProperties, line: Position[]): void {
    const box = boxOf(line);
    this.segments.set(properties.segment_id, { ...properties, line, box });
    this.box = this.box ? union(this.box, box) : box;
  }

  private addHead(properties: HeadProperties, [lon, lat]: Position): void {
    const key = `${properties.intersection_id}:${properties.signal_group}`;
    this.heads.push({ ...properties, key, lon, lat });
  }

  /** One line a lane; lanes of a segment share its id, so one state colours them all. */
  lanes(): Features {
    const features: Feature[] = [];
    for (const segment of this.segments.values()) {
      for (const lane of lanesOf(segment)) {
        features.push({
          type: "Feature",
          properties: {
            segment_id: segment.segment_id,
            width_m: lane.width_m,
            is_internal: Boolean(segment.is_internal),
          },
          geometry: { type: "LineString", coordinates: lane.coordinates },
        });
      }
    }
    return { type: "FeatureCollection", features };
  }

  /** One point a signal head; heads of a group share its key. */
  headPoints(): Features {
    const features = this.heads.map(({ key, lon, lat }): Feature => ({
      type: "Feature",
      properties: { key },
      geometry: { type: "Point", coordinates: [lon, lat] },
    }));
    return { type: "FeatureCollection", features };
  }

  /** The last metres of each lane of some segments: where those stand who wait. */
  ends(wanted: Iterable<{ id: string; metres: number; isFull: boolean }>): Features {
    const features: Feature[] = [];
    for (const { id, metres, isFull } of wanted) {
      const segment = this.segments.get(id);
      for (const line of segment?.lanes?.map((lane) => lane.coordinates) ?? (segment ? [segment.line] : [])) {
        features.push({ type: "Feature", properties: { is_full: isFull }, geometry: { type: "LineString", coordinates: endOf(line, metres) } });
      }
    }
    return { type: "FeatureCollection", features };
  }

  /** The middle of a segment. */
  middle(segmentId: string): Position | null {
    const line = this.segments.get(segmentId)?.line;
    return line ? (line[Math.floor(line.length / 2)] ?? null) : null;
  }

  /** The segment nearest to a place, within `reachM`. */
  nearest(lon: number, lat: number, reachM: number): Segment | null {
    const reachDeg = reachM / 111_000 / Math.cos((lat * Math.PI) / 180);
    let best: Segment | null = null;
    let bestM = reachM;
    for (const segment of this.segments.values()) {
      const [west, south, east, north] = segment.box;
      if (lon < west - reachDeg || lon > east + reachDeg) continue;
      if (lat < south - reachDeg || lat > north + reachDeg) continue;
      for (const line of segment.lanes?.map((lane) => lane.coordinates) ?? [segment.line]) {
        const metres = distanceM(line, lon, lat);
        if (metres < bestM) [best, bestM] = [segment, metres];
      }
    }
    return best;
  }
}

/** A segment's lanes; one as wide as all where the map has none. */
export function lanesOf({ lanes, line, lane_count: n }: Segment): { coordinates: Position[]; width_m: number }[] {
  if (!lanes?.length) return [{ coordinates: line, width_m: LANE_M * n }];
  return lanes.map(({ coordinates, width_m: metres }) => ({ coordinates, width_m: metres ?? LANE_M }));
}

/** The last `metres` of a line, or all of it where it is shorter. */
export function endOf(line: Position[], metres: number): Position[] {
  const kept: Position[] = [line.at(-1)!];
  let left = metres;
  for (let i = line.length - 2; i >= 0; i--) {
    const [from, to] = [line[i]!, line[i + 1]!];
    const length = metresBetween(from, to);
    if (length >= left) {
      const share = length ? left / length : 0;
      return [[to[0] + (from[0] - to[0]) * share, to[1] + (from[1] - to[1]) * share], ...kept];
    }
    kept.unshift(from);
    left -= length;
  }
  return kept;
}

function boxOf(line: Position[]): Box {
  const [lons, lats] = [line.map(([lon]) => lon), line.map(([, lat]) => lat)];
  return [Math.min(...lons), Math.min(...lats), Math.max(...lons), Math.max(...lats)];
}

function union(a: Box, b: Box): Box {
  return [Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[2], b[2]), Math.max(a[3], b[3])];
}

function distanceM(line: Position[], lon: number, lat: number): number {
  let best = Infinity;
  for (let i = 1; i < line.length; i++) {
    const [a, b] = [line[i - 1]!, line[i]!];
    const squeeze = Math.cos((lat * Math.PI) / 180);
    const [dx, dy] = [(b[0] - a[0]) * squeeze, b[1] - a[1]];
    const length2 = dx * dx + dy * dy;
    const along = length2 ? (((lon - a[0]) * squeeze * dx + (lat - a[1]) * dy) / length2) : 0;
    const share = Math.max(0, Math.min(1, along));
    const near: Position = [a[0] + (b[0] - a[0]) * share, a[1] + (b[1] - a[1]) * share];
    best = Math.min(best, metresBetween(near, [lon, lat]));
  }
  return best;
}

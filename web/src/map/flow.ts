// How a segment moves now, as its colour says it.

import type { Scene } from "../live/scene";
import type { Segment } from "./roads";

export interface Flow {
  share: number | null; // of the speed limit
  perLane: number | null; // density, veh/km and lane
}

/** From the newest state of a segment; nulls where none is known or it is stale. */
export function flowOf(segment: Segment, scene: Scene): Flow {
  const state = scene.segments.get(segment.segment_id);
  if (!state || scene.isStaleSegment(state)) return { share: null, perLane: null };
  return {
    share: state.speed_mps == null ? null : state.speed_mps / segment.speed_limit_mps,
    perLane: state.density_vpkm == null ? null : state.density_vpkm / Math.max(1, segment.lane_count),
  };
}

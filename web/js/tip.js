// The small box beside the pointer that says what lies under it.

import { byId, decimal, el } from "./dom.js";

const KMH = 3.6;

/** Show lines of text at a pixel of the map; the first is bold. Nothing hides the box. */
export function showTip(lines, px, py) {
  const tip = byId("tip");
  tip.hidden = !lines;
  if (!lines) return;
  const [first, ...rest] = lines.filter(Boolean);
  tip.replaceChildren(el("strong", {}, first), ...rest.map((line) => el("span", {}, line)));
  const { clientWidth, clientHeight } = tip.parentElement;
  const left = px + 16 + tip.offsetWidth > clientWidth ? px - 16 - tip.offsetWidth : px + 16;
  const top = Math.min(py + 14, clientHeight - tip.offsetHeight - 8);
  tip.style.transform = `translate(${Math.max(4, left)}px, ${Math.max(4, top)}px)`;
}

export function vehicleLines(item, facts) {
  const speed = item.speedKmh === null ? null : `${item.speedKmh} km/h`;
  const lines = [facts?.vehicle_id ?? item.kind.name, [item.kind.name, speed].filter(Boolean).join(" · ")];
  if (facts?.segment_id) lines.push(`on ${facts.segment_id}`);
  if (facts?.soc_ratio != null) {
    const heat = facts.probe_temperature_max_degc;
    lines.push(`battery ${Math.round(facts.soc_ratio * 100)} %${heat == null ? "" : `, ${heat} °C`}`);
  }
  return lines;
}

export function thingLines({ alert, rsu, head, signal, segment, state }) {
  if (alert) return [alert.title, `${alert.subject_type} ${alert.subject_id}`, alert.evidence.text];
  if (rsu) {
    return [`RSU ${rsu.subject_id}`, `health ${rsu.health}`, rsu.range_m ? `range ${rsu.range_m} m` : null];
  }
  if (head) {
    const phase = signal ? signal.phase.replace("_", " ") : "never heard";
    return [`Signal ${head.intersection}`, `group ${head.group}: ${phase}`];
  }
  return segmentLines(segment.properties, state);
}

function segmentLines(properties, state) {
  const limit = `limit ${decimal(properties.speed_limit_mps * KMH, 0)} km/h`;
  const lines = [properties.name || properties.segment_id, properties.name ? properties.segment_id : null];
  if (!state) return [...lines, limit, "no traffic seen yet"];
  const speed = state.speed_mps == null ? "nobody there" : `${decimal(state.speed_mps * KMH, 0)} km/h`;
  return [
    ...lines,
    `${speed} · ${limit}`,
    `${decimal(state.density_vpkm ?? NaN, 1)} veh/km · ${decimal(state.flow_vph ?? NaN, 0)} veh/h`,
  ];
}

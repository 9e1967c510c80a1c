-- name: alerts
-- Alerts, newest first, with the last word of each kind of action. Every filter may be NULL.
SELECT a.*, ack.who AS acknowledged_by, ack.at AS acknowledged_at,
       assigned.detail ->> 'to' AS assigned_to,
       (snoozed.detail ->> 'until_ns')::bigint AS snoozed_until_ns
FROM alert a
LEFT JOIN LATERAL (
    SELECT who, at FROM alert_action
    WHERE alert_id = a.id AND action = 'ack' ORDER BY id DESC LIMIT 1
) AS ack ON true
LEFT JOIN LATERAL (
    SELECT detail FROM alert_action
    WHERE alert_id = a.id AND action = 'assign' ORDER BY id DESC LIMIT 1
) AS assigned ON true
LEFT JOIN LATERAL (
    SELECT detail FROM alert_action
    WHERE alert_id = a.id AND action = 'snooze' ORDER BY id DESC LIMIT 1
) AS snoozed ON true
WHERE (%(id)s::text IS NULL OR a.id = %(id)s)
  AND (%(zone)s::text IS NULL OR a.zone = %(zone)s)
  AND (%(run_id)s::text IS NULL OR a.run_id = %(run_id)s)
  AND (%(origin)s::text IS NULL OR a.origin = %(origin)s)
  AND (%(rule)s::text IS NULL OR a.rule = %(rule)s)
  AND (%(kind)s::text IS NULL OR a.kind = %(kind)s)
  AND (%(severity)s::smallint IS NULL OR a.severity = %(severity)s)
  AND (%(subject)s::text IS NULL OR a.subject_id = %(subject)s)
  AND (%(states)s::text[] IS NULL OR a.state = ANY (%(states)s))
  AND (%(to)s::timestamptz IS NULL OR a.started_at <= %(to)s)
  AND (%(from)s::timestamptz IS NULL OR a.state IN ('active', 'recovering')
       OR coalesce(a.cleared_at, a.detected_at) >= %(from)s)
  AND (%(at)s::timestamptz IS NULL OR (a.started_at, a.id) < (%(at)s, %(after_id)s))
ORDER BY a.started_at DESC, a.id DESC
LIMIT %(limit)s;

-- name: worst_by_rule
-- The worst open alert of each rule that a subject has. %(kind)s, %(severity)s (the least);
-- %(zone)s and %(run_id)s may be NULL. The states stand here for the index of open alerts.
SELECT run_id, subject_id, rule, max(severity) FROM alert
WHERE kind = %(kind)s AND severity >= %(severity)s::smallint
  AND state IN ('active', 'recovering')
  AND (%(zone)s::text IS NULL OR zone = %(zone)s)
  AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
GROUP BY run_id, subject_id, rule;

-- name: alert_events
-- Every transition of an alert, in order. %(id)s.
SELECT sequence, change, severity, state, at, stored_at, evidence FROM alert_event
WHERE alert_id = %(id)s ORDER BY sequence;

-- name: alert_actions
-- What people did to an alert, in order. %(id)s.
SELECT at, who, action, detail FROM alert_action WHERE alert_id = %(id)s ORDER BY id;

-- name: add_action
-- Appends an action; no row for an unknown alert. %(id)s, %(who)s, %(action)s, %(detail)s.
INSERT INTO alert_action (alert_id, who, action, detail)
SELECT id, %(who)s, %(action)s, %(detail)s FROM alert WHERE id = %(id)s
RETURNING at;

-- name: records
-- Rows of one message with names for keys. {columns}, {joins}, {table}, {where}, {order} are made
-- from the contract; %(run_id)s, %(zone)s, %(from)s, %(to)s may be NULL.
SELECT z.name, r.run_id, r.origin, t.stored_at, {order_columns}, {columns}
FROM {table} t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
{joins}
WHERE t.run = ANY (ARRAY(
    SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s
))
  AND t.zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
  AND t.{time} >= coalesce(%(from)s::timestamptz, '-infinity')
  AND t.{time} <= coalesce(%(to)s::timestamptz, 'infinity')
  {where}
ORDER BY {order}
LIMIT %(limit)s;

-- name: past_positions
-- The last sample of each vehicle in each step of a span, by vehicle and time. %(run_id)s,
-- %(zone)s, %(from)s, %(to)s, %(step_s)s, %(limit)s; the bounds %(west)s, %(south)s, %(east)s,
-- %(north)s in degrees.
SELECT DISTINCT ON (t.subject, step) k.name,
       (extract(epoch FROM t.sampled_at - %(from)s::timestamptz) * 1000)::integer AS at_ms,
       t.lat_deg, t.lon_deg, t.heading_deg, t.speed_mps, t.vehicle_class, t.brake_on,
       date_bin(make_interval(secs => %(step_s)s), t.sampled_at, to_timestamp(0)) AS step
FROM vehicle_state t
JOIN subject k ON k.id = t.subject
WHERE t.run = ANY (ARRAY(SELECT id FROM run WHERE run_id = %(run_id)s))
  AND t.zone = (SELECT id FROM zone WHERE name = %(zone)s)
  AND t.sampled_at >= %(from)s::timestamptz AND t.sampled_at < %(to)s::timestamptz
  AND t.lon_deg BETWEEN %(west)s AND %(east)s AND t.lat_deg BETWEEN %(south)s AND %(north)s
ORDER BY t.subject, step, t.sampled_at DESC
LIMIT %(limit)s;

-- name: checkpoint_position
-- The position that the table `counter` stands on.
SELECT coalesce(max(position), 0) FROM checkpoint;

-- name: zones
-- Each zone's newest announcement and its newest map.
SELECT z.name AS zone, n.time_zone, n.clock, m.map_version, m.document
FROM zone z
JOIN LATERAL (
    SELECT time_zone, clock FROM zone_run WHERE zone = z.id ORDER BY changed_at DESC LIMIT 1
) AS n ON true
LEFT JOIN LATERAL (
    SELECT map_version FROM zone_run
    WHERE zone = z.id AND map_version IS NOT NULL ORDER BY changed_at DESC LIMIT 1
) AS v ON true
LEFT JOIN zone_map m ON m.map_version = v.map_version
ORDER BY z.name;

-- name: runs
-- Runs by zone, newest first. %(zone)s may be NULL.
SELECT r.run_id, z.name AS zone, r.origin, zr.title, zr.state, zr.first_at, zr.last_at
FROM zone_run zr
JOIN run r ON r.id = zr.run
JOIN zone z ON z.id = zr.zone
WHERE %(zone)s::text IS NULL OR z.name = %(zone)s
ORDER BY zr.changed_at DESC, r.run_id;

-- name: vehicle_steps
-- What a vehicle did in each step, newest first. %(subject)s, %(step_s)s, %(limit)s; %(run_id)s,
-- %(zone)s, %(from)s, %(to)s and the place of a cursor %(after_0)s (step), %(after_1)s (run),
-- %(after_2)s (zone) may be NULL.
SELECT s.step_start, z.name AS zone, r.run_id, r.origin, s.record_count,
       s.speed_sum_mps / s.record_count AS speed_mean_mps, s.speed_min_mps, s.speed_max_mps,
       to_timestamp(s.newest[1]) AS newest_at, s.newest[2] AS lat_deg, s.newest[3] AS lon_deg,
       s.run, s.zone AS zone_key
FROM (
    SELECT date_bin(make_interval(secs => %(step_s)s), minute_start, to_timestamp(0)) AS step_start,
           run, zone, sum(record_count)::bigint AS record_count,
           sum(speed_sum_mps) AS speed_sum_mps, min(speed_min_mps) AS speed_min_mps,
           max(speed_max_mps) AS speed_max_mps, max(newest) AS newest
    FROM vehicle_minute
    WHERE subject = (SELECT id FROM subject WHERE name = %(subject)s)
      AND run = ANY (ARRAY(
          SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s
      ))
      AND zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
      AND minute_start >= coalesce(%(from)s::timestamptz, '-infinity')
      AND minute_start <= coalesce(%(to)s::timestamptz, 'infinity')
      AND minute_start < coalesce(
          %(after_0)s::timestamptz + make_interval(secs => %(step_s)s), 'infinity')
    GROUP BY 1, 2, 3
) AS s
JOIN run r ON r.id = s.run
JOIN zone z ON z.id = s.zone
WHERE %(after_0)s::timestamptz IS NULL
   OR (s.step_start, s.run, s.zone) < (%(after_0)s, %(after_1)s::integer, %(after_2)s::integer)
ORDER BY s.step_start DESC, s.run DESC, s.zone DESC
LIMIT %(limit)s;

-- name: segment_steps
-- How a segment flowed in each step, newest first, by length of its windows. Parameters as above,
-- and %(after_3)s (window_s).
SELECT s.step_start, z.name AS zone, r.run_id, r.origin, s.window_s, s.window_count,
       s.density_vpkm, s.flow_vph, s.distance_m / nullif(s.vehicle_s, 0) AS speed_mps,
       s.vehicle_s, s.distance_m, s.vehicle_count_max, s.coverage_ratio,
       s.run, s.zone AS zone_key
FROM (
    SELECT date_bin(make_interval(secs => %(step_s)s), minute_start, to_timestamp(0)) AS step_start,
           run, zone, window_s, sum(window_count)::bigint AS window_count,
           sum(density_vpkm * window_count)
               / sum(window_count) FILTER (WHERE density_vpkm IS NOT NULL) AS density_vpkm,
           sum(flow_vph * window_count)
               / sum(window_count) FILTER (WHERE flow_vph IS NOT NULL) AS flow_vph,
           sum(vehicle_s) AS vehicle_s, sum(distance_m) AS distance_m,
           max(vehicle_count_max) AS vehicle_count_max,
           sum(coverage_ratio * window_count) / sum(window_count) AS coverage_ratio
    FROM segment_minute
    WHERE subject = (SELECT id FROM subject WHERE name = %(subject)s)
      AND run = ANY (ARRAY(
          SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s
      ))
      AND zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
      AND minute_start >= coalesce(%(from)s::timestamptz, '-infinity')
      AND minute_start <= coalesce(%(to)s::timestamptz, 'infinity')
      AND minute_start < coalesce(
          %(after_0)s::timestamptz + make_interval(secs => %(step_s)s), 'infinity')
    GROUP BY 1, 2, 3, 4
) AS s
JOIN run r ON r.id = s.run
JOIN zone z ON z.id = s.zone
WHERE %(after_0)s::timestamptz IS NULL
   OR (s.step_start, s.run, s.zone, s.window_s)
      < (%(after_0)s, %(after_1)s::integer, %(after_2)s::integer, %(after_3)s::real)
ORDER BY s.step_start DESC, s.run DESC, s.zone DESC, s.window_s DESC
LIMIT %(limit)s;

-- name: segment_quarters
-- What segments did in quarters of an hour, of all runs of one origin: of runs of one quarter, such as
-- two replays of a day, that with the most minutes, the newest of equals. %(zone)s, %(origin)s;
-- %(run_id)s may be NULL. {which}: of which segment or of which quarters.
SELECT DISTINCT ON (k.name, q.quarter_start)
       k.name AS subject_id, q.quarter_start, q.vehicle_s, q.distance_m
FROM segment_quarter q
JOIN subject k ON k.id = q.subject
WHERE {which}
  AND q.zone = (SELECT id FROM zone WHERE name = %(zone)s)
  AND q.run = ANY (ARRAY(
      SELECT id FROM run
      WHERE origin = %(origin)s AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
  ))
ORDER BY k.name, q.quarter_start, q.minute_count DESC, q.run DESC;

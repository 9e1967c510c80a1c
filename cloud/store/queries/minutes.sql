-- name: stored_for_sure
-- The moment before which every stored row is visible: no transaction that may still write began
-- earlier. One that has written nothing for five minutes only reads.
SELECT least(now(), min(xact_start)) FROM pg_stat_activity
WHERE datname = current_database() AND backend_type = 'client backend'
  AND pid <> pg_backend_pid()
  AND (backend_xid IS NOT NULL OR xact_start > now() - interval '5 minutes');

-- name: minute_position
-- Up to which moment of storing a message's rows are in the minutes, NULL for none; nobody else
-- moves it meanwhile. %(message)s.
SELECT nullif(stored_before, '-infinity') FROM minute_position
WHERE message = %(message)s FOR UPDATE;

-- name: read_minute_position
-- The same, only to look at. %(message)s.
SELECT nullif(stored_before, '-infinity') FROM minute_position WHERE message = %(message)s;

-- name: move_minute_position
-- %(message)s, %(before)s.
UPDATE minute_position SET stored_before = %(before)s WHERE message = %(message)s;

-- name: first_stored
-- When the first row was stored that is not in the minutes; reads all of them. {table}; %(after)s
-- may be NULL, %(until)s.
SELECT min(stored_at) FROM {table}
WHERE stored_at >= coalesce(%(after)s::timestamptz, '-infinity') AND stored_at < %(until)s;

-- name: is_any_row
-- {table}, {where}.
SELECT EXISTS (SELECT FROM {table} t WHERE {where});

-- name: make_summed
-- Where minutes are summed up. {table}: the table of minutes they go to.
CREATE TEMP TABLE summed (LIKE {table}) ON COMMIT DROP;

-- name: sum_vehicle_minutes
-- Minutes of the vehicle states under a condition. {where}.
INSERT INTO summed
SELECT run, zone, subject, date_bin('1 minute', sampled_at, to_timestamp(0)), count(*),
       sum(speed_mps::double precision), min(speed_mps), max(speed_mps),
       max(ARRAY[extract(epoch FROM sampled_at - to_timestamp(0))::double precision,
                 lat_deg, lon_deg]),
       max(stored_at)
FROM vehicle_state t WHERE {where}
GROUP BY 1, 2, 3, 4;

-- name: sum_segment_minutes
-- Minutes, whole, that hold a window under a condition. {where}.
INSERT INTO summed
SELECT m.run, m.zone, m.subject, m.window_s, m.minute_start, a.*
FROM (
    SELECT DISTINCT run, zone, subject, window_s,
           date_bin('1 minute', window_start, to_timestamp(0)) AS minute_start
    FROM segment_state t WHERE {where}
) AS m
CROSS JOIN LATERAL (
    SELECT count(*), avg(density_vpkm), avg(flow_vph), sum(vehicle_s::double precision),
           sum(distance_m::double precision), max(vehicle_count), avg(coverage_ratio),
           max(stored_at)
    FROM segment_state s
    WHERE s.run = m.run AND s.zone = m.zone AND s.subject = m.subject
      AND s.window_s = m.window_s AND s.window_start >= m.minute_start
      AND s.window_start < m.minute_start + interval '1 minute'
) AS a;

-- name: copy_vehicle_minutes
-- Minutes of the continuous aggregate under a condition. {where}.
INSERT INTO summed SELECT * FROM vehicle_minute_fresh t WHERE {where};

-- name: copy_segment_minutes
-- The same of segments. {where}.
INSERT INTO summed SELECT * FROM segment_minute_fresh t WHERE {where};

-- name: summed_parts
-- The numbers of the time partitions that summed minutes lie in. %(chunk_us)s.
SELECT DISTINCT floor(extract(epoch FROM minute_start) * 1000000 / %(chunk_us)s)::bigint
FROM summed;

-- name: merge_vehicle_minutes
-- Adds summed minutes to those that are there.
INSERT INTO vehicle_minute_kept AS m SELECT * FROM summed
ON CONFLICT (run, subject, minute_start, zone) DO UPDATE SET
    record_count = m.record_count + EXCLUDED.record_count,
    speed_sum_mps = m.speed_sum_mps + EXCLUDED.speed_sum_mps,
    speed_min_mps = least(m.speed_min_mps, EXCLUDED.speed_min_mps),
    speed_max_mps = greatest(m.speed_max_mps, EXCLUDED.speed_max_mps),
    newest = greatest(m.newest, EXCLUDED.newest),
    stored_at = greatest(m.stored_at, EXCLUDED.stored_at);

-- name: merge_segment_minutes
-- Replaces minutes by newer sums of them, but never by one of fewer windows: the others have been
-- dropped since.
INSERT INTO segment_minute_kept AS m SELECT * FROM summed
ON CONFLICT (run, zone, subject, minute_start, window_s) DO UPDATE SET
    window_count = EXCLUDED.window_count, density_vpkm = EXCLUDED.density_vpkm,
    flow_vph = EXCLUDED.flow_vph, vehicle_s = EXCLUDED.vehicle_s,
    distance_m = EXCLUDED.distance_m, vehicle_count_max = EXCLUDED.vehicle_count_max,
    coverage_ratio = EXCLUDED.coverage_ratio, stored_at = EXCLUDED.stored_at
WHERE EXCLUDED.window_count >= m.window_count;

-- name: refresh_aggregate
-- Brings a continuous aggregate up to date, whatever time the new rows are of. %(view)s.
CALL refresh_continuous_aggregate(%(view)s::regclass, NULL, NULL);

-- name: block_range_indexes
-- Every BRIN index that holds rows, and how many whole block ranges its table fills.
SELECT i.indexrelid::regclass::text, pg_relation_size(i.indrelid) / 8192 / 128
FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
WHERE a.amname = 'brin' AND c.relkind = 'i';

-- name: summarize
-- Notes what new block ranges hold. %(index)s.
SELECT brin_summarize_new_values(%(index)s::regclass);

-- name: changed_quarters
-- Quarters of an hour of segments that hold a window under a condition, into `summed`. {where}.
INSERT INTO summed (zone, quarter_start, run, subject, minute_count, vehicle_s, distance_m, stored_at)
SELECT DISTINCT zone, date_bin('15 minutes', window_start, to_timestamp(0)), run, subject,
       0, 0, 0, now()
FROM segment_state t WHERE t.window_s = 10 AND {where};

-- name: merge_segment_quarters
-- Sums up anew, from their minutes, the quarters in `summed`; never from fewer minutes than before:
-- the others have been dropped since.
INSERT INTO segment_quarter AS q
SELECT s.zone, s.quarter_start, s.run, s.subject, a.*
FROM summed s
CROSS JOIN LATERAL (
    SELECT count(*)::smallint AS minute_count, sum(m.vehicle_s) AS vehicle_s,
           sum(m.distance_m) AS distance_m, max(m.stored_at) AS stored_at
    FROM segment_minute m
    WHERE m.run = s.run AND m.zone = s.zone AND m.subject = s.subject AND m.window_s = 10
      AND m.minute_start >= s.quarter_start
      AND m.minute_start < s.quarter_start + interval '15 minutes'
) AS a
WHERE a.minute_count > 0
ON CONFLICT (zone, quarter_start, run, subject) DO UPDATE SET
    minute_count = EXCLUDED.minute_count, vehicle_s = EXCLUDED.vehicle_s,
    distance_m = EXCLUDED.distance_m, stored_at = EXCLUDED.stored_at
WHERE EXCLUDED.minute_count >= q.minute_count;

-- name: summed_quarter_parts
-- The numbers of the time partitions that quarters in `summed` lie in. %(chunk_us)s.
SELECT DISTINCT floor(extract(epoch FROM quarter_start) * 1000000 / %(chunk_us)s)::bigint
FROM summed;

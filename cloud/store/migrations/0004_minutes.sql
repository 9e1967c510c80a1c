-- Minutes of vehicles and segments, and indexes that find new rows, spans of time and numbers.

-- Block ranges instead of trees: rows come nearly in order of both times, so that a range of a
-- megabyte says where they are, at a hundredth of a tree's price.
CREATE INDEX vehicle_state_by_time ON vehicle_state USING brin (sampled_at, stored_at);
CREATE INDEX segment_state_by_time ON segment_state USING brin (window_start, stored_at);
CREATE INDEX battery_state_by_time ON battery_state USING brin (sampled_at, stored_at);
CREATE INDEX rsu_objects_by_time ON rsu_objects USING brin (sampled_at, stored_at);
-- A record that somebody else relayed is looked for by its number.
CREATE INDEX vehicle_state_by_seq ON vehicle_state USING brin (seq int8_bloom_ops);
CREATE INDEX rsu_objects_by_seq ON rsu_objects USING brin (seq int8_bloom_ops);

CREATE TABLE minute_position (
    message text PRIMARY KEY,
    stored_before timestamptz NOT NULL DEFAULT '-infinity'
);
COMMENT ON TABLE minute_position IS 'Rows stored before this moment are in the minutes.';
INSERT INTO minute_position (message) VALUES ('vehicle_state'), ('segment_state');

CREATE TABLE vehicle_minute_kept (
    run integer NOT NULL,
    zone integer NOT NULL,
    subject integer NOT NULL,
    minute_start timestamptz NOT NULL,
    record_count bigint NOT NULL,
    speed_sum_mps double precision NOT NULL,
    speed_min_mps real NOT NULL,
    speed_max_mps real NOT NULL,
    newest double precision[] NOT NULL,
    stored_at timestamptz NOT NULL
) PARTITION BY RANGE (minute_start);
COMMENT ON TABLE vehicle_minute_kept IS
    'Minutes of vehicles that the service has summed up. newest: epoch s, lat_deg, lon_deg.';
CREATE UNIQUE INDEX vehicle_minute_kept_key
    ON vehicle_minute_kept (run, subject, minute_start, zone);

CREATE TABLE segment_minute_kept (
    run integer NOT NULL,
    zone integer NOT NULL,
    subject integer NOT NULL,
    window_s real NOT NULL,
    minute_start timestamptz NOT NULL,
    window_count bigint NOT NULL,
    density_vpkm double precision,
    flow_vph double precision,
    vehicle_s double precision NOT NULL,
    distance_m double precision NOT NULL,
    vehicle_count_max bigint NOT NULL,
    coverage_ratio double precision NOT NULL,
    stored_at timestamptz NOT NULL
) PARTITION BY RANGE (minute_start);
COMMENT ON TABLE segment_minute_kept IS 'Minutes of segments that the service has summed up.';
CREATE UNIQUE INDEX segment_minute_kept_key
    ON segment_minute_kept (run, zone, subject, minute_start, window_s);

-- only: own
CREATE VIEW vehicle_minute AS SELECT * FROM vehicle_minute_kept;
CREATE VIEW segment_minute AS SELECT * FROM segment_minute_kept;

-- only: continuous
-- TimescaleDB keeps the minutes of rows that are there; those of dropped rows are kept by us.
CREATE MATERIALIZED VIEW vehicle_minute_fresh
WITH (timescaledb.continuous, timescaledb.create_group_indexes = false) AS
SELECT run, zone, subject, time_bucket('1 minute', sampled_at) AS minute_start,
       count(*) AS record_count, sum(speed_mps::double precision) AS speed_sum_mps,
       min(speed_mps) AS speed_min_mps, max(speed_mps) AS speed_max_mps,
       max(ARRAY[extract(epoch FROM sampled_at - to_timestamp(0))::double precision,
                 lat_deg, lon_deg]) AS newest,
       max(stored_at) AS stored_at
FROM vehicle_state GROUP BY run, zone, subject, time_bucket('1 minute', sampled_at)
WITH NO DATA;
CREATE INDEX vehicle_minute_fresh_key ON vehicle_minute_fresh (run, subject, minute_start);

CREATE MATERIALIZED VIEW segment_minute_fresh
WITH (timescaledb.continuous, timescaledb.create_group_indexes = false) AS
SELECT run, zone, subject, window_s, time_bucket('1 minute', window_start) AS minute_start,
       count(*) AS window_count, avg(density_vpkm) AS density_vpkm, avg(flow_vph) AS flow_vph,
       sum(vehicle_s::double precision) AS vehicle_s,
       sum(distance_m::double precision) AS distance_m, max(vehicle_count) AS vehicle_count_max,
       avg(coverage_ratio) AS coverage_ratio, max(stored_at) AS stored_at
FROM segment_state GROUP BY run, zone, subject, window_s, time_bucket('1 minute', window_start)
WITH NO DATA;
CREATE INDEX segment_minute_fresh_key
    ON segment_minute_fresh (run, zone, subject, minute_start);

CREATE VIEW vehicle_minute AS
SELECT run, zone, subject, minute_start, sum(record_count)::bigint AS record_count,
       sum(speed_sum_mps) AS speed_sum_mps, min(speed_min_mps) AS speed_min_mps,
       max(speed_max_mps) AS speed_max_mps, max(newest) AS newest, max(stored_at) AS stored_at
FROM (
    SELECT * FROM vehicle_minute_kept UNION ALL SELECT * FROM vehicle_minute_fresh
) AS both_kinds
GROUP BY run, zone, subject, minute_start;
-- Of a minute that was kept and came again (a late revision), the one of more windows counts.
CREATE VIEW segment_minute AS
SELECT DISTINCT ON (run, zone, subject, window_s, minute_start) *
FROM (
    SELECT * FROM segment_minute_kept UNION ALL SELECT * FROM segment_minute_fresh
) AS both_kinds
ORDER BY run, zone, subject, window_s, minute_start, window_count DESC, stored_at DESC;

-- only: any
CREATE VIEW v_vehicle_minute AS SELECT
    z.name AS zone,
    r.run_id,
    r.origin,
    k.name AS subject_id,
    t.minute_start,
    t.record_count,
    t.speed_sum_mps / t.record_count AS speed_mean_mps,
    t.speed_min_mps,
    t.speed_max_mps,
    to_timestamp(t.newest[1]) AS newest_at,
    t.newest[2] AS lat_deg,
    t.newest[3] AS lon_deg,
    t.stored_at
FROM vehicle_minute t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN subject k ON k.id = t.subject;

CREATE VIEW v_segment_minute AS SELECT
    z.name AS zone,
    r.run_id,
    r.origin,
    k.name AS subject_id,
    t.window_s,
    t.minute_start,
    t.window_count,
    t.density_vpkm,
    t.flow_vph,
    t.distance_m / nullif(t.vehicle_s, 0) AS speed_mps,
    t.vehicle_s,
    t.distance_m,
    t.vehicle_count_max,
    t.coverage_ratio,
    t.stored_at
FROM segment_minute t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN subject k ON k.id = t.subject;

-- Quarters of an hour of segments: what typical days are read from.

CREATE TABLE segment_quarter (
    zone integer NOT NULL,
    quarter_start timestamptz NOT NULL,
    run integer NOT NULL,
    subject integer NOT NULL,
    minute_count smallint NOT NULL,
    vehicle_s double precision NOT NULL,
    distance_m double precision NOT NULL,
    stored_at timestamptz NOT NULL
) PARTITION BY RANGE (quarter_start);
COMMENT ON TABLE segment_quarter IS
    'What was seen on a segment in a quarter of an hour: the sum of its minutes (windows of 10 s).';
-- A moment's quarters of all segments stand together, and so do all of one segment.
CREATE UNIQUE INDEX segment_quarter_key ON segment_quarter (zone, quarter_start, run, subject);
CREATE INDEX segment_quarter_of ON segment_quarter (subject, zone, quarter_start);

INSERT INTO minute_position (message) VALUES ('segment_quarter');

CREATE VIEW v_segment_quarter AS SELECT
    z.name AS zone,
    r.run_id,
    r.origin,
    k.name AS subject_id,
    t.quarter_start,
    t.minute_count,
    t.distance_m / nullif(t.vehicle_s, 0) AS speed_mps,
    t.vehicle_s,
    t.distance_m,
    t.stored_at
FROM segment_quarter t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN subject k ON k.id = t.subject;

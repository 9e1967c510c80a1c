-- name: intern_source
-- Gives new senders a key, and says which; those that are known are left out. %(names)s: text[].
INSERT INTO source (name) SELECT unnest(%(names)s::text[]) ON CONFLICT DO NOTHING RETURNING name, id;

-- name: keys_of_source
-- Keys of senders. %(names)s: text[].
SELECT name, id FROM source WHERE name = ANY (%(names)s::text[]);

-- name: intern_subject
-- Gives new subjects a key, and says which; those that are known are left out. %(names)s: text[].
INSERT INTO subject (name) SELECT unnest(%(names)s::text[]) ON CONFLICT DO NOTHING RETURNING name, id;

-- name: keys_of_subject
-- Keys of subjects. %(names)s: text[].
SELECT name, id FROM subject WHERE name = ANY (%(names)s::text[]);

-- name: reserve_keys
-- Sets keys of an identity table aside: the last of them. %(table)s, %(n)s how many.
SELECT setval(seq.name, nextval(seq.name) + %(n)s - 1)
FROM (SELECT pg_get_serial_sequence(%(table)s, 'id')::regclass AS name) AS seq;

-- name: newest_source
-- The newest senders and their keys. %(limit)s.
SELECT name, id FROM source ORDER BY id DESC LIMIT %(limit)s;

-- name: newest_subject
-- The newest subjects and their keys. %(limit)s.
SELECT name, id FROM subject ORDER BY id DESC LIMIT %(limit)s;

-- name: intern_zone
-- Gives new zones a key, and says which; those that are known are left out. %(names)s: text[].
INSERT INTO zone (name) SELECT unnest(%(names)s::text[]) ON CONFLICT DO NOTHING RETURNING name, id;

-- name: keys_of_zone
-- Keys of zones. %(names)s: text[].
SELECT name, id FROM zone WHERE name = ANY (%(names)s::text[]);

-- name: intern_run
-- The key of a run. %(run_id)s, %(origin)s.
INSERT INTO run (run_id, origin) VALUES (%(run_id)s, %(origin)s)
ON CONFLICT (run_id, origin) DO UPDATE SET origin = EXCLUDED.origin RETURNING id;

-- name: add_batch
-- Claims a batch id; no row when it is known. %(batch_id)s, %(rows)s it will
-- bring if all of them can be stored.
INSERT INTO ingest_batch (batch_id, stored_rows) VALUES (%(batch_id)s, %(rows)s) ON CONFLICT DO NOTHING RETURNING 1;

-- name: set_batch_rows
-- Corrects how many rows a batch brought. %(batch_id)s, %(rows)s.
UPDATE ingest_batch SET stored_rows = %(rows)s WHERE batch_id = %(batch_id)s;

-- name: batch_rows
-- How many rows a known batch brought. %(batch_id)s.
SELECT stored_rows FROM ingest_batch WHERE batch_id = %(batch_id)s;

-- name: forget_batches
-- Forgets old batch ids. A batch sent again after that adds no rows either: the rows' own unique
-- index refuses them, at a higher price.
DELETE FROM ingest_batch WHERE stored_at < now() - interval '15 days';

-- name: upsert_alerts
-- Alerts as they stand after their newest transitions. %(rows)s is a JSON array of objects.
INSERT INTO alert AS a (
    id, run_id, origin, zone, rule, kind, severity, state, subject_type, subject_id, component,
    segment_id, lat_deg, lon_deg, started_at, detected_at, cleared_at, confidence, title, advice,
    evidence, is_unknown, folded_into, sequence
)
SELECT
    id, run_id, origin, zone, rule, kind, severity, state, subject_type, subject_id, component,
    segment_id, lat_deg, lon_deg, started_at, detected_at, cleared_at, confidence, title, advice,
    evidence, is_unknown, folded_into, sequence
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    id text, run_id text, origin text, zone text, rule text, kind text, severity smallint,
    state text, subject_type text, subject_id text, component text, segment_id text,
    lat_deg double precision, lon_deg double precision, started_at timestamptz,
    detected_at timestamptz, cleared_at timestamptz, confidence double precision, title text,
    advice text, evidence jsonb, is_unknown boolean, folded_into text, sequence bigint
)
ON CONFLICT (id) DO UPDATE SET
    severity = EXCLUDED.severity, state = EXCLUDED.state, segment_id = EXCLUDED.segment_id,
    lat_deg = EXCLUDED.lat_deg, lon_deg = EXCLUDED.lon_deg, detected_at = EXCLUDED.detected_at,
    cleared_at = EXCLUDED.cleared_at, confidence = EXCLUDED.confidence,
    evidence = EXCLUDED.evidence, is_unknown = EXCLUDED.is_unknown,
    folded_into = EXCLUDED.folded_into, sequence = EXCLUDED.sequence, changed_at = now();

-- name: add_alert_events
-- Transitions; the same one again (a run that was named and sent twice) changes nothing.
-- %(rows)s is a JSON array of objects.
INSERT INTO alert_event (alert_id, sequence, change, severity, state, at, evidence)
SELECT id, sequence, change, severity, state, at, evidence
FROM jsonb_to_recordset(%(rows)s::jsonb) AS r (
    id text, sequence bigint, change text, severity smallint, state text, at timestamptz,
    evidence jsonb
)
ON CONFLICT DO NOTHING;

-- name: upsert_ledger
-- An edge's account of one session; an older version than the stored one changes nothing.
INSERT INTO ledger AS l (
    run, zone, source, session, edge_id, edge_epoch, version, is_sequenced, sent, received,
    forwarded, rejected, dropped, expired, thinned, missing, duplicates, gaps, clock_offset_ms
) VALUES (
    %(run)s, %(zone)s, %(source)s, %(session)s, %(edge_id)s, %(edge_epoch)s, %(version)s,
    %(is_sequenced)s, %(sent)s, %(received)s, %(forwarded)s, %(rejected)s, %(dropped)s,
    %(expired)s, %(thinned)s, %(missing)s, %(duplicates)s, %(gaps)s, %(clock_offset_ms)s
)
ON CONFLICT (run, zone, source, session, edge_id, edge_epoch) DO UPDATE SET
    version = EXCLUDED.version, is_sequenced = EXCLUDED.is_sequenced, sent = EXCLUDED.sent,
    received = EXCLUDED.received, forwarded = EXCLUDED.forwarded, rejected = EXCLUDED.rejected,
    dropped = EXCLUDED.dropped, expired = EXCLUDED.expired, thinned = EXCLUDED.thinned,
    missing = EXCLUDED.missing, duplicates = EXCLUDED.duplicates, gaps = EXCLUDED.gaps,
    clock_offset_ms = EXCLUDED.clock_offset_ms
WHERE EXCLUDED.version > l.version;

-- name: add_to_ledger
-- The cloud's own account of senders without an edge: counts are added. %(rejected)s is a jsonb
-- object of counts by reason.
INSERT INTO ledger AS l (
    run, zone, source, session, edge_id, edge_epoch, version, is_sequenced, sent, received,
    forwarded, rejected, dropped, expired, thinned, missing, duplicates, gaps
) VALUES (
    %(run)s, %(zone)s, %(source)s, -1, 'cloud', 0, 1, false, %(sent)s, %(sent)s,
    %(forwarded)s, %(rejected)s, 0, 0, 0, 0, 0, '[]'
)
ON CONFLICT (run, zone, source, session, edge_id, edge_epoch) DO UPDATE SET
    version = l.version + 1, sent = l.sent + EXCLUDED.sent,
    received = l.received + EXCLUDED.received, forwarded = l.forwarded + EXCLUDED.forwarded,
    rejected = (
        SELECT coalesce(jsonb_object_agg(reason, n), '{}') FROM (
            SELECT key AS reason, sum(value::bigint) AS n FROM (
                SELECT * FROM jsonb_each_text(l.rejected)
                UNION ALL SELECT * FROM jsonb_each_text(EXCLUDED.rejected)
            ) AS both_sides GROUP BY key
        ) AS summed
    );

-- name: upsert_zone_run
-- What a zone_announce says of its run.
INSERT INTO zone_run AS z (
    run, zone, state, clock, rate_ratio, time_zone, title, map_version, first_at, last_at
) VALUES (
    %(run)s, %(zone)s, %(state)s, %(clock)s, %(rate_ratio)s, %(time_zone)s, %(title)s,
    %(map_version)s, %(at)s, %(at)s
)
ON CONFLICT (run, zone) DO UPDATE SET
    state = EXCLUDED.state, clock = EXCLUDED.clock, rate_ratio = EXCLUDED.rate_ratio,
    time_zone = EXCLUDED.time_zone, title = coalesce(EXCLUDED.title, z.title),
    map_version = coalesce(EXCLUDED.map_version, z.map_version),
    last_at = greatest(z.last_at, EXCLUDED.last_at), changed_at = now();

-- name: tick_zone_run
-- Zone time has moved. %(run)s, %(zone)s, %(at)s.
INSERT INTO zone_run AS z (run, zone, first_at, last_at)
VALUES (%(run)s, %(zone)s, %(at)s, %(at)s)
ON CONFLICT (run, zone) DO UPDATE SET last_at = EXCLUDED.last_at
WHERE EXCLUDED.last_at > z.last_at;

-- name: add_map
-- Keeps a map once. %(map_version)s, %(document)s.
INSERT INTO zone_map (map_version, document) VALUES (%(map_version)s, %(document)s)
ON CONFLICT DO NOTHING;

-- name: add_counts
-- Adds what was stored since the last checkpoint. Arrays of one length.
INSERT INTO counter AS c (run, zone, source, session, message, stored, repeated, refused)
SELECT * FROM unnest(
    %(run)s::integer[], %(zone)s::integer[], %(source)s::integer[], %(session)s::bigint[],
    %(message)s::text[], %(stored)s::bigint[], %(repeated)s::bigint[], %(refused)s::bigint[]
)
ON CONFLICT (run, zone, source, session, message) DO UPDATE SET
    stored = c.stored + EXCLUDED.stored, repeated = c.repeated + EXCLUDED.repeated,
    refused = c.refused + EXCLUDED.refused;

-- name: append_log
-- Appends to the log. %(kind)s, %(payload)s, %(outcome)s.
INSERT INTO ingest_log (kind, payload, outcome)
VALUES (%(kind)s, %(payload)s, %(outcome)s) RETURNING position;

-- name: read_log
-- Entries behind a position, in order. %(after)s.
SELECT position, kind, payload, outcome FROM ingest_log WHERE position > %(after)s
ORDER BY position LIMIT 200;

-- name: trim_log
-- Drops what a checkpoint covers. %(position)s.
DELETE FROM ingest_log WHERE position <= %(position)s;

-- name: load_checkpoint
-- All parts of the newest checkpoint.
SELECT name, position, state FROM checkpoint;

-- name: save_checkpoint
-- One part of a checkpoint. %(name)s, %(position)s, %(state)s.
INSERT INTO checkpoint (name, position, state) VALUES (%(name)s, %(position)s, %(state)s)
ON CONFLICT (name) DO UPDATE
SET position = EXCLUDED.position, state = EXCLUDED.state, at = now();

-- name: try_own
-- Whether this session now holds the pipeline's lock.
SELECT pg_try_advisory_lock(%(lock)s);

-- name: begin_ownership
-- A new owner: its number.
UPDATE ownership SET epoch = epoch + 1 RETURNING epoch;

-- name: hold_ownership
-- The number of the newest owner; there is no newer one until the transaction ends.
SELECT epoch FROM ownership FOR SHARE;

-- name: ownership_epoch
-- The number of the newest owner.
SELECT epoch FROM ownership;

-- name: add_new_rows
-- Moves staged rows that the table does not have; how many by sender and session. {table},
-- {staged}, {columns} are names, put in by the writer.
WITH added AS (
    INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged}
    ON CONFLICT DO NOTHING RETURNING run, zone, source, session
) SELECT run, zone, source, coalesce(session, -1), count(*) FROM added GROUP BY 1, 2, 3, 4;

-- name: revise_rows
-- Moves staged windows; of one window the highest revision stays. Names as above, {key} is the
-- unique index, {assignments} sets every other column.
INSERT INTO {table} AS t ({columns})
SELECT DISTINCT ON ({key}) {columns} FROM {staged} ORDER BY {key}, revision DESC
ON CONFLICT ({key}) DO UPDATE SET {assignments} WHERE EXCLUDED.revision > t.revision
RETURNING run, zone, source, coalesce(session, -1), 1;

-- name: add_clear_action
-- Notes who cleared an alert. %(alert_id)s, %(who)s, %(note)s.
INSERT INTO alert_action (alert_id, who, action, detail)
VALUES (%(alert_id)s, %(who)s, 'clear', jsonb_build_object('text', %(note)s::text));

-- name: open_alert
-- An open alert, and the newest zone time of its run. %(id)s, %(run_id)s.
SELECT a.*, (
    SELECT max(zr.last_at) FROM zone_run zr
    JOIN run r ON r.id = zr.run JOIN zone z ON z.id = zr.zone
    WHERE r.run_id = a.run_id AND z.name = a.zone
) AS last_at
FROM alert a
WHERE a.id = %(id)s AND a.run_id = %(run_id)s AND a.state IN ('active', 'recovering');

-- name: account_page
-- Keys of senders that have an account or rows, in order: the first %(limit)s behind
-- (%(after_run)s, %(after_zone)s, %(after_source)s). %(zone)s, %(run_id)s, %(source)s may be NULL;
-- the arrays are keys that only the pipeline's memory knows yet. {filter} is a condition on k and w.
WITH wanted AS (
    SELECT ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s) AS runs,
           ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s) AS zones,
           (SELECT id FROM source WHERE name = %(source)s::text) AS source
), found AS (
    (SELECT DISTINCT k.run, k.zone, k.source FROM ledger k, wanted w
     WHERE (k.run, k.zone, k.source) > (%(after_run)s, %(after_zone)s, %(after_source)s)
       AND {filter}
     ORDER BY k.run, k.zone, k.source LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT k.run, k.zone, k.source FROM counter k, wanted w
     WHERE (k.run, k.zone, k.source) > (%(after_run)s, %(after_zone)s, %(after_source)s)
       AND {filter}
     ORDER BY k.run, k.zone, k.source LIMIT %(limit)s)
    UNION
    SELECT k.run, k.zone, k.source
    FROM unnest(%(runs)s::integer[], %(zones)s::integer[], %(sources)s::integer[])
        AS k (run, zone, source), wanted w
    WHERE {filter}
)
SELECT f.run, f.zone, f.source, r.run_id, z.name AS zone_name, s.name AS source_id
FROM found f
JOIN run r ON r.id = f.run
JOIN zone z ON z.id = f.zone
JOIN source s ON s.id = f.source
ORDER BY f.run, f.zone, f.source LIMIT %(limit)s;

-- name: key_of_source
-- A sender's key. %(source)s.
SELECT id FROM source WHERE name = %(source)s::text;

-- name: ledgers_of
-- The edges' accounts of some senders. Arrays of one length: %(runs)s, %(zones)s, %(sources)s.
SELECT l.*
FROM unnest(%(runs)s::integer[], %(zones)s::integer[], %(sources)s::integer[])
    AS k (run, zone, source)
JOIN ledger l USING (run, zone, source);

-- name: counters_of
-- What the cloud stored or refused of some senders, up to the checkpoint. Arrays as above.
SELECT c.run, c.zone, c.source, c.session, c.stored, c.repeated, c.refused
FROM unnest(%(runs)s::integer[], %(zones)s::integer[], %(sources)s::integer[])
    AS k (run, zone, source)
JOIN counter c USING (run, zone, source);

-- name: ledger_sums
-- The edges' accounts summed by run and zone. %(zone)s, %(run_id)s may be NULL.
SELECT run, zone, sum(sent)::bigint AS sent, sum(received)::bigint AS received,
       sum(forwarded)::bigint AS forwarded, sum(dropped)::bigint AS dropped,
       sum(expired)::bigint AS expired, sum(thinned)::bigint AS thinned,
       sum(missing)::bigint AS missing, sum(duplicates)::bigint AS duplicates,
       min(edge_epoch) <> max(edge_epoch) AS has_epochs
FROM ledger
WHERE run = ANY (ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s))
  AND zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
GROUP BY run, zone;

-- name: shared_sessions
-- What sessions that several edges or spools have an account of say too much: their numbers are
-- one sender's, counted once. %(run)s, %(zone)s are keys.
SELECT coalesce(sum(sent - greatest(most, sent - missing)), 0)::bigint
FROM (
    SELECT sum(sent) AS sent, max(sent) AS most, sum(missing) AS missing
    FROM ledger WHERE run = %(run)s AND zone = %(zone)s
    GROUP BY source, session HAVING count(*) > 1 AND bool_and(is_sequenced)
) AS shared;

-- name: counter_sums
-- What the cloud stored or refused, summed by run and zone, up to the checkpoint.
SELECT run, zone, sum(stored)::bigint AS stored, sum(repeated)::bigint AS repeated,
       sum(refused)::bigint AS refused
FROM counter
WHERE run = ANY (ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s))
  AND zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
GROUP BY run, zone;

-- name: reason_sums
-- What the edges rejected, by run, zone and reason. %(zone)s, %(run_id)s may be NULL.
SELECT l.run, l.zone, e.key AS reason, sum(e.value::bigint)::bigint AS n
FROM ledger l, jsonb_each_text(l.rejected) e
WHERE l.rejected <> '{}'
  AND l.run = ANY (ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s))
  AND l.zone = ANY (ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s))
GROUP BY l.run, l.zone, e.key;

-- name: key_names
-- Names of runs and zones by key.
SELECT 'run' AS kind, id, run_id AS name FROM run
UNION ALL SELECT 'zone', id, name FROM zone;

-- name: most_rejected
-- Keys and names of the %(limit)s senders of which the edges rejected most.
SELECT f.run, f.zone, f.source, r.run_id, z.name AS zone_name, s.name AS source_id
FROM (
    SELECT l.run, l.zone, l.source
    FROM ledger l, jsonb_each_text(l.rejected) e
    WHERE l.rejected <> '{}'
    GROUP BY l.run, l.zone, l.source ORDER BY sum(e.value::bigint) DESC LIMIT %(limit)s
) AS f
JOIN run r ON r.id = f.run
JOIN zone z ON z.id = f.zone
JOIN source s ON s.id = f.source;

-- name: session_ledgers
-- The edges' accounts of one session of a sender. %(source)s, %(session)s; %(run_id)s may be NULL.
SELECT z.name AS zone, r.run_id, l.edge_id, l.sent, l.forwarded, l.dropped, l.expired, l.missing,
       l.gaps
FROM ledger l
JOIN zone z ON z.id = l.zone
JOIN run r ON r.id = l.run
WHERE l.run = ANY (ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s))
  AND l.zone = ANY (ARRAY(SELECT id FROM zone))
  AND l.source = (SELECT id FROM source WHERE name = %(source)s)
  AND l.session = %(session)s
ORDER BY r.run_id, z.name;

-- name: own_rows_around
-- When a sender said something of itself last before, and first after, its record %(seq)s of
-- %(session)s; NULL where it did not. %(source)s; %(run_id)s may be NULL. {table}.
SELECT max(t.sampled_at) FILTER (WHERE t.seq < %(seq)s),
       min(t.sampled_at) FILTER (WHERE t.seq > %(seq)s)
FROM {table} t
WHERE t.run = ANY (ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s))
  AND t.subject = (SELECT id FROM subject WHERE name = %(source)s)
  AND t.source = (SELECT id FROM source WHERE name = %(source)s)
  AND t.session = %(session)s;

-- name: account_page
-- Keys of senders that have an account or rows, in order: the first %(limit)s behind
-- (%(after_run)s, %(after_zone)s, %(after_source)s). %(zone)s, %(run_id)s, %(source)s may be NULL;
-- the arrays are keys that only the pipeline's memory knows yet.
WITH wanted AS (
    SELECT ARRAY(SELECT id FROM run WHERE %(run_id)s::text IS NULL OR run_id = %(run_id)s) AS runs,
           ARRAY(SELECT id FROM zone WHERE %(zone)s::text IS NULL OR name = %(zone)s) AS zones,
           (SELECT id FROM source WHERE name = %(source)s::text) AS source
), found AS (
    (SELECT DISTINCT l.run, l.zone, l.source FROM ledger l, wanted w
     WHERE l.run = ANY (w.runs) AND l.zone = ANY (w.zones)
       AND (%(source)s::text IS NULL OR l.source = w.source)
       AND (l.run, l.zone, l.source) > (%(after_run)s, %(after_zone)s, %(after_source)s)
     ORDER BY l.run, l.zone, l.source LIMIT %(limit)s)
    UNION
    (SELECT DISTINCT c.run, c.zone, c.source FROM counter c, wanted w
     WHERE c.run = ANY (w.runs) AND c.zone = ANY (w.zones)
       AND (%(source)s::text IS NULL OR c.source = w.source)
       AND (c.run, c.zone, c.source) > (%(after_run)s, %(after_zone)s, %(after_source)s)
     ORDER BY c.run, c.zone, c.source LIMIT %(limit)s)
    UNION
    SELECT n.run, n.zone, n.source
    FROM unnest(%(runs)s::integer[], %(zones)s::integer[], %(sources)s::integer[])
        AS n (run, zone, source), wanted w
    WHERE n.run = ANY (w.runs) AND n.zone = ANY (w.zones)
      AND (%(source)s::text IS NULL OR n.source = w.source)
)
SELECT f.run, f.zone, f.source, r.run_id, z.name AS zone_name, s.name AS source_id
FROM found f
JOIN run r ON r.id = f.run
JOIN zone z ON z.id = f.zone
JOIN source s ON s.id = f.source
ORDER BY f.run, f.zone, f.source LIMIT %(limit)s;

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
-- The %(limit)s senders of which the edges rejected most.
SELECT run, zone, source
FROM ledger, jsonb_each_text(rejected) e
WHERE rejected <> '{}'
GROUP BY run, zone, source ORDER BY sum(e.value::bigint) DESC LIMIT %(limit)s;

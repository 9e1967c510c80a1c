-- name: reporting_sums
-- Findings of data.national_reporting by component: all, and those that are open.
-- %(zone)s, %(run_id)s, %(subject)s may be NULL.
SELECT component, count(*)::bigint AS found,
       (count(*) FILTER (WHERE state = ANY (%(open_states)s)))::bigint AS open
FROM alert
WHERE rule = 'data.national_reporting'
  AND (%(zone)s::text IS NULL OR zone = %(zone)s)
  AND (%(run_id)s::text IS NULL OR run_id = %(run_id)s)
  AND (%(subject)s::text IS NULL OR subject_id = %(subject)s)
GROUP BY component;

-- name: reporting_of
-- The same for some vehicles. Arrays of one length: %(zones)s, %(run_ids)s, %(subjects)s.
SELECT k.zone, k.run_id, k.subject_id, a.component, count(*)::bigint AS found,
       (count(*) FILTER (WHERE a.state = ANY (%(open_states)s)))::bigint AS open
FROM unnest(%(zones)s::text[], %(run_ids)s::text[], %(subjects)s::text[])
    AS k (zone, run_id, subject_id)
JOIN alert a ON a.rule = 'data.national_reporting' AND a.subject_id = k.subject_id
    AND a.zone = k.zone AND a.run_id = k.run_id
GROUP BY k.zone, k.run_id, k.subject_id, a.component;

-- name: open_case
-- Opens an alert's case; no row where the alert is unknown or has one. %(id)s, %(who)s.
INSERT INTO alert_case (alert_id, opened_by)
SELECT id, %(who)s FROM alert WHERE id = %(id)s
ON CONFLICT (alert_id) DO NOTHING
RETURNING opened_at;

-- name: case_of
-- An alert's case. %(id)s.
SELECT opened_at, opened_by FROM alert_case WHERE alert_id = %(id)s;

-- name: lock_case
-- The same, until the transaction's end nobody else's. %(id)s.
SELECT opened_at, opened_by FROM alert_case WHERE alert_id = %(id)s FOR UPDATE;

-- name: case_steps
-- The steps that were taken, in order. %(id)s.
SELECT step, at, who, detail FROM alert_case_step WHERE alert_id = %(id)s ORDER BY at, step;

-- name: add_case_step
-- Takes a step. %(id)s, %(step)s, %(who)s, %(detail)s.
INSERT INTO alert_case_step (alert_id, step, who, detail)
VALUES (%(id)s, %(step)s, %(who)s, %(detail)s);

-- name: add_delivery
-- One attempt to tell somebody. %(route)s, %(channel)s, %(event)s, %(alert_ids)s, %(severity)s,
-- %(attempt)s, %(outcome)s, %(detail)s.
INSERT INTO notify_delivery (route, channel, event, alert_ids, severity, attempt, outcome, detail)
VALUES (%(route)s, %(channel)s, %(event)s, %(alert_ids)s, %(severity)s, %(attempt)s, %(outcome)s,
        %(detail)s);

-- name: deliveries
-- The newest attempts. %(before)s (an id) and %(alert)s may be NULL; %(limit)s.
SELECT id, at, route, channel, event, alert_ids, severity, attempt, outcome, detail
FROM notify_delivery
WHERE (%(before)s::bigint IS NULL OR id < %(before)s)
  AND (%(alert)s::text IS NULL OR %(alert)s = ANY (alert_ids))
ORDER BY id DESC
LIMIT %(limit)s;

-- name: silences
-- Silences that have not ended, newest first.
SELECT id, created_at, who, begins_at, ends_at, zone, rule, subject, reason
FROM notify_silence
WHERE ends_at > now() AND ended_by IS NULL
ORDER BY id DESC
LIMIT 1000;

-- name: add_silence
-- %(who)s, %(begins)s, %(ends)s, %(zone)s, %(rule)s, %(subject)s, %(reason)s.
INSERT INTO notify_silence (who, begins_at, ends_at, zone, rule, subject, reason)
VALUES (%(who)s, %(begins)s, %(ends)s, %(zone)s, %(rule)s, %(subject)s, %(reason)s)
RETURNING id;

-- name: end_silence
-- Ends one early; no row where it has ended. %(id)s, %(who)s.
UPDATE notify_silence SET ended_by = %(who)s
WHERE id = %(id)s AND ended_by IS NULL AND ends_at > now()
RETURNING id;

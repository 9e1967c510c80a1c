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

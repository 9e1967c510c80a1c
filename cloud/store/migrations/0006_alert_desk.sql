-- After-sales cases, silences of notifications, and what was notified.

CREATE TABLE alert_case (
    alert_id text PRIMARY KEY REFERENCES alert,
    opened_at timestamptz NOT NULL DEFAULT now(),
    opened_by text NOT NULL
);
COMMENT ON TABLE alert_case IS 'The after-sales case of a battery emergency, one an alert.';
CREATE TABLE alert_case_step (
    alert_id text NOT NULL REFERENCES alert_case,
    step text NOT NULL CHECK (step IN ('contact', 'confirm', 'rescue_plan', 'close')),
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    detail text NOT NULL,
    PRIMARY KEY (alert_id, step)
);
COMMENT ON TABLE alert_case_step IS 'Steps of a case, in their order; rows are never changed.';

CREATE TABLE notify_silence (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    created_at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL CHECK (ends_at > begins_at),
    zone text NOT NULL DEFAULT '*',
    rule text NOT NULL DEFAULT '*',
    subject text NOT NULL DEFAULT '*',
    reason text NOT NULL,
    ended_by text
);
COMMENT ON TABLE notify_silence IS 'Windows in which matching alerts notify nobody; globs.';
CREATE TABLE notify_delivery (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT now(),
    route text NOT NULL,
    channel text NOT NULL,
    event text NOT NULL,
    alert_ids text[] NOT NULL,
    severity smallint NOT NULL,
    attempt integer NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('sent', 'retry', 'failed', 'dropped')),
    detail text NOT NULL
);
COMMENT ON TABLE notify_delivery IS 'Every attempt to tell somebody of alerts; rows are never changed.';
CREATE INDEX notify_delivery_by_time ON notify_delivery (at DESC, id DESC);

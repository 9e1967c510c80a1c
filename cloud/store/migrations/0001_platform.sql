-- Identities, accounts, alerts, and what the pipeline needs to start again.

CREATE TABLE zone (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
CREATE TABLE run (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id text NOT NULL,
    origin text NOT NULL,
    UNIQUE (run_id, origin)
);
CREATE TABLE source (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE source IS 'Senders.';
CREATE TABLE subject (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE subject IS 'What records are about: vehicles, segments, signal groups, objects.';

CREATE TABLE zone_map (
    map_version text PRIMARY KEY,
    document text NOT NULL
);
CREATE TABLE zone_run (
    run integer NOT NULL REFERENCES run,
    zone integer NOT NULL REFERENCES zone,
    state text NOT NULL DEFAULT 'running',
    clock text NOT NULL DEFAULT 'wall',
    rate_ratio double precision NOT NULL DEFAULT 1,
    time_zone text NOT NULL DEFAULT 'UTC',
    title text,
    map_version text,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, zone)
);
COMMENT ON TABLE zone_run IS 'A run in a zone: its clock, map and span of zone time.';

CREATE TABLE ledger (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    session bigint NOT NULL,
    edge_id text NOT NULL,
    edge_epoch bigint NOT NULL,
    version bigint NOT NULL,
    is_sequenced boolean NOT NULL,
    sent bigint NOT NULL,
    received bigint NOT NULL,
    forwarded bigint NOT NULL,
    rejected jsonb NOT NULL,
    dropped bigint NOT NULL,
    expired bigint NOT NULL,
    thinned bigint NOT NULL,
    missing bigint NOT NULL,
    duplicates bigint NOT NULL,
    gaps jsonb NOT NULL,
    PRIMARY KEY (run, zone, source, session, edge_id, edge_epoch)
);
COMMENT ON TABLE ledger IS 'The edges'' accounts, newest version each; session -1 is "none".';
CREATE TABLE counter (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    session bigint NOT NULL,
    message text NOT NULL,
    stored bigint NOT NULL,
    repeated bigint NOT NULL,
    refused bigint NOT NULL,
    PRIMARY KEY (run, zone, source, session, message)
);
COMMENT ON TABLE counter IS 'What the cloud stored or refused, up to the checkpoint''s position.';

CREATE TABLE alert (
    id text PRIMARY KEY,
    run_id text NOT NULL,
    origin text NOT NULL,
    zone text NOT NULL,
    rule text NOT NULL,
    kind text NOT NULL,
    severity smallint NOT NULL,
    state text NOT NULL,
    subject_type text NOT NULL,
    subject_id text NOT NULL,
    component text NOT NULL,
    segment_id text NOT NULL,
    lat_deg double precision,
    lon_deg double precision,
    started_at timestamptz NOT NULL,
    detected_at timestamptz NOT NULL,
    cleared_at timestamptz,
    confidence double precision NOT NULL,
    title text NOT NULL,
    advice text NOT NULL,
    evidence jsonb NOT NULL,
    is_unknown boolean NOT NULL,
    folded_into text NOT NULL,
    sequence bigint NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX alert_by_start ON alert (started_at DESC, id DESC);
CREATE INDEX alert_open ON alert (started_at DESC, id DESC)
    WHERE state IN ('active', 'recovering');
CREATE INDEX alert_by_subject ON alert (subject_id, started_at DESC);
CREATE TABLE alert_event (
    alert_id text NOT NULL REFERENCES alert,
    sequence bigint NOT NULL,
    change text NOT NULL,
    severity smallint NOT NULL,
    state text NOT NULL,
    at timestamptz NOT NULL,
    evidence jsonb NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (alert_id, sequence)
);
COMMENT ON TABLE alert_event IS 'Every transition of every alert; rows are never changed.';
CREATE TABLE alert_action (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id text NOT NULL REFERENCES alert,
    at timestamptz NOT NULL DEFAULT now(),
    who text NOT NULL,
    action text NOT NULL CHECK (action IN ('ack', 'assign', 'snooze', 'note', 'clear')),
    detail jsonb NOT NULL
);
COMMENT ON TABLE alert_action IS 'Who did what to an alert; rows are never changed.';
CREATE INDEX alert_action_by_alert ON alert_action (alert_id, id);

CREATE TABLE ownership (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    epoch bigint NOT NULL
);
COMMENT ON TABLE ownership IS 'Counts the processes that have owned this database''s pipeline.';
INSERT INTO ownership (epoch) VALUES (0);
CREATE TABLE ingest_batch (
    batch_id text PRIMARY KEY,
    stored_rows integer NOT NULL DEFAULT 0,
    stored_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ingest_batch_by_time ON ingest_batch USING brin (stored_at);
CREATE TABLE ingest_log (
    position bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind text NOT NULL,
    payload bytea NOT NULL,
    outcome jsonb NOT NULL
);
COMMENT ON TABLE ingest_log IS 'What was folded since the checkpoint, in order.';
-- The payload is compressed already.
ALTER TABLE ingest_log ALTER COLUMN payload SET STORAGE EXTERNAL;
CREATE TABLE checkpoint (
    name text PRIMARY KEY,
    position bigint NOT NULL,
    state bytea NOT NULL,
    at timestamptz NOT NULL DEFAULT now()
);
ALTER TABLE checkpoint ALTER COLUMN state SET STORAGE EXTERNAL;

-- name: timescale_license
-- "timescale" where the columnstore is part of the build, else "apache".
SELECT current_setting('timescaledb.license');

-- name: columnstore_state
-- A hypertable's segment and order key, and the age its policy converts chunks at; NULL where
-- there is none. %(table)s.
SELECT s.segmentby, s.orderby, (
    SELECT (j.config ->> 'compress_after')::interval FROM timescaledb_information.jobs j
    WHERE j.hypertable_name = %(table)s AND j.proc_name = 'policy_compression'
)
FROM timescaledb_information.hypertable_columnstore_settings s
WHERE s.hypertable = %(table)s::regclass;

-- name: set_columnstore
-- The keys by which closed chunks are turned into columns. {table}, {segment}, {order}.
ALTER TABLE {table} SET (
    timescaledb.enable_columnstore, timescaledb.segmentby = {segment}, timescaledb.orderby = {order}
);

-- name: add_columnstore_policy
-- Turns chunks into columns once they are %(after)s old.
CALL add_columnstore_policy(%(table)s::regclass, after => %(after)s::interval);

-- name: remove_columnstore_policy
-- Chunks stay as they are from now on.
CALL remove_columnstore_policy(%(table)s::regclass, if_exists => true);

-- name: chunks
-- A hypertable's chunks: name and end, oldest first. %(table)s.
SELECT format('%%I.%%I', chunk_schema, chunk_name), range_start, range_end
FROM timescaledb_information.chunks
WHERE hypertable_schema = current_schema AND hypertable_name = %(table)s ORDER BY range_end;

-- name: aggregate_chunks
-- The same of a continuous aggregate. %(table)s.
SELECT format('%%I.%%I', c.chunk_schema, c.chunk_name), c.range_start, c.range_end
FROM timescaledb_information.chunks c
JOIN timescaledb_information.continuous_aggregates a
  ON a.materialization_hypertable_schema = c.hypertable_schema
 AND a.materialization_hypertable_name = c.hypertable_name
WHERE a.view_schema = current_schema AND a.view_name = %(table)s ORDER BY c.range_end;

-- name: drop_chunk
-- One chunk of a hypertable or a continuous aggregate by its bounds. %(table)s, %(start)s, %(end)s.
SELECT drop_chunks(%(table)s::regclass, older_than => %(end)s::timestamptz,
                   newer_than => %(start)s::timestamptz);

-- name: partitions
-- A table's native partitions. %(table)s.
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = %(table)s::regclass;

-- name: is_in_use
-- Whether rows of a part were stored lately: a replay of old days lives as long as a new one.
-- {table}, {time}; %(start)s, %(end)s, %(cutoff)s.
SELECT EXISTS (
    SELECT FROM {table}
    WHERE {time} >= %(start)s AND {time} < %(end)s AND stored_at >= %(cutoff)s
);

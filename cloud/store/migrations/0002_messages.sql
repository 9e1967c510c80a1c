-- Generated from the contracts by python -m cloud.store.schema.

CREATE TABLE vehicle_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    altitude_m real,
    speed_mps real NOT NULL,
    heading_deg real,
    accel_long_mps2 real,
    accel_lat_mps2 real,
    yaw_rate_dps real,
    brake_on smallint,
    left_blinker_on smallint,
    right_blinker_on smallint,
    hazard_lights_on smallint,
    vehicle_class smallint,
    length_m real,
    width_m real,
    position_accuracy_m real,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    segment integer,
    lane_index smallint NOT NULL,
    segment_offset_m real,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE vehicle_state IS 'Position and motion of one vehicle; position is the centre of its front bumper.';
CREATE UNIQUE INDEX vehicle_state_key ON vehicle_state (run, subject, sampled_at, source);

CREATE TABLE battery_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    pack_voltage_v real,
    pack_current_a real,
    soc_ratio real,
    soh_ratio real,
    cell_voltages_mv smallint[],
    probe_temperatures_ddegc smallint[],
    insulation_ohm real,
    charging_state smallint,
    odometer_m double precision,
    vehicle_speed_mps real,
    bms_alarm_level smallint,
    bms_alarm_bits bigint,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE battery_state IS 'One frame of a battery-management system. Current is positive when discharging.';
CREATE UNIQUE INDEX battery_state_key ON battery_state (run, subject, sampled_at, source);

CREATE TABLE vehicle_profile (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    model text,
    chemistry smallint,
    rated_capacity_ah real,
    cells_in_series smallint,
    probe_count smallint,
    mass_kg real,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE vehicle_profile IS 'What does not change from second to second: model, pack layout, mass.';
CREATE UNIQUE INDEX vehicle_profile_key ON vehicle_profile (run, subject, sampled_at, source);

CREATE TABLE rsu_objects (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    object_class smallint,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    speed_mps real,
    heading_deg real,
    length_m real,
    width_m real,
    confidence_ratio real,
    sensor smallint,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE rsu_objects IS 'One road user that a roadside unit perceives; `subject_id` is the unit''s track id.';
CREATE UNIQUE INDEX rsu_objects_key ON rsu_objects (run, subject, sampled_at, source);

CREATE TABLE loop_counts (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    segment integer,
    lane_index smallint NOT NULL,
    period_s real NOT NULL,
    count integer NOT NULL,
    speed_mps real,
    occupancy_ratio real,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE loop_counts IS 'What an induction loop counted over one period; `subject_id` is the detector.';
CREATE UNIQUE INDEX loop_counts_key ON loop_counts (run, subject, sampled_at, source);

CREATE TABLE signal_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    intersection_id text NOT NULL,
    signal_group integer NOT NULL,
    phase smallint NOT NULL,
    min_end timestamptz,
    max_end timestamptz,
    likely_end timestamptz,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE signal_state IS 'Phase of one signal group (SPaT); `subject_id` is "{intersection_id}:{signal_group}".';
CREATE UNIQUE INDEX signal_state_key ON signal_state (run, subject, sampled_at, source);

CREATE TABLE intersection_map (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    geometry_geojson text NOT NULL,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE intersection_map IS 'Geometry of one intersection (MAP); `subject_id` is the intersection.';
CREATE UNIQUE INDEX intersection_map_key ON intersection_map (run, subject, sampled_at, source);

CREATE TABLE road_event (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    kind smallint NOT NULL,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    radius_m real,
    segment integer,
    valid_from timestamptz,
    valid_to timestamptz,
    cause text,
    advised_speed_mps real,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE road_event IS 'An event on the road (RSI, DENM, TIM); `subject_id` is the event.';
CREATE UNIQUE INDEX road_event_key ON road_event (run, subject, sampled_at, source);

CREATE TABLE rsu_status (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    range_m real,
    health smallint NOT NULL,
    clock_offset_ms real,
    vehicles_in_range integer,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE rsu_status IS 'Heartbeat of a roadside unit: where it stands, how it is, how its clock runs.';
CREATE UNIQUE INDEX rsu_status_key ON rsu_status (run, subject, sampled_at, source);

CREATE TABLE charger_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    station_id text NOT NULL,
    lat_deg double precision NOT NULL,
    lon_deg double precision NOT NULL,
    state smallint NOT NULL,
    power_w real,
    energy_j double precision,
    fault_text text,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE charger_state IS 'One connector of a charging or swap station; `subject_id` is "{station}:{connector}".';
CREATE UNIQUE INDEX charger_state_key ON charger_state (run, subject, sampled_at, source);

CREATE TABLE segment_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    window_start timestamptz NOT NULL,
    window_s real NOT NULL,
    revision integer NOT NULL,
    map_version text NOT NULL,
    density_vpkm real,
    flow_vph real,
    speed_mps real,
    vehicle_s real NOT NULL,
    distance_m real NOT NULL,
    vehicle_count bigint NOT NULL,
    coverage_ratio real NOT NULL,
    speed_standard_error_mps real,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (window_start);
COMMENT ON TABLE segment_state IS 'One window of one segment after Edie; `subject_id` is the segment, `sampled_at` its end.';
CREATE UNIQUE INDEX segment_state_key ON segment_state (run, zone, subject, window_start, window_s);

CREATE TABLE dead_letter (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer,
    subject integer,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz,
    published_at timestamptz,
    topic text,
    reason text,
    detail text,
    payload_base64 text,
    payload_bytes bigint,
    records bigint,
    edge_received_at timestamptz,
    lateness smallint,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (edge_received_at);
COMMENT ON TABLE dead_letter IS 'Something the platform would not take, kept with its reason; `subject_id` as far as known.';
CREATE INDEX dead_letter_by_time ON dead_letter (run, edge_received_at);

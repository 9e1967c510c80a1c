-- What GB/T 32960 frames carry further: stated extremes, levels and codes of alarms, units of a drive;
-- and a way to count what a regulator would ask for.

ALTER TABLE battery_state ADD COLUMN highest_cell_v real;
ALTER TABLE battery_state ADD COLUMN lowest_cell_v real;
ALTER TABLE battery_state ADD COLUMN highest_probe_degc real;
ALTER TABLE battery_state ADD COLUMN lowest_probe_degc real;
ALTER TABLE battery_state ADD COLUMN bms_alarm_levels text;
ALTER TABLE battery_state ADD COLUMN bms_fault_codes text;

-- A view's new columns cannot be put between its old ones.
DROP VIEW v_battery_state;
CREATE VIEW v_battery_state AS SELECT
    z.name AS zone,
    r.run_id,
    r.origin,
    k_source.name AS source_id,
    k_subject.name AS subject_id,
    t.session,
    t.seq,
    (ARRAY['permanent', 'pseudonym'])[t.id_kind + 1] AS id_kind,
    t.sampled_at,
    t.published_at,
    t.pack_voltage_v,
    t.pack_current_a,
    t.soc_ratio,
    t.soh_ratio,
    t.cell_voltages_mv,
    t.probe_temperatures_ddegc,
    t.insulation_ohm,
    (ARRAY['not_charging', 'parked_charging', 'driving_charging', 'charge_complete'])[t.charging_state + 1] AS charging_state,
    t.odometer_m,
    t.vehicle_speed_mps,
    t.bms_alarm_level,
    t.bms_alarm_bits,
    t.quality_bits,
    t.highest_cell_v,
    t.lowest_cell_v,
    t.highest_probe_degc,
    t.lowest_probe_degc,
    t.bms_alarm_levels,
    t.bms_fault_codes,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM battery_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE TABLE drive_state (
    run integer NOT NULL,
    zone integer NOT NULL,
    source integer NOT NULL,
    subject integer NOT NULL,
    session bigint,
    seq bigint,
    id_kind smallint,
    sampled_at timestamptz NOT NULL,
    published_at timestamptz,
    unit_kind smallint NOT NULL,
    unit_state smallint,
    speed_rpm real,
    torque_nm real,
    temperature_degc real,
    controller_degc real,
    voltage_v real,
    current_a real,
    probe_temperatures_ddegc smallint[],
    cell_voltages_mv smallint[],
    fuel_l_per_100km real,
    hydrogen_kg_per_100km real,
    hydrogen_highest_degc real,
    hydrogen_mg_per_kg real,
    hydrogen_ratio real,
    hydrogen_pressure_pa real,
    hydrogen_left_ratio real,
    hydrogen_inlet_pa real,
    air_inlet_pa real,
    dcdc_on smallint,
    vehicle_status smallint,
    running_mode smallint,
    gear smallint,
    accelerator_ratio real,
    brake_ratio real,
    brake_on smallint,
    marked_values text,
    edge_received_at timestamptz NOT NULL,
    lateness smallint NOT NULL,
    stored_at timestamptz NOT NULL DEFAULT now()
) PARTITION BY RANGE (sampled_at);
COMMENT ON TABLE drive_state IS 'One unit of a drive at one moment: a motor, an engine, a fuel cell; or the vehicle''s own.';
CREATE UNIQUE INDEX drive_state_key ON drive_state (run, subject, sampled_at, source);

CREATE VIEW v_drive_state AS SELECT
    z.name AS zone,
    r.run_id,
    r.origin,
    k_source.name AS source_id,
    k_subject.name AS subject_id,
    t.session,
    t.seq,
    (ARRAY['permanent', 'pseudonym'])[t.id_kind + 1] AS id_kind,
    t.sampled_at,
    t.published_at,
    (ARRAY['vehicle', 'motor', 'engine', 'fuel_cell', 'stack', 'supercapacitor'])[t.unit_kind + 1] AS unit_kind,
    (ARRAY['consuming', 'generating', 'off', 'ready', 'on'])[t.unit_state + 1] AS unit_state,
    t.speed_rpm,
    t.torque_nm,
    t.temperature_degc,
    t.controller_degc,
    t.voltage_v,
    t.current_a,
    t.probe_temperatures_ddegc,
    t.cell_voltages_mv,
    t.fuel_l_per_100km,
    t.hydrogen_kg_per_100km,
    t.hydrogen_highest_degc,
    t.hydrogen_mg_per_kg,
    t.hydrogen_ratio,
    t.hydrogen_pressure_pa,
    t.hydrogen_left_ratio,
    t.hydrogen_inlet_pa,
    t.air_inlet_pa,
    t.dcdc_on = 1 AS dcdc_on,
    (ARRAY['started', 'off', 'other'])[t.vehicle_status + 1] AS vehicle_status,
    (ARRAY['electric', 'hybrid', 'fuel'])[t.running_mode + 1] AS running_mode,
    (ARRAY['N', '1', '2', '3', '4', '5', '6', 'R', 'D', 'P'])[t.gear + 1] AS gear,
    t.accelerator_ratio,
    t.brake_ratio,
    t.brake_on = 1 AS brake_on,
    t.marked_values,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM drive_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE INDEX alert_of_reporting ON alert (subject_id, component, run_id, zone)
    WHERE rule = 'data.national_reporting';

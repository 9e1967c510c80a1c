-- What GB/T 32960 frames carry beside the first contracts: quality of values, period, pack codes.

ALTER TABLE battery_state ADD COLUMN quality_bits bigint;
ALTER TABLE vehicle_profile ADD COLUMN report_period_s real;
ALTER TABLE vehicle_profile ADD COLUMN pack_codes text;

-- A view's new columns cannot be put between its old ones.
DROP VIEW v_battery_state;
DROP VIEW v_vehicle_profile;
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
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM battery_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_vehicle_profile AS SELECT
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
    t.model,
    (ARRAY['nmc', 'lfp', 'nca', 'lmo', 'lto', 'other'])[t.chemistry + 1] AS chemistry,
    t.rated_capacity_ah,
    t.cells_in_series,
    t.probe_count,
    t.mass_kg,
    t.report_period_s,
    t.pack_codes,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM vehicle_profile t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

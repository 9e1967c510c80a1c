-- Generated from the contracts by python -m cloud.store.schema.

CREATE VIEW v_vehicle_state AS SELECT
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
    t.lat_deg,
    t.lon_deg,
    t.altitude_m,
    t.speed_mps,
    t.heading_deg,
    t.accel_long_mps2,
    t.accel_lat_mps2,
    t.yaw_rate_dps,
    t.brake_on = 1 AS brake_on,
    t.left_blinker_on = 1 AS left_blinker_on,
    t.right_blinker_on = 1 AS right_blinker_on,
    t.hazard_lights_on = 1 AS hazard_lights_on,
    (ARRAY['car', 'truck', 'bus', 'motorcycle', 'bicycle', 'pedestrian', 'tram', 'emergency', 'other'])[t.vehicle_class + 1] AS vehicle_class,
    t.length_m,
    t.width_m,
    t.position_accuracy_m,
    t.edge_received_at,
    t.lateness,
    k_segment.name AS segment_id,
    t.lane_index,
    t.segment_offset_m,
    t.stored_at
FROM vehicle_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject
LEFT JOIN subject k_segment ON k_segment.id = t.segment;

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
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM vehicle_profile t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_rsu_objects AS SELECT
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
    (ARRAY['car', 'truck', 'bus', 'motorcycle', 'bicycle', 'pedestrian', 'tram', 'emergency', 'other'])[t.object_class + 1] AS object_class,
    t.lat_deg,
    t.lon_deg,
    t.speed_mps,
    t.heading_deg,
    t.length_m,
    t.width_m,
    t.confidence_ratio,
    (ARRAY['camera', 'radar', 'lidar', 'fused', 'other'])[t.sensor + 1] AS sensor,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM rsu_objects t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_loop_counts AS SELECT
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
    k_segment.name AS segment_id,
    t.lane_index,
    t.period_s,
    t.count,
    t.speed_mps,
    t.occupancy_ratio,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM loop_counts t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject
LEFT JOIN subject k_segment ON k_segment.id = t.segment;

CREATE VIEW v_signal_state AS SELECT
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
    t.intersection_id,
    t.signal_group,
    (ARRAY['red', 'red_amber', 'green', 'green_permissive', 'amber', 'flashing', 'off'])[t.phase + 1] AS phase,
    t.min_end,
    t.max_end,
    t.likely_end,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM signal_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_intersection_map AS SELECT
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
    t.lat_deg,
    t.lon_deg,
    t.geometry_geojson,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM intersection_map t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_road_event AS SELECT
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
    (ARRAY['roadworks', 'accident', 'breakdown', 'congestion', 'weather', 'obstacle', 'wrong_way', 'emergency_vehicle', 'lane_closed', 'speed_limit', 'other'])[t.kind + 1] AS kind,
    t.lat_deg,
    t.lon_deg,
    t.radius_m,
    k_segment.name AS segment_id,
    t.valid_from,
    t.valid_to,
    t.cause,
    t.advised_speed_mps,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM road_event t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject
LEFT JOIN subject k_segment ON k_segment.id = t.segment;

CREATE VIEW v_rsu_status AS SELECT
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
    t.lat_deg,
    t.lon_deg,
    t.range_m,
    (ARRAY['ok', 'degraded', 'failed'])[t.health + 1] AS health,
    t.clock_offset_ms,
    t.vehicles_in_range,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM rsu_status t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_charger_state AS SELECT
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
    t.station_id,
    t.lat_deg,
    t.lon_deg,
    (ARRAY['available', 'occupied', 'charging', 'reserved', 'faulted', 'offline'])[t.state + 1] AS state,
    t.power_w,
    t.energy_j,
    t.fault_text,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM charger_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_segment_state AS SELECT
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
    t.window_start,
    t.window_s,
    t.revision,
    t.map_version,
    t.density_vpkm,
    t.flow_vph,
    t.speed_mps,
    t.vehicle_s,
    t.distance_m,
    t.vehicle_count,
    t.coverage_ratio,
    t.speed_standard_error_mps,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM segment_state t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

CREATE VIEW v_dead_letter AS SELECT
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
    t.topic,
    t.reason,
    t.detail,
    t.payload_base64,
    t.payload_bytes,
    t.records,
    t.edge_received_at,
    t.lateness,
    t.stored_at
FROM dead_letter t
JOIN run r ON r.id = t.run
JOIN zone z ON z.id = t.zone
LEFT JOIN source k_source ON k_source.id = t.source
LEFT JOIN subject k_subject ON k_subject.id = t.subject;

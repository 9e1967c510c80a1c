// What an alert's evidence says, in Chinese: a sentence by rule, filled from the evidence's own values.
// `{name*1000:0}` is a value times 1000 without decimals, `{part}` the number in the alert's component.
// The first sentence counts whose values are all there; where none fits the rule's English stands.

interface Texts {
  /** While it holds. */
  is: readonly string[];
  /** Once its condition has ended, where the rule says so in its evidence. */
  was?: string;
}
const ENDED = "该情况已结束。";

export const EVIDENCE_ZH: Record<string, Texts> = {
  "traffic.stopped_vehicle": { is: ["已静止 {standing_s:0} 秒，前方车道空闲 {free_ahead_m:0} 米；有 {passers} 辆车驶过。"] },
  "traffic.slow_vehicle": { is: ["以 {speed_mps*3.6:0} km/h 行驶，而所在车道畅通；被 {passers} 辆车超越。"] },
  "traffic.sudden_slowdown": { is: ["{span_s:0} 秒内有 {vehicles} 辆车在此降至 {limit_speed_mps*3.6:0} km/h 以下，前方并无慢车。"] },
  "traffic.wrong_way": { is: ["以 {speed_mps*3.6:0} km/h 逆向行驶。"] },
  "traffic.speeding": { is: ["以 {speed_mps*3.6:0} km/h 行驶，限速 {limit_mps*3.6:0} km/h。"] },
  "traffic.hard_braking": { is: ["以 {accel_long_mps2*-1:1} m/s² 制动（限值 {limit_mps2*-1:1} m/s²）。"] },
  "traffic.conflict": { is: ["{ttc_s:1} 秒后将与 {other_id} 相遇。"] },
  "traffic.lane_closed": { is: ["该车道已 {empty_s:0} 秒无车，期间 {vehicles_on_other_lanes} 辆车走其他车道；此前有 {used_before_ratio*100:0} % 走该车道，且起点无车停留。"] },
  "traffic.lane_blocked": { is: ["有车停在该车道，其前方已 {empty_s:0} 秒无车，期间 {vehicles_on_other_lanes} 辆车走其他车道。"] },
  "traffic.red_light": { is: ["红灯亮起 {red_s:1} 秒后以 {speed_mps*3.6:0} km/h 越过停止线。"] },
  "traffic.phantom_stop": { is: ["{braked_s:0} 秒内从 {speed_before_mps*3.6:0} km/h 制动到 {speed_mps*3.6:0} km/h，前方 {limit_free_ahead_m:0} 米内无慢车。"] },
  "traffic.congestion": { is: ["车流速度 {speed_mps*3.6:0} km/h，限速 {speed_limit_mps*3.6:0} km/h。"] },
  "security.misbehaviour": { is: ["{reason}。"] },
  "battery.bms_alarm": { is: ["电池管理系统报警等级 {bms_level}。"], was: ENDED },
  "battery.cell_capacity": {
    is: ["{part} 号单体在电量 30 % 至 55 % 时低于电池包 {deviation_low_charge_v*-1000:0} mV，80 % 以上时低 {deviation_high_charge_v*-1000:0} mV：容量小于其他单体。"],
    was: "{part} 号单体在低电量时已恢复到与电池包一致。",
  },
  "battery.cell_draining": { is: ["{part} 号单体在静置中相对电池包持续下降 {fall_v*1000:1} mV，每小时 {fall_v_per_h*1000:0} mV，其他单体没有变化：内短路正在放电。"], was: "{part} 号单体静置一小时电压未再下降。" },
  "battery.connection": { is: ["{part} 号单体的连接内阻比其他单体高 {excess_ohm*1000000:0} μΩ。"], was: "{part} 号单体的连接内阻已与其他单体一致。" },
  "battery.cooling": { is: ["一次快充使电池包升温 {rise_k:0} K；完全无冷却时为 {rise_without_cooling_k:0} K。"], was: "快充时电池包的散热已恢复。" },
  "battery.current_sensor": { is: ["电流传感器零偏 {offset_a:1} A，增益变化 {gain_change_ratio*100:1} %。"], was: "电流传感器与显示电量重新一致。" },
  "battery.insulation": {
    is: ["绝缘电阻 {insulation_ohm*0.001:0} kΩ，总电压 {pack_voltage_v:0} V，合 {insulation_ohm_per_v:0} Ω/V；限值 {limit_ohm_per_v:0} Ω/V。"],
    was: "绝缘电阻已恢复到 {insulation_ohm*0.001:0} kΩ，合 {insulation_ohm_per_v:0} Ω/V。",
  },
  "battery.internal_short": { is: ["{part} 号单体电压突降，低于电池包 {deviation_v*-1000:0} mV。"], was: "{part} 号单体已与电池包一致满一小时。" },
  "battery.micro_short": { is: ["{part} 号单体一天内跌落 {n_dips} 次、一周内 {n_dips_week} 次，最深 {deepest_v*1000:0} mV，其间电流未变。"], was: "{part} 号单体一周未再跌落。" },
  "battery.module_offset": { is: ["{part} 号单体静置时与其他单体相差 {offset_v*1000:0} mV。"], was: "{part} 号单体已与其他单体一致。" },
  "battery.over_charge": { is: ["{part} 号单体电压 {cell_v} V，超过充电终止电压 {end_of_charge_v:2} V，仍有 {pack_current_a*-1:0} A 充入。"], was: ENDED },
  "battery.over_discharge": { is: ["{part} 号单体静置电压 {cell_v} V；放空时为 {limit_v:2} V。"], was: ENDED },
  "battery.over_temperature": {
    is: ["{hottest_probe} 号探针 {hottest_degc:0} °C，升温 {rise_kps*60:0} K/分钟；限值 {limit_degc:0} °C，有 {probes_over_limit} 个探针超温。"],
    was: "电池包已冷却：最热探针 {hottest_degc:0} °C。",
  },
  "battery.over_voltage": { is: ["{part} 号单体电压 {cell_v} V；限值 {limit_v:2} V。"], was: ENDED },
  "battery.plating": { is: ["{part} 号探针 {coldest_degc} °C 时以 {charge_rate:2} C 充电；安全上限 {limit_rate:2} C。"], was: ENDED },
  "battery.sampling": {
    is: ["{low_cell} 号与 {high_cell} 号单体相邻且互为镜像：{low_deviation_v*1000:0} mV 与 {high_deviation_v*1000:0} mV。", "{part} 号单体在 {frames} 帧内读数一直为 {cell_v} V，而电池包中位单体变化了 {pack_moved_v*1000:0} mV：数值不再更新。", "{part} 号单体读数 {cell_v} V，而其他单体测量正常。", "一个单体没有测量值。"],
    was: ENDED,
  },
  "battery.self_discharge": { is: ["{part} 号单体静置时偏离电池包 {deviation_v*1000:0} mV，为其他单体离散度的 {z_score*-1:0} 倍。"], was: "{part} 号单体已恢复到与电池包一致。" },
  "battery.soc_jump": { is: ["显示电量由 {soc_before_ratio*100:1} % 突变为 {soc_ratio*100:1} % 并保持；电流无法解释。"], was: "显示电量一天内未再跳变。" },
  "battery.temperature_spread": { is: ["{part} 号探针比最冷探针高 {spread_k} K；限值 {limit_k:0} K。"], was: ENDED },
  "battery.thermal_event": {
    is: ["出现热事件征兆（{votes}）：最热探针 {hottest_degc} °C，{lowest_cell} 号单体最低 {lowest_cell_v} V，中位 {median_cell_v} V。", "出现热事件征兆（{votes}）。"],
    was: ENDED,
  },
  "battery.under_voltage": { is: ["{part} 号单体在 {pack_current_a} A 下为 {cell_v} V；限值 {limit_v:2} V。"], was: ENDED },
  "data.frozen_signal": { is: ["{component} 在 {span_s:0} 秒内未变化，其间 {frames} 帧本应使其变化。"], was: "{component} 在 {span_s:0} 秒后重新变化。" },
  "data.impossible_value": { is: ["{component} 的值不可能（{reason}）。"], was: "{component} 已恢复合理。" },
  "data.signal_timing": {
    is: ["{passed_count} 辆车中有 {on_red_count} 辆在所有信号组均显示红灯时通过。", "信号组 {group_id} 的预告结束时间相差 {error_s:0} 秒或相位顺序有误，共 {bad_count} 次。"],
  },
  "data.national_reporting": {
    is: ["行驶中上报间断 {gaps} 次，最长 {longest_gap_s:0} 秒；约定周期 {agreed_s:0} 秒。", "共缺 {missing_s:0} 秒的数据未补发。", "报警前后共缺 {missing_seconds} 秒数据。"],
  },
  "data.saturated_insulation": { is: ["绝缘电阻上报为 {insulation_ohm} Ω，即仪表量程上限，并非测量值。"], was: "绝缘电阻已一周未再上报为仪表量程上限。" },
  "data.repeated_frame": { is: ["报文以新的时间重复 {age_s*0.000277778:1} 小时前的内容。", "车辆对同一时刻上报了两帧；以第一帧为准。"], was: "报文不再重复。" },
  "data.reported_quality": { is: ["发送方对 {component} 的说明：{statements}。"], was: "{component} 已无异常说明。" },
  "platform.alert_storm": { is: ["另有 {folded_count} 条 {rule} 告警。"] },
  "platform.detector_failed": { is: ["{component}：{error}"] },
};

export const REASONS_ZH: Record<string, string> = {
  position_along: "其位置与速度不符", position_across: "其位置与航向不符", off_lane: "其声称在道路之外行驶",
  current_sentinel: "电流为无效标志", voltage_not_sum_of_cells: "总电压不等于单体电压之和", soc_step: "电量突变",
  odometer_zero: "里程归零", odometer_step: "里程突变", probe_sentinel: "探针为无效标志", probe_out_of_range: "探针超出范围", zero_row: "全部为零", insulation_saturated: "绝缘电阻为量程上限", nonsense_frame: "整帧无意义",
  module_dropout: "模组掉线", cell_out_of_range: "单体超出范围",
  cell: "单体电压", heat: "温度", "second probe": "第二探针", "pack voltage": "总电压", insulation: "绝缘", BMS: "电池管理系统报警",
};

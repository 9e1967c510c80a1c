export interface Battery {
  vehicle_id: string;
  run_id: string;
  battery_at: string;
  model: string | null;
  chemistry: string | null;
  soc_ratio: number | null;
  soh_ratio: number | null;
  pack_voltage_v: number | null;
  pack_current_a: number | null;
  cell_voltage_min_v: number | null;
  cell_voltage_max_v: number | null;
  probe_temperature_max_degc: number | null;
  insulation_ohm: number | null;
  severity: "info" | "warning" | "serious" | "critical" | null;
}
export interface BatteryFrame {
  sampled_at: string;
  pack_voltage_v?: number;
  pack_current_a?: number;
  soc_ratio?: number;
  soh_ratio?: number;
  cell_voltages_v?: (number | null)[];
  probe_temperatures_degc?: (number | null)[];
  insulation_ohm?: number;
  charging_state?: string;
}

/** What the stored frames of one pack say (/v1/vehicles/{id}/battery/health). */
export interface HealthAnswer {
  frames: number;
  is_whole: boolean;
  from_at: string | null;
  health: {
    soh_ratio: number | null;
    soh_low_ratio: number | null;
    soh_high_ratio: number | null;
    soh_method: string;
    capacity_ah: number | null;
    n_charge_windows: number;
    resistance_ohm: number | null;
    resistance_ratio: number | null;
    weakest_cell: number | null;
    usage: { full_cycles?: number | null; charges?: number | null; energy_out_kwh?: number | null };
    remaining: { low_m: number | null; high_m: number | null };
  } | null;
}

/** What the fleet is coloured and sorted by; `worse` says which way trouble lies. */
export interface Measure {
  id: string;
  name: string;
  unit: string;
  digits: number;
  of: (battery: Battery) => number | null;
  worse: "high" | "low";
  /** Values that are shown as quite well and quite bad. */
  good: number;
  bad: number;
}

const spread = (b: Battery): number | null =>
  b.cell_voltage_max_v === null || b.cell_voltage_min_v === null ? null : (b.cell_voltage_max_v - b.cell_voltage_min_v) * 1000;

export const MEASURES: readonly Measure[] = [
  { id: "soh", name: "State of health", unit: "%", digits: 1, of: (b) => (b.soh_ratio === null ? null : b.soh_ratio * 100), worse: "low", good: 100, bad: 75 },
  { id: "spread", name: "Cell spread", unit: "mV", digits: 0, of: spread, worse: "high", good: 10, bad: 80 },
  { id: "heat", name: "Hottest probe", unit: "°C", digits: 1, of: (b) => b.probe_temperature_max_degc, worse: "high", good: 25, bad: 60 },
  { id: "soc", name: "Charge", unit: "%", digits: 0, of: (b) => (b.soc_ratio === null ? null : b.soc_ratio * 100), worse: "low", good: 80, bad: 10 },
  { id: "insulation", name: "Insulation", unit: "kΩ", digits: 0, of: (b) => (b.insulation_ohm === null ? null : b.insulation_ohm / 1000), worse: "low", good: 1500, bad: 50 },
];

/** How bad a value is, 0 to 1. */
export function badness(measure: Measure, value: number): number {
  return Math.max(0, Math.min(1, (value - measure.good) / (measure.bad - measure.good)));
}

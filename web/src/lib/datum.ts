// Positions in the datum of a Chinese background map. Everything of ours is WGS-84; the formulas are
// those of openvrc/contracts/geo.py, where their sources stand (a test compares the two).

export type Datum = "wgs84" | "gcj02" | "bd09";
type LonLat = [lon: number, lat: number];

const SEMI_MAJOR_M = 6_378_245; // Krasovsky 1940
const ECCENTRICITY_SQUARED = 0.006_693_421_622_965_943;
const CHINA = { west: 72.004, east: 137.8347, south: 0.8293, north: 55.8271 };
const RAD = Math.PI / 180;

/** A WGS-84 position in another datum. */
export function fromWgs84([lon, lat]: LonLat, datum: Datum): LonLat {
  if (datum === "wgs84") return [lon, lat];
  const shifted = gcj02(lon, lat);
  return datum === "gcj02" ? shifted : bd09(...shifted);
}

function gcj02(lon: number, lat: number): LonLat {
  const isInside = lat >= CHINA.south && lat <= CHINA.north && lon >= CHINA.west && lon <= CHINA.east;
  if (!isInside) return [lon, lat];
  const [x, y] = [lon - 105, lat - 35];
  const root = Math.sqrt(Math.abs(x));
  const ripple = 20 * Math.sin(6 * x * Math.PI) + 20 * Math.sin(2 * x * Math.PI);
  const northM = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * root
    + ((ripple + waves(y, [20, 1], [40, 3])) * 2) / 3 + (waves(y, [160, 12], [320, 30]) * 2) / 3;
  const eastM = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * root
    + ((ripple + waves(x, [20, 1], [40, 3])) * 2) / 3 + (waves(x, [150, 12], [300, 30]) * 2) / 3;
  const bend = 1 - ECCENTRICITY_SQUARED * Math.sin(lat * RAD) ** 2;
  const meridianM = (SEMI_MAJOR_M * (1 - ECCENTRICITY_SQUARED)) / bend ** 1.5;
  const parallelM = (SEMI_MAJOR_M / Math.sqrt(bend)) * Math.cos(lat * RAD);
  return [lon + eastM / parallelM / RAD, lat + northM / meridianM / RAD];
}

function bd09(lon: number, lat: number): LonLat {
  const wobble = 3000 * RAD;
  const radius = Math.hypot(lon, lat) + 2e-5 * Math.sin(lat * wobble);
  const angle = Math.atan2(lat, lon) + 3e-6 * Math.cos(lon * wobble);
  return [radius * Math.cos(angle) + 0.0065, radius * Math.sin(angle) + 0.006];
}

const waves = (at: number, ...terms: [size: number, period: number][]): number =>
  terms.reduce((sum, [size, period]) => sum + size * Math.sin((at / period) * Math.PI), 0);

// A .gz beside each file of the build that gets smaller by it; the cloud sends that to who takes it.
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gzipSync } from "node:zlib";

const SMALLEST_BYTES = 1400; // what fits one packet stays as it is

const folder = process.argv[2];
for (const name of readdirSync(folder, { recursive: true })) {
  if (!/\.(js|css|html|svg|txt)$/.test(name)) continue;
  const data = readFileSync(join(folder, name));
  if (data.length > SMALLEST_BYTES) writeFileSync(join(folder, `${name}.gz`), gzipSync(data, { level: 9 }));
}

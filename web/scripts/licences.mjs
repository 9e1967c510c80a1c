// Collects the licences of everything the page carries into one file that the cloud serves; a
// licence that is not on the list stops the build.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const ALLOWED = new Set(["Apache-2.0", "MIT", "ISC", "BSD-2-Clause", "BSD-3-Clause", "0BSD", "MPL-2.0", "(MIT OR Apache-2.0)"]);
const BUILD_ONLY = /^(vite|rolldown|postcss|lightningcss|tinyglobby|fdir|picomatch|nanoid|picocolors|source-map-js|detect-libc|typescript|@rolldown\/|@oxc-project\/|lightningcss-|@emnapi\/|@napi-rs\/|@tybys\/|@types\/|tslib|fsevents)/;

const lock = JSON.parse(readFileSync("package-lock.json", "utf8"));
const notices = [];
const refused = [];
for (const [path, facts] of Object.entries(lock.packages).sort()) {
  if (!path.startsWith("node_modules/") || !existsSync(path)) continue;
  const name = path.slice(path.lastIndexOf("node_modules/") + 13);
  const said = JSON.parse(readFileSync(join(path, "package.json"), "utf8"));
  const licence = said.license ?? facts.license ?? "none";
  if (!ALLOWED.has(licence)) refused.push(`${name} ${said.version}: ${licence}`);
  if (BUILD_ONLY.test(name)) continue;
  const file = readdirSync(path).find((entry) => /^(licen[cs]e|copying)(\.|$)/i.test(entry));
  const text = file ? readFileSync(join(path, file), "utf8").trim() : `(${licence}; its package holds no licence file)`;
  notices.push(`${name} ${said.version} (${licence})\n\n${text}`);
}
if (refused.length) {
  console.error(`licences that are not on the list of web/scripts/licences.mjs:\n${refused.join("\n")}`);
  process.exit(1);
}
writeFileSync(process.argv[2] ?? "/dev/stdout", `${notices.join(`\n\n${"-".repeat(80)}\n\n`)}\n`);

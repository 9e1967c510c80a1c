// The API's description, read from /openapi.json and written out; no external request.

import { get } from "./api.js";
import { byId, el } from "./dom.js";

const code = (text) => el("code", {}, text);

function typeText(schema = {}) {
  if (schema.anyOf) return schema.anyOf.filter((s) => s.type !== "null").map(typeText).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  const limits = [["minimum", "≥"], ["maximum", "≤"]]
    .filter(([name]) => schema[name] !== undefined)
    .map(([name, sign]) => `${sign} ${schema[name]}`);
  return [schema.format ?? schema.type ?? "any", ...limits].join(" ");
}

function parameters(list = []) {
  if (!list.length) return null;
  const rows = list.map(({ name, in: place, required, description, schema }) =>
    el("tr", {}, el("td", {}, code(name)), el("td", {}, required ? `${place}, required` : place),
      el("td", {}, typeText(schema)), el("td", {}, description ?? "")));
  const head = ["Name", "In", "Value", "Meaning"].map((text) => el("th", {}, text));
  return el("table", {}, el("tr", {}, ...head), ...rows);
}

function operation(method, path, facts) {
  return el("details", {},
    el("summary", {}, el("b", { class: method }, method.toUpperCase()), code(path),
      el("span", {}, facts.summary ?? "")),
    el("div", { class: "body" }, el("p", {}, facts.description ?? ""), parameters(facts.parameters)));
}

const { paths } = await get("/openapi.json");
const groups = new Map();
for (const [path, methods] of Object.entries(paths)) {
  for (const [method, facts] of Object.entries(methods)) {
    const tag = facts.tags?.[0] ?? "other";
    if (!groups.has(tag)) groups.set(tag, []);
    groups.get(tag).push(operation(method, path, facts));
  }
}
byId("paths").replaceChildren(
  el("p", {}, "Every answer that is not what was asked for is a problem document (RFC 9457). Keys travel as Authorization: Bearer KEY or X-API-Key: KEY."),
  ...[...groups].flatMap(([tag, operations]) => [el("h2", {}, tag), ...operations]),
);

// The API's description, read from /openapi.json and written out; no external request.

import "../styles/docs.css";
import { get } from "../lib/api";
import { byId, el } from "../lib/dom";

interface Schema {
  anyOf?: Schema[];
  enum?: string[];
  format?: string;
  type?: string;
  minimum?: number;
  maximum?: number;
}
interface Parameter {
  name: string;
  in: string;
  required?: boolean;
  description?: string;
  schema?: Schema;
}
interface Operation {
  summary?: string;
  description?: string;
  tags?: string[];
  parameters?: Parameter[];
}

const code = (text: string): HTMLElement => el("code", {}, text);

function typeText(schema: Schema = {}): string {
  if (schema.anyOf) return schema.anyOf.filter((s) => s.type !== "null").map(typeText).join(" or ");
  if (schema.enum) return schema.enum.join(", ");
  const limits = [["≥", schema.minimum], ["≤", schema.maximum]]
    .filter(([, value]) => value !== undefined)
    .map(([sign, value]) => `${sign} ${value}`);
  return [schema.format ?? schema.type ?? "any", ...limits].join(" ");
}

function parameters(list: Parameter[] = []): HTMLElement | null {
  if (!list.length) return null;
  const rows = list.map(({ name, in: place, required, description, schema }) =>
    el("tr", {}, el("td", {}, code(name)), el("td", {}, required ? `${place}, required` : place),
      el("td", {}, typeText(schema)), el("td", {}, description ?? "")));
  const head = ["Name", "In", "Value", "Meaning"].map((text) => el("th", {}, text));
  return el("table", {}, el("tr", {}, ...head), ...rows);
}

function operation(method: string, path: string, facts: Operation): HTMLElement {
  return el("details", {},
    el("summary", {}, el("b", { class: method }, method.toUpperCase()), code(path), el("span", {}, facts.summary ?? "")),
    el("div", { class: "body" }, el("p", {}, facts.description ?? ""), parameters(facts.parameters)));
}

async function write(): Promise<void> {
  const { paths } = await get<{ paths: Record<string, Record<string, Operation>> }>("/openapi.json");
  const groups = new Map<string, HTMLElement[]>();
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, facts] of Object.entries(methods)) {
      const tag = facts.tags?.[0] ?? "other";
      groups.set(tag, [...(groups.get(tag) ?? []), operation(method, path, facts)]);
    }
  }
  byId("paths").replaceChildren(
    el("p", {}, "Every answer that is not what was asked for is a problem document (RFC 9457). Keys travel as Authorization: Bearer KEY or X-API-Key: KEY."),
    ...[...groups].flatMap(([tag, operations]) => [el("h2", {}, tag), ...operations]),
  );
}

void write();

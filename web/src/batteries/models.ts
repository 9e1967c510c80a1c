// The fleet by model: how many, how they stand in the middle, and their worst; a click shows one alone.

import { el, sync } from "../lib/dom";
import { fixed } from "../lib/format";
import { t } from "../lib/i18n";
import { badness, MEASURES, type Battery, type Measure } from "./types";

/** The value in the middle and the worst one of a measure; null where nobody has it. */
export function middleAndWorst(measure: Measure, batteries: readonly Battery[]): [number, number] | null {
  const values = batteries.map(measure.of).filter((value): value is number => value !== null).sort((a, b) => a - b);
  if (!values.length) return null;
  return [values[Math.floor(values.length / 2)]!, measure.worse === "high" ? values.at(-1)! : values[0]!];
}

export class ModelTable {
  readonly element: HTMLElement;
  chosen: string | null = null; // the model that is shown alone
  private readonly rows = el("tbody");

  constructor(private readonly onChoose: () => void) {
    const head = ["Model", "Packs", "Alerts", ...MEASURES.map(({ name, unit }) => `${t(name)} (${unit})`)];
    this.element = el("div", { class: "scroll" }, el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, ...head.map((name, i) => el("th", { scope: "col", class: i ? "number" : "" }, t(name))))), this.rows));
  }

  /** Only packs of the chosen model, or all. */
  filter(batteries: Battery[]): Battery[] {
    return this.chosen === null ? batteries : batteries.filter(({ model }) => (model ?? "") === this.chosen);
  }

  draw(batteries: readonly Battery[]): void {
    const models = new Map<string, Battery[]>();
    for (const battery of batteries) models.set(battery.model ?? "", [...(models.get(battery.model ?? "") ?? []), battery]);
    if (this.chosen !== null && !models.has(this.chosen)) this.chosen = null;
    const names = [...models.keys()].sort((a, b) => models.get(b)!.length - models.get(a)!.length || a.localeCompare(b));
    sync(this.rows, ...names.map((name) => this.row(name, models.get(name)!)));
  }

  private row(name: string, packs: Battery[]): HTMLElement {
    const choose = (): void => {
      this.chosen = this.chosen === name ? null : name;
      this.onChoose();
    };
    return el("tr", { tabindex: 0, "data-key": `model ${name}`, class: this.chosen === name ? "chosen" : "", "aria-selected": String(this.chosen === name), onclick: choose, onkeydown: (event: KeyboardEvent) => event.key === "Enter" && choose() },
      el("td", {}, el("b", {}, name || t("unknown"))), el("td", { class: "number" }, packs.length),
      el("td", { class: "number" }, packs.filter(({ severity }) => severity !== null).length || "–"),
      ...MEASURES.map((measure) => figure(measure, packs)));
  }
}

function figure(measure: Measure, packs: readonly Battery[]): HTMLElement {
  const found = middleAndWorst(measure, packs);
  if (!found) return el("td", { class: "number" }, "–");
  const [middle, worst] = found;
  const bad = badness(measure, worst);
  return el("td", { class: "number" }, fixed(middle, measure.digits), " ",
    el("small", { class: bad > 0.75 ? "failed" : bad > 0.4 ? "care" : "status", title: t("worst") }, fixed(worst, measure.digits)));
}

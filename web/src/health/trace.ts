// Where one record went: its stages on a line, with the time each took.

import type { App } from "../app";
import { get, part, query } from "../lib/api";
import { el } from "../lib/dom";
import { decimal, ms, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { SERIES } from "../lib/palette";
import type { Vehicle } from "../lib/types";

interface Trace {
  outcome: string;
  items: { message: string; subject_id: string; stages: { stage: string; at: string }[]; alerts: { rule: string; severity: string }[] }[];
}

export class TraceForm {
  readonly element = el("div");
  private readonly source = el("input", { placeholder: t("sender"), "aria-label": t("sender"), required: true });
  private readonly session = el("input", { placeholder: t("session"), "aria-label": t("session"), required: true, inputmode: "numeric" });
  private readonly seq = el("input", { placeholder: "seq", "aria-label": "seq", required: true, inputmode: "numeric" });
  private readonly result = el("div", { class: "scroll" });

  constructor(private readonly app: App) {
    const form = el("form", { class: "filters" }, this.source, this.session, this.seq,
      el("button", { type: "submit", class: "small" }, t("Trace")), el("button", { type: "button", class: "small", onclick: () => void this.newest() }, t("Newest of the selected vehicle")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.look(this.source.value, Number(this.session.value), Number(this.seq.value));
    });
    this.element.append(el("h3", {}, t("One record's way")), form, this.result);
  }

  async look(source: string, session: number, seq: number): Promise<void> {
    [this.source.value, this.session.value, this.seq.value] = [source, String(session), String(seq)];
    try {
      this.show(await get<Trace>(`/v1/trace/${part(source)}/${session}/${seq}${query({ run: this.app.runId })}`));
    } catch (error) {
      this.result.replaceChildren(el("p", { class: "failed" }, error instanceof Error ? error.message : String(error)));
    }
  }

  private async newest(): Promise<void> {
    interface Row { source_id: string; session?: number; seq?: number }
    const first = async (): Promise<string> => (await get<{ items: Vehicle[] }>(`/v1/vehicles${this.app.where({ limit: 1 })}`)).items[0]?.vehicle_id ?? "";
    try {
      const id = this.app.vehicleId || (await first());
      const page = await get<{ items: Row[] }>(`/v1/vehicles/${part(id)}/history${this.app.where({ limit: 1 })}`);
      const row = page.items[0];
      if (row?.session != null && row.seq != null) await this.look(row.source_id, row.session, row.seq);
    } catch (error) {
      this.result.replaceChildren(el("p", { class: "failed" }, error instanceof Error ? error.message : String(error)));
    }
  }

  private show(trace: Trace): void {
    const items = trace.items.map((item) => el("div", {},
      el("p", {}, el("b", {}, item.message), ` · ${item.subject_id}`), line(item.stages),
      el("dl", { class: "facts" }, ...item.stages.map(({ stage, at }) => el("div", {}, el("dt", {}, t(stage.replace("_", " "))), el("dd", {}, `${timeText(at)}${at.slice(19, 23)}`)))),
      ...item.alerts.map((alert) => el("p", { class: "status" }, `${alert.rule}: ${t(alert.severity)}`))));
    this.result.replaceChildren(el("p", {}, `${t("outcome")}: `, el("b", {}, t(trace.outcome))), ...items);
  }
}

function line(stages: { stage: string; at: string }[]): HTMLElement {
  // `sampled` is zone time, which in a replay lies years back: the line begins where the wall clock does.
  const timed = stages.filter(({ stage }) => stage !== "sampled").map(({ stage, at }) => ({ stage, atMs: ms(at) }));
  const bar = el("div", { class: "trace-line" });
  const whole = Math.max(1, (timed.at(-1)?.atMs ?? 0) - (timed[0]?.atMs ?? 0));
  timed.slice(1).forEach(({ stage, atMs }, i) => {
    const before = timed[i]!.atMs;
    const text = `${t(stage.replace("_", " "))} +${decimal(atMs - before, 0)} ms`;
    const piece = el("i", { title: text }, text);
    piece.style.left = `${(100 * (before - timed[0]!.atMs)) / whole}%`;
    piece.style.width = `${(100 * (atMs - before)) / whole}%`;
    piece.style.background = SERIES.dark[i % 5]!;
    bar.append(piece);
  });
  return bar;
}

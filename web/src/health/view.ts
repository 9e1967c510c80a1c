// Data health: what became of every record, what waits where, what was refused, one record's way.

import type { App, View } from "../app";
import { get, query } from "../lib/api";
import { el, setText, sync } from "../lib/dom";
import { bytes, count, decimal, duration, percent, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Account, Page } from "../lib/types";
import { inspector, type DeadLetter } from "./inspector";
import { TraceForm } from "./trace";

const EVERY_MS = 2500;

interface Source extends Account {
  source_id: string;
  is_sequenced: boolean;
  clock_offset_s: number | null;
  sessions: number;
  gaps: [number, number][];
  duplicates: number;
}
interface Edge {
  edge_id: string;
  fill_ratio: number;
  is_silent: boolean;
  problem: string;
  queue_messages: number;
  queue_limit: number;
  spool_records: number;
  spool_bytes: number;
  spool_limit_bytes: number;
  spool_oldest_s: number;
}
interface Figures {
  totals: Account;
  sources: Source[];
  next_cursor: string | null;
  stages: { edges: Edge[]; cloud: { queued_bodies: number; queue_limit: number; full_answers: number; is_database_connected: boolean } };
  latency_ms: Record<"stored" | "alert", { p50_ms: number | null; p99_ms: number | null; count: number }>;
}

export class HealthView implements View {
  readonly id = "health";
  readonly element = el("section", { class: "health", "aria-label": t("Data health") });
  private readonly sum = el("div", { class: "sum" });
  private readonly stages = el("div", { class: "stages" });
  private readonly latency = el("div", { class: "tiles" });
  private readonly sources = el("tbody");
  private readonly letters = el("tbody");
  private readonly shown = el("div");
  private readonly status = el("small");
  private readonly find = el("input", { type: "search", placeholder: t("sender"), "aria-label": t("Filter senders"), oninput: () => void this.read() });
  private readonly trace: TraceForm;
  private readonly order = new Order();
  private isShown = false;

  constructor(private readonly app: App) {
    this.trace = new TraceForm(app);
    const table = (names: string[], body: HTMLElement): HTMLElement => el("div", { class: "scroll" }, el("table", { class: "grid" },
      el("thead", {}, el("tr", {}, ...names.map((name, i) => el("th", { scope: "col", class: i ? "number" : "" }, t(name))))), body));
    this.element.append(el("div", { class: "cards" },
      el("div", { class: "panel w8" }, el("h3", {}, t("What became of every record"), this.status), this.sum),
      el("div", { class: "panel w4" }, el("h3", {}, t("Latency")), this.latency),
      el("div", { class: "panel w12" }, el("h3", {}, t("What waits where")), this.stages),
      el("div", { class: "panel w8 tall" }, el("h3", {}, t("Senders"), el("span", { class: "grow" }), this.find),
        table(["Sender", "Sent", "Stored", "Pending", "Rejected", "Missing", "Repeated", "Gaps"], this.sources)),
      el("div", { class: "panel w4 tall hand" }, this.trace.element),
      el("div", { class: "panel w7 tall" }, el("h3", {}, t("Dead letters")), table(["Reason", "Sender", "Came at (UTC)", "Length"], this.letters)),
      el("div", { class: "panel w5 tall hand" }, el("h3", {}, t("Frame inspector")), el("div", { class: "scroll" }, this.shown))));
    this.shown.append(el("p", { class: "none" }, t("Choose a dead letter to see its bytes and fields.")));
    setInterval(() => this.isShown && !document.hidden && void this.read(), EVERY_MS);
    app.on("run", () => this.isShown && void this.read());
  }

  show(): void {
    this.isShown = true;
    void this.read();
  }

  hide(): void {
    this.isShown = false;
  }

  private async read(): Promise<void> {
    if (!this.app.runId) return;
    const isNewest = this.order.begin();
    try {
      const source = this.find.value.trim();
      const [figures, page] = await Promise.all([
        get<Figures>(`/v1/accounting${this.app.where({ limit: 200, source: source || null })}`),
        get<Page<DeadLetter>>(`/v1/dead-letters${query({ zone: this.app.zone, run: this.app.runId, limit: 60 })}`),
      ]);
      if (!isNewest()) return;
      this.drawSum(figures.totals);
      this.drawStages(figures);
      this.drawSources(figures.sources);
      this.drawLetters(page.items);
      setText(this.status, figures.totals.is_closed ? t("the sum closes") : t("the sum does not close"));
      this.status.className = figures.totals.is_closed ? "good" : "failed";
    } catch (error) {
      setText(this.status, error instanceof Error ? error.message : String(error));
    }
  }

  private drawSum(totals: Account): void {
    const rejected = Object.values(totals.rejected).reduce((sum, n) => sum + n, 0);
    const parts: [string, number, string][] = [
      ["stored", totals.stored, "var(--good)"], ["pending", totals.pending, "var(--accent)"], ["rejected", rejected, "var(--warning)"],
      ["dropped", totals.dropped, "var(--serious)"], ["expired", totals.expired, "#b58ae0"], ["thinned", totals.thinned, "var(--soft)"], ["missing", totals.missing, "var(--critical)"],
    ];
    const bar = el("div", { class: "sum-bar" }, ...parts.filter(([, n]) => n > 0).map(([name, n, colour]) => {
      const piece = el("i", { title: `${t(name)} ${count(n)}` });
      piece.style.flexGrow = String(n);
      piece.style.background = colour;
      return piece;
    }));
    const words = el("div", { class: "tiles" }, el("div", {}, el("b", {}, count(totals.sent)), el("span", {}, t("sent"))), el("div", {}, el("b", {}, "="), el("span", {})),
      ...parts.map(([name, n, colour]) => {
        const mark = el("span", {}, t(name));
        mark.style.borderTop = `.25rem solid ${colour}`;
        return el("div", {}, el("b", {}, count(n)), mark);
      }));
    const reasons = Object.entries(totals.rejected).map(([reason, n]) => `${t(reason)}: ${count(n)}`).join(" · ");
    sync(this.sum, words, bar, reasons ? el("p", { class: "status" }, `${t("rejected")}: ${reasons}`) : null);
  }

  private drawStages({ stages, latency_ms: latency }: Figures): void {
    const rows = stages.edges.flatMap((edge) => [
      stage(`${edge.edge_id} · ${t("intake")}`, edge.queue_messages / edge.queue_limit, `${count(edge.queue_messages)} / ${count(edge.queue_limit)} ${t("messages")}`),
      stage(`${edge.edge_id} · ${t("spool")}`, edge.fill_ratio, `${bytes(edge.spool_bytes)} / ${bytes(edge.spool_limit_bytes)}, ${count(edge.spool_records)} ${t("waiting")}${edge.is_silent ? `, ${t("silent")}` : ""}${edge.problem ? `, ${edge.problem}` : ""}`,
        edge.is_silent || Boolean(edge.problem), t("oldest {age}", { age: duration(edge.spool_oldest_s) || "0 s" })),
    ]);
    const { cloud } = stages;
    rows.push(stage(t("cloud · queue"), cloud.queued_bodies / cloud.queue_limit, `${cloud.queued_bodies} / ${cloud.queue_limit}, ${t("sent away")}: ${count(cloud.full_answers)}${cloud.is_database_connected ? "" : `, ${t("database away")}`}`, !cloud.is_database_connected));
    sync(this.stages, ...rows);
    const tile = (value: string, name: string): HTMLElement => el("div", {}, el("b", {}, value), el("span", {}, name));
    const name = (which: "stored" | "alert"): string => t(which === "stored" ? "to stored" : "to alert");
    const figure = (which: "stored" | "alert"): HTMLElement[] => [
      tile(`${decimal(latency[which].p50_ms, 0)} ms`, `${name(which)}, p50`),
      tile(`${decimal(latency[which].p99_ms, 0)} ms`, `${name(which)}, p99`),
    ];
    sync(this.latency, ...figure("stored"), ...figure("alert"));
  }

  private drawSources(sources: Source[]): void {
    const none = el("tr", { "data-key": "none of that name" }, el("td", { colspan: 8, class: "none" }, t("No sender of that name.")));
    sync(this.sources, ...(sources.length ? sources : [null]).map((source) => {
      if (!source) return none;
      const rejected = Object.values(source.rejected).reduce((sum, n) => sum + n, 0);
      const gaps = source.gaps.slice(0, 3).map(([from, to]) => `${from}–${to}`).join(" ");
      const number = (n: number, isBad = false): HTMLElement => el("td", { class: `number ${isBad && n ? "failed" : ""}` }, count(n));
      return el("tr", { "data-key": source.source_id }, el("td", { class: "id" }, source.source_id, source.is_sequenced ? "" : ` (${t("unsequenced")})`,
          source.clock_offset_s ? el("div", { class: "status" }, `${t("its clock is off by")} ${decimal(source.clock_offset_s, 1)} s, ${t("put right")}`) : ""),
        number(source.sent), number(source.stored), number(source.pending), number(rejected, true), number(source.missing, true), number(source.duplicates), el("td", { class: "gaps" }, gaps));
    }));
  }

  private drawLetters(letters: DeadLetter[]): void {
    const open = (letter: DeadLetter): void => this.shown.replaceChildren(inspector(letter, (source, session, seq) => this.trace.look(source, session, seq)));
    const rows = letters.map((letter) => el("tr", { tabindex: 0, "data-key": `${letter.edge_received_at} ${letter.source_id} ${letter.topic} ${letter.reason}`, onclick: () => open(letter), onkeydown: (event: KeyboardEvent) => event.key === "Enter" && open(letter) },
      el("td", {}, el("b", {}, t(letter.reason)), el("div", { class: "status id" }, letter.detail)), el("td", { class: "number id" }, letter.source_id),
      el("td", { class: "number" }, timeText(letter.edge_received_at)), el("td", { class: "number" }, `${count(letter.payload_bytes)} B`)));
    sync(this.letters, ...(rows.length ? rows : [el("tr", { "data-key": "none" }, el("td", { colspan: 4, class: "none" }, t("Nothing was refused.")))]));
  }
}

function stage(name: string, fill: number, text: string, isBad = false, title = ""): HTMLElement {
  const bar = el("i");
  bar.style.width = `${Math.min(100, Math.max(0.4, fill * 100))}%`;
  return el("div", { class: "stage-row", title }, el("b", {}, name), el("div", { class: `bar ${isBad || fill > 0.9 ? "bad" : fill > 0.5 ? "care" : ""}`, title: percent(fill, 1) }, bar), el("span", {}, text));
}

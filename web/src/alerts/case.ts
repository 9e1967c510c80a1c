// The after-sales case of a battery emergency: contact, confirm, rescue plan, close.

import { get, part, post } from "../lib/api";
import { el, setText, sync } from "../lib/dom";
import { fieldValue, timeText } from "../lib/format";
import { t } from "../lib/i18n";
import { Order } from "../lib/order";
import type { Alert } from "../lib/types";

export const STEPS = ["contact", "confirm", "rescue_plan", "close"] as const;
interface Case {
  alert_id: string;
  opened_at: string;
  opened_by: string;
  next_step: (typeof STEPS)[number] | null;
  steps: { step: string; at: string; who: string; text: string }[];
}

/** The case of an alert, or the button that opens one. */
export function caseSection(alert: Alert): HTMLElement {
  const body = el("div", {}, "…");
  const problem = el("p", { class: "failed", role: "alert" });
  const path = `/v1/alerts/${part(alert.id)}/case`;
  const order = new Order();
  const fail = (error: unknown): void => setText(problem, error instanceof Error ? error.message : String(error));
  const take = async (asked: Promise<Case | null>): Promise<void> => {
    const isNewest = order.begin();
    try {
      const found = await asked;
      if (!isNewest()) return;
      setText(problem, "");
      sync(body, ...(found ? [steps(found), next(found, send)] : [none()]));
    } catch (error) {
      fail(error);
    }
  };
  const read = (): Promise<void> => take(get<{ case: Case | null }>(path).then((answer) => answer.case));
  // Refused is a step that somebody else has taken meanwhile: what there is now is shown, and why.
  const send = (step: string, text: string): void => {
    post<Case>(`${path}/steps`, { step, text }).then((found) => take(Promise.resolve(found)), (error: unknown) => read().then(() => fail(error)));
  };
  const none = (): HTMLElement => el("button", { type: "button", class: "small", "data-act": "case", onclick: () => void take(post<Case>(path)) }, t("Open an after-sales case"));
  void read();
  return el("div", { class: "case" }, el("h3", {}, t("After-sales case")), body, problem);
}

const named = (step: string): string => t(step).replace("_", " ");

function steps(found: Case): HTMLElement {
  return el("ol", { class: "steps-done" },
    el("li", {}, el("time", {}, timeText(found.opened_at).slice(5)), el("b", {}, found.opened_by), el("span", {}, t("opened"))),
    ...found.steps.map(({ step, at, who, text }) =>
      el("li", {}, el("time", {}, timeText(at).slice(5)), el("b", {}, who), el("span", {}, `${named(step)}: ${fieldValue(text)}`))));
}

function next(found: Case, onSend: (step: string, text: string) => void): HTMLElement {
  const step = found.next_step;
  if (!step) return el("p", { class: "good" }, t("This case is closed."));
  const input = el("input", { placeholder: t(`what came of it: ${step}`).replace("_", " "), "aria-label": named(step), maxlength: 2000, required: true });
  const form = el("form", { class: "ask", "data-act": "case-step", "data-key": step }, input, el("button", { type: "submit", class: "small" }, named(step)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    onSend(step, input.value);
  });
  return form;
}

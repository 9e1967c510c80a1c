// What can be done about an alert: buttons and fields that stay the same elements for as long as the
// alert is shown, because it changes each second while somebody types a note about it.

import { part, post } from "../lib/api";
import { el, setText } from "../lib/dom";
import { t } from "../lib/i18n";
import type { Alert } from "../lib/types";

const SNOOZES: [number, string][] = [[15, "15 min"], [60, "1 h"], [480, "8 h"]];

interface Doing {
  onDone: (alert: Alert) => void;
  onPlace: () => void;
  onVehicle: () => void;
}

export class AlertActions {
  readonly element = el("div", { class: "buttons" });
  readonly problem = el("p", { class: "failed", role: "alert" });
  private readonly ack: HTMLButtonElement;
  private readonly assign: HTMLFormElement;
  private readonly clear: HTMLFormElement;

  constructor(
    private readonly id: string,
    isVehicle: boolean,
    private readonly doing: Doing,
  ) {
    this.ack = this.button("ack", t("Acknowledge"), () => void this.act("ack", {}));
    this.assign = this.ask("assign", t("Assign to"), (to) => ({ to }));
    this.clear = this.ask("clear", t("Clear, because"), (note) => ({ note }));
    this.element.append(this.ack, this.assign, this.ask("note", t("Note"), (text) => ({ text })), this.snooze(), this.clear,
      this.button("place", t("Show on map"), doing.onPlace));
    if (isVehicle) this.element.append(this.button("vehicle", t("Vehicle"), doing.onVehicle));
  }

  /** The alert as it stands now. What somebody has typed stays. */
  take(alert: Alert): void {
    this.ack.disabled = Boolean(alert.acknowledged_by);
    setText(this.ack, alert.acknowledged_by ? `✓ ${alert.acknowledged_by}` : t("Acknowledge"));
    this.assign.querySelector("input")!.defaultValue = alert.assigned_to ?? "";
    this.clear.hidden = !alert.is_open;
  }

  private button(name: string, text: string, run: () => void): HTMLButtonElement {
    return el("button", { type: "button", class: "small", "data-act": name, onclick: run }, text);
  }

  // A field and its button in one form: Enter sends, nothing pops up.
  private ask(action: string, name: string, body: (text: string) => unknown): HTMLFormElement {
    const input = el("input", { placeholder: name, "aria-label": name, maxlength: action === "assign" ? 100 : 2000, required: true });
    const form = el("form", { class: "ask", "data-act": action }, input, el("button", { type: "submit", class: "small" }, t(action)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = input.value;
      void this.act(action, body(text)).then((isDone) => {
        if (isDone && input.value === text) form.reset(); // what was refused is not lost
      });
    });
    return form;
  }

  private snooze(): HTMLElement {
    const choice = el("select", { "aria-label": t("Snooze"), "data-act": "snooze" },
      el("option", { value: "" }, t("Snooze")), ...SNOOZES.map(([minutes, name]) => el("option", { value: minutes }, name)));
    choice.addEventListener("change", () => {
      const untilMs = Date.now() + Number(choice.value) * 60_000;
      choice.value = ""; // the same span can be chosen again
      void this.act("snooze", { until_at: new Date(untilMs).toISOString() });
    });
    return choice;
  }

  private async act(action: string, body: unknown): Promise<boolean> {
    try {
      const alert = await post<Alert>(`/v1/alerts/${part(this.id)}/${action}`, body);
      setText(this.problem, "");
      this.doing.onDone(alert);
      return true;
    } catch (error) {
      setText(this.problem, error instanceof Error ? error.message : String(error));
      return false;
    }
  }
}

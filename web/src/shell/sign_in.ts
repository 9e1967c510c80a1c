// Who is not known is asked for a key.

import { post } from "../lib/api";
import { byId, el } from "../lib/dom";
import { t } from "../lib/i18n";

/** Ask once, however many links were refused; `onDone` when the key was right. */
export function signIn(onDone: () => void): void {
  const dialog = byId<HTMLDialogElement>("sign-in");
  if (dialog.open) return;
  const key = el("input", { id: "key", type: "password", autocomplete: "off", required: true });
  const problem = el("p", { id: "sign-in-error", class: "error", role: "alert" });
  const form = el("form", { method: "dialog" },
    el("h2", {}, t("Sign in")),
    el("p", {}, t("Open the link that the service printed when it started, or paste an API key.")),
    el("label", {}, t("API key"), key),
    problem,
    el("button", { type: "submit", class: "primary" }, t("Sign in")));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    post("/v1/session", { key: key.value }).then(
      () => {
        dialog.close();
        onDone();
      },
      (error: unknown) => problem.replaceChildren(error instanceof Error ? error.message : String(error)),
    );
  });
  dialog.replaceChildren(form);
  dialog.showModal();
}

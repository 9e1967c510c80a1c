// The views behind the tabs: each is loaded and built when it is first shown, so that a page opened
// for its alerts starts no map, and none waits for the others' code.

import type { View, ViewId } from "../app";
import { get } from "../lib/api";
import { el, setText } from "../lib/dom";
import { t } from "../lib/i18n";

const RETRY_MS = 5000;

/** The code of each view, and how it is built once that is there. */
export type Loaders = Record<ViewId, () => Promise<() => View>>;

export class Views {
  current: ViewId = "map";
  private readonly asked = new Map<ViewId, Promise<View>>();
  private readonly made = new Map<ViewId, View>();
  private readonly waiting = el("p", { class: "none waiting", role: "status", hidden: true });

  constructor(
    private readonly root: HTMLElement,
    private readonly loaders: Loaders,
  ) {
    root.append(this.waiting);
  }

  /** Bring a view to the front, at once if it was there before. */
  show(id: ViewId): void {
    this.current = id;
    for (const [name, view] of this.made) {
      if (name === id || view.element.hidden) continue;
      view.element.hidden = true;
      view.hide();
    }
    const view = this.made.get(id);
    this.waiting.hidden = view !== undefined;
    if (view) return this.bringForward(view);
    setText(this.waiting, t("loading"));
    this.load(id).then(
      (loaded) => this.current === id && this.bringForward(loaded),
      (error: unknown) => this.current === id && setText(this.waiting, error instanceof Error ? error.message : String(error)));
  }

  private bringForward(view: View): void {
    this.waiting.hidden = true;
    view.element.hidden = false;
    view.show();
  }

  /** The view, built behind the others where it was not there yet. */
  load(id: ViewId): Promise<View> {
    const known = this.asked.get(id);
    if (known) return known;
    const asked = this.fetch(id).then((make) => {
      const view = make();
      view.element.classList.add("view");
      view.element.hidden = true;
      this.made.set(id, view);
      if (!view.element.isConnected) this.root.append(view.element);
      return view;
    });
    this.asked.set(id, asked);
    return asked;
  }

  private async fetch(id: ViewId): Promise<() => View> {
    try {
      return await this.loaders[id]();
    } catch {
      void this.startAnew();
      throw new Error(t("This view could not be loaded. The page loads itself anew when the service answers."));
    }
  }

  // The service is away, or there is a newer page: a module that failed once stays failed.
  private async startAnew(): Promise<void> {
    for (;;) {
      await new Promise((done) => setTimeout(done, RETRY_MS));
      if (await get("/v1/zones").then(() => true, () => false)) return location.reload();
    }
  }
}

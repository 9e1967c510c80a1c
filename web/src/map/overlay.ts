// Small elements that stand at places of the map: alerts, names, countdowns. MapLibre's own text
// needs glyph files; these are a few dozen elements, moved by a transform when the view moves.

import { toWorld, worldPx } from "../lib/geo";
import type { View } from "./vehicle_layer";

interface Item {
  element: HTMLElement;
  x: number;
  y: number;
  used: boolean;
}

export class Overlay {
  private readonly items = new Map<string, Item>();

  constructor(private readonly root: HTMLElement) {}

  /** Between `begin` and `end` every wanted item is set; what was not set goes. */
  begin(): void {
    for (const item of this.items.values()) item.used = false;
  }

  /** The item of this key at a place, made by `make` the first time. */
  set(key: string, lonDeg: number, latDeg: number, make: () => HTMLElement): HTMLElement {
    let item = this.items.get(key);
    if (!item) {
      item = { element: make(), x: 0, y: 0, used: true };
      item.element.classList.add("pin");
      this.items.set(key, item);
      this.root.append(item.element);
    }
    [item.x, item.y] = toWorld(lonDeg, latDeg);
    item.used = true;
    return item.element;
  }

  end(view: View): void {
    for (const [key, item] of this.items) {
      if (item.used) continue;
      item.element.remove();
      this.items.delete(key);
    }
    this.move(view);
  }

  /** Put every item where its place is now. */
  move(view: View): void {
    const scale = worldPx(view.zoom);
    for (const { element, x, y } of this.items.values()) {
      const px = (x - view.centreX) * scale + view.width / 2;
      const py = (y - view.centreY) * scale + view.height / 2;
      const isOut = px < -60 || py < -60 || px > view.width + 60 || py > view.height + 60;
      element.hidden = isOut;
      if (!isOut) element.style.transform = `translate(${px.toFixed(1)}px, ${py.toFixed(1)}px)`;
    }
  }
}

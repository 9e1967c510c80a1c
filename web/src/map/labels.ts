// Names on a background map of vector tiles, drawn in the machine's own fonts: without an address for
// glyphs in its style MapLibre draws them itself, and asks nobody.

import type { ExpressionSpecification, LayerSpecification } from "maplibre-gl";
import { language } from "../lib/i18n";
import { MAP, type Theme } from "../lib/palette";
import { scale } from "../lib/scale";

// What schemas (Protomaps, OpenMapTiles, own ones) call the layers that have names; streets of
// OpenMapTiles have theirs in a layer apart.
const NAMED: { words: RegExp; along: boolean; fromZoom: number; px: number }[] = [
  { words: /place|settlement|locality/, along: false, fromZoom: 0, px: 13 },
  { words: /^water|ocean|lake|river/, along: false, fromZoom: 11, px: 11 },
  { words: /transport|road|street|highway/, along: true, fromZoom: 14, px: 11 },
];
const INK = { dark: "#93a4b5", light: "#5a6673" };

/** Layers of names for tiles that have some; places before streets where there is no room for both. */
export function labelLayers(layers: readonly { id: string }[], theme: Theme): LayerSpecification[] {
  const found = NAMED.flatMap((kind) => layers.filter(({ id }) => kind.words.test(id)).map(({ id }) => ({ id, kind })));
  return found.reverse().map(({ id, kind }): LayerSpecification => ({
    id: `${id}-names`, type: "symbol", source: "tiles", "source-layer": id, minzoom: kind.fromZoom,
    filter: ["to-boolean", name()],
    layout: {
      "text-field": name(), "text-font": ["sans-serif"], "text-size": kind.px * scale(), "text-max-width": 8,
      "symbol-placement": kind.along ? "line" : "point", "text-padding": 6,
    },
    paint: { "text-color": INK[theme], "text-halo-color": MAP[theme].ground, "text-halo-width": 1.4 * scale() },
  }));
}

/** A name in the page's language, else as people there write it. */
function name(): ExpressionSpecification {
  const wanted = language === "zh" ? ["name:zh-Hans", "name:zh"] : ["name:en", "name:latin", "name_en"];
  return ["coalesce", ...[...wanted, "name"].map((key) => ["get", key]), ""] as unknown as ExpressionSpecification;
}

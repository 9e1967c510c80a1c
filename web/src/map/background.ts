// An optional background map from a PMTiles file of the zone, in a map of its own below the roads.
// Its tiles may be in GCJ-02 or BD-09, which no style can shift: the lower map looks at the same place
// in its own datum. The shift is exact in the middle and differs by a pixel or two at the edges.

import { addProtocol, Map as GlMap, type LayerSpecification, type StyleSpecification } from "maplibre-gl";
import { FetchSource, PMTiles, Protocol, TileType, type Header } from "pmtiles";
import { fromWgs84, type Datum } from "../lib/datum";
import { el, setText } from "../lib/dom";
import { MAP, type Theme } from "../lib/palette";
import { labelLayers } from "./labels";

const protocol = new Protocol();
addProtocol("pmtiles", protocol.tile);

interface Metadata {
  attribution?: string;
  vector_layers?: { id: string }[];
}

export class Background {
  readonly element = el("div", { class: "gl under", hidden: true });
  readonly credit = el("small", { class: "credit" });
  map: GlMap | null = null;
  private shown = "";
  private datum: Datum = "wgs84";
  private header: Header | null = null;
  private metadata: Metadata = {};

  constructor(private readonly above: GlMap) {
    above.on("move", () => this.follow());
    above.on("resize", () => this.map?.resize());
  }

  get isShown(): boolean {
    return this.map !== null && !this.element.hidden;
  }

  /** Show a zone's background, or none; answers whether there is one. */
  async show(wanted: { path: string; datum: Datum } | null, theme: Theme): Promise<boolean> {
    const key = JSON.stringify(wanted);
    if (key === this.shown) return this.map !== null;
    this.shown = key;
    this.remove();
    if (!wanted) return false;
    const url = location.origin + wanted.path;
    const archive = new PMTiles(new FetchSource(url));
    protocol.add(archive);
    const [header, metadata] = await Promise.all([archive.getHeader(), archive.getMetadata()]).catch((error: unknown) => {
      if (key === this.shown) this.shown = ""; // asked for again with the next look
      throw error;
    });
    if (key !== this.shown) return false;
    [this.header, this.metadata, this.datum] = [header, (metadata ?? {}) as Metadata, wanted.datum];
    setText(this.credit, (this.metadata.attribution ?? "").replace(/<[^>]*>/g, ""));
    this.element.hidden = false;
    this.map = new GlMap({ container: this.element, style: this.style(theme, url), interactive: false, attributionControl: false, fadeDuration: 0, maxZoom: 22, renderWorldCopies: false });
    this.map.on("error", (event) => console.error(event.error));
    this.follow();
    return true;
  }

  setTheme(theme: Theme): void {
    const { path } = (JSON.parse(this.shown || "null") ?? {}) as { path?: string };
    if (path) this.map?.setStyle(this.style(theme, location.origin + path), { diff: false });
  }

  setVisible(isVisible: boolean): void {
    this.element.hidden = !isVisible;
    if (isVisible) this.map?.resize();
    this.follow();
  }

  private remove(): void {
    this.map?.remove();
    this.map = null;
    this.element.hidden = true;
    setText(this.credit, "");
  }

  private follow(): void {
    if (!this.isShown) return;
    const { lng, lat } = this.above.getCenter();
    this.map!.jumpTo({ center: fromWgs84([lng, lat], this.datum), zoom: this.above.getZoom() });
  }

  private style(theme: Theme, url: string): StyleSpecification {
    const { minZoom, maxZoom, tileType } = this.header!;
    const ground: LayerSpecification = { id: "ground", type: "background", paint: { "background-color": MAP[theme].ground } };
    const common = { url: `pmtiles://${url}`, minzoom: minZoom, maxzoom: maxZoom };
    if (tileType === TileType.Mvt) {
      return { version: 8, sources: { tiles: { type: "vector", ...common } }, layers: [ground, ...vectorLayers(this.metadata, theme), ...labelLayers(this.metadata.vector_layers ?? [], theme)] };
    }
    // Behind traffic an aerial picture or a street map is quiet: less colour, less light.
    const paint = theme === "dark" ? { "raster-brightness-max": 0.45, "raster-saturation": -0.5 } : { "raster-brightness-min": 0.25, "raster-saturation": -0.4 };
    return { version: 8, sources: { tiles: { type: "raster", tileSize: 256, ...common } }, layers: [ground, { id: "tiles", type: "raster", source: "tiles", paint }] };
  }
}

// Schemas name their layers differently (Protomaps, OpenMapTiles, own ones): what a name says is enough
// for a quiet ground.
const KINDS: [RegExp, "fill" | "line", keyof typeof INK][] = [
  [/water|ocean|river|lake/, "fill", "water"],
  [/earth|^land$|natural|landcover|landuse|park|green|wood/, "fill", "land"],
  [/building/, "fill", "building"],
  [/transport|road|street|highway|rail/, "line", "road"],
  [/bound/, "line", "border"],
];
const INK = {
  water: { dark: "#12263a", light: "#c3dcec" },
  land: { dark: "#101b25", light: "#e3ebe0" },
  building: { dark: "#1a2734", light: "#dcdfe3" },
  road: { dark: "#26333f", light: "#ffffff" },
  border: { dark: "#3a4a5c", light: "#b6bec7" },
};

function vectorLayers(metadata: Metadata, theme: Theme): LayerSpecification[] {
  const known = (metadata.vector_layers ?? []).flatMap(({ id }) => {
    const place = KINDS.findIndex(([words]) => words.test(id));
    return place < 0 ? [] : [{ id, place }];
  });
  const order = [1, 0, 2, 3, 4]; // land, water, houses, roads, borders
  return known.sort((a, b) => order.indexOf(a.place) - order.indexOf(b.place)).map(({ id, place }): LayerSpecification => {
    const [, type, ink] = KINDS[place]!;
    const common = { id, source: "tiles", "source-layer": id };
    if (type === "fill") return { ...common, type, filter: ["==", ["geometry-type"], "Polygon"], paint: { "fill-color": INK[ink][theme] } };
    return { ...common, type, filter: ["==", ["geometry-type"], "LineString"], paint: { "line-color": INK[ink][theme], "line-width": ["interpolate", ["exponential", 1.6], ["zoom"], 10, 0.6, 18, 9] } };
  });
}

// How large the page is written: its text grows with the screen's width (styles/page.css), and what is
// drawn in pixels grows with it.

const REM_AT_1366_PX = 14;
let knownPx = 0; // asked for with every picture: read once per size of the window
window.addEventListener("resize", () => (knownPx = 0));

/** One rem in CSS pixels. */
export const remPx = (): number => (knownPx ||= parseFloat(getComputedStyle(document.documentElement).fontSize));

/** What a size in pixels at a 1366 px wide screen is multiplied by here: 1.6 on a 4K wall. */
export const scale = (): number => remPx() / REM_AT_1366_PX;

// Marks: the colour and the shape by which a label is known. The colours are in page.css, because
// light and dark paper need different ones; a label has the same number in both.

import { svg } from "./dom.js";

export const HUES = 8;
const SHAPES = 2; // a disc, then a diamond
export const MARKS = HUES * SHAPES; // numbers from 1 on; 0 is the grey of all other labels

export const hueOf = (mark) => (mark ? 1 + ((mark - 1) % HUES) : 0);
export const shapeOf = (mark) => (mark ? Math.floor((mark - 1) / HUES) : 0);

/** The mark of each label; the most frequent come first. Where there are no labels, all have the first. */
export function marksOf(labels) {
  if (!labels.some(Boolean)) return labels.map(() => 1);
  let last = 0;
  return labels.map((label) => (label && last < MARKS ? ++last : 0));
}

/** The colours of the marks and of what is drawn around them, as the theme has them now. */
export function colours() {
  const style = getComputedStyle(document.documentElement);
  const read = (name) => style.getPropertyValue(name).trim();
  const hues = Array.from({ length: HUES + 1 }, (_, n) => read(`--mark-${n}`));
  return { hues, paper: read("--card"), ink: read("--ink"), accent: read("--accent") };
}

/** "#rrggbb" as three numbers from 0 to 255. */
export const rgb = (colour) => [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));

/** A mark as a small drawing. */
export function drawing(mark) {
  const shape = shapeOf(mark)
    ? svg("path", { d: "M6 0 12 6 6 12 0 6Z" })
    : svg("circle", { cx: 6, cy: 6, r: 5 });
  shape.style.fill = `var(--mark-${hueOf(mark)})`;
  return svg("svg", { class: "mark", viewBox: "0 0 12 12", "aria-hidden": "true" }, shape);
}

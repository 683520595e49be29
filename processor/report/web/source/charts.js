// Charts: small drawings with axes of words; each says in a sentence what it shows.

import { el, svg } from "./dom.js";
import { count, percent, time } from "./words.js";

const HEIGHT = 200;
const LEFT = 44; // for the numbers of the axis
const BELOW = 24;
const ABOVE = 10;

/** What each component explains, as bars, and all up to it, as a line. */
export function varianceChart(shares) {
  const sums = [];
  for (const share of shares) sums.push((sums.at(-1) ?? 0) + share);
  return fitted((width) => {
    const wide = (width - LEFT) / shares.length;
    const y = (share) => ABOVE + (1 - share) * (HEIGHT - ABOVE - BELOW);
    const x = (n) => LEFT + n * wide;
    const line = sums.map((sum, n) => `${n ? "L" : "M"}${x(n + 0.5)} ${y(sum)}`).join("");
    return [
      ...[0, 0.25, 0.5, 0.75, 1].map((share) => grid(width, y(share), percent(share, 0))),
      ...shares.map((share, n) => bar(x(n), y(share), wide, y(0), `Component ${n + 1}: ${percent(share)}, up to it ${percent(sums[n])}`)),
      svg("path", { class: "line", d: line }),
      svg("circle", { class: "dot", cx: x(sums.length - 0.5), cy: y(sums.at(-1)), r: 3.5 }),
      ...ends(width, "component 1", shares.length > 1 ? count(shares.length) : ""),
    ];
  });
}

/** Photos by time: [[seconds, photos]], the start of each hour; of each day where there are many. */
export function storedChart(hours) {
  const first = hours[0][0];
  const span = hours.at(-1)[0] - first;
  const step = span > 14 * 86400 ? 86400 : 3600;
  const bins = new Map();
  for (const [at, photos] of hours) {
    const bin = Math.floor(at / step) - Math.floor(first / step);
    bins.set(bin, (bins.get(bin) ?? 0) + photos);
  }
  const last = Math.max(...bins.keys());
  const most = Math.max(1, ...bins.values());
  const unit = step === 3600 ? "hour" : "day";
  const drawing = fitted((width) => {
    const wide = Math.min(28, (width - LEFT) / (last + 1));
    const y = (photos) => ABOVE + (1 - photos / most) * (HEIGHT - ABOVE - BELOW);
    const at = (bin) => time((Math.floor(first / step) + bin) * step);
    return [
      ...[0, most / 2, most].filter(Number.isInteger).map((photos) => grid(width, y(photos), short(photos))),
      ...[...bins].map(([bin, photos]) => bar(LEFT + bin * wide, y(photos), wide, y(0), `${at(bin)}: ${count(photos)}`)),
      ...ends(width, time(first).slice(0, 16), last ? time(hours.at(-1)[0]).slice(0, 16) : ""),
    ];
  });
  return { drawing, unit, most };
}

/** A box that holds a drawing as wide as it is; `draw(width)` gives the parts. */
function fitted(draw) {
  const drawing = svg("svg", { class: "chart", height: HEIGHT, "aria-hidden": "true" });
  const box = el("div", { class: "fitted" }, drawing);
  new ResizeObserver(() => {
    const width = Math.max(160, box.clientWidth);
    drawing.setAttribute("width", width);
    drawing.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
    drawing.replaceChildren(...draw(width));
  }).observe(box);
  return box;
}

function grid(width, y, text) {
  return svg("g", {},
    svg("line", { class: "grid", x1: LEFT, x2: width, y1: y, y2: y }),
    svg("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, text));
}

function bar(x, top, wide, bottom, says) {
  const gap = Math.min(2, wide / 4);
  return svg("rect", { class: "bar", x: x + gap / 2, y: top, width: wide - gap, height: Math.max(0, bottom - top) },
    svg("title", {}, says));
}

function ends(width, left, right) {
  return [
    svg("text", { x: LEFT, y: HEIGHT - 6 }, left),
    svg("text", { x: width, y: HEIGHT - 6, "text-anchor": "end" }, right),
  ];
}

const short = (photos) => (photos >= 10000 ? `${+(photos / 1000).toPrecision(3)}k` : count(photos));

// The legend: what each mark means, and a filter: the photos of pressed labels are seen well.

import { el } from "./dom.js";
import { drawing, marksOf } from "./marks.js";
import { count, labelled } from "./words.js";

const MOST = 200; // labels; the others are found by the search

/** An element; `changed` is called with the set of pressed labels' numbers, which is empty for all. */
export function legend(points, changed) {
  const { labels } = points.about;
  const photos = new Uint32Array(labels.length);
  for (const label of points.labelOf) photos[label]++;
  const marks = marksOf(labels);
  const pressed = new Set();

  const all = el("button", { type: "button", class: "quiet", hidden: true, on: { click: () => press(null) } }, "Show all");
  const buttons = labels.slice(0, MOST).map((label, n) =>
    el("button", { type: "button", class: "label", "aria-pressed": "false", on: { click: () => press(n) } },
      drawing(marks[n]), el("bdi", { class: "name", title: labelled(label) }, labelled(label)),
      el("span", { class: "count" }, count(photos[n]))));

  const press = (n) => {
    if (n === null) pressed.clear();
    else if (!pressed.delete(n)) pressed.add(n);
    buttons.forEach((button, at) => button.setAttribute("aria-pressed", String(pressed.has(at))));
    all.hidden = !pressed.size;
    changed(pressed);
  };
  const grey = marks.filter((mark) => !mark).length;
  const others = labels.length - buttons.length;
  return el("section", { class: "legend", "aria-labelledby": "legend-title" },
    el("div", { class: "row" }, el("h3", { id: "legend-title" }, "Labels"), all),
    grey > 0 && el("p", { class: "note" }, `The ${labels.length - grey} most frequent have a colour. Press some to see only these.`),
    el("ul", { class: "labels" }, buttons.map((button) => el("li", {}, button))),
    others > 0 && el("p", { class: "note" }, `${count(others)} more labels: search for them.`));
}

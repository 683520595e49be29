// The chosen photo: its picture, key and label, and the ten photos nearest to it.

import { el } from "./dom.js";
import { file, labelled, several } from "./words.js";

/** What is shown while none is. */
export function noneChosen() {
  return [
    el("h3", {}, "Neighbours"),
    el("p", { class: "note" }, "Choose a photo on the map or by the search: the photos that the network finds most like it appear here."),
  ];
}

/** `nearest`: [{ n, cosine }]; `choose` is called with the number of one that is clicked. */
export function chosenPhoto(points, pictures, n, nearest, choose, close) {
  const key = points.keys[n];
  const label = points.label(n);
  const same = nearest.filter((each) => points.labelOf[each.n] === points.labelOf[n]).length;
  return [
    el("div", { class: "row" },
      el("h3", { id: "chosen-title", tabindex: -1 }, el("bdi", {}, labelled(label))),
      el("button", { type: "button", class: "quiet", on: { click: close } }, "Close")),
    el("div", { class: "portrait" }, pictures.element(n, 96),
      el("p", { class: "key" }, el("bdi", {}, key), el("span", { class: "note" }, place(points, n)))),
    nearest.length
      ? el("p", { class: "note" }, label
        ? `${several(nearest.length, "nearest photo")}, ${same} of the same label. Cosine of the features:`
        : `${several(nearest.length, "nearest photo")}. Cosine of the features:`)
      : el("p", { class: "note" }, "There is no other photo to compare it with."),
    el("ol", { class: "neighbours" }, nearest.map((each) => neighbour(points, pictures, each, label, choose))),
  ];
}

function place(points, n) {
  const [x, y] = [points.xy[2 * n], points.xy[2 * n + 1]];
  return `pc1 ${x.toPrecision(3)}, pc2 ${y.toPrecision(3)}`;
}

function neighbour(points, pictures, { n, cosine }, label, choose) {
  const its = points.label(n);
  const key = points.keys[n];
  const says = cosine === null ? "?" : cosine.toFixed(3);
  return el("li", {},
    el("button", {
      type: "button", title: key, class: its !== label && "other",
      "aria-label": `${labelled(its)}, cosine ${says}, ${key}`,
      on: { click: () => choose(n) },
    },
      el("span", { class: "thumb" }, pictures.element(n, 64)),
      el("span", { class: "cosine" }, says),
      el("bdi", { class: "name" }, its || file(key))));
}

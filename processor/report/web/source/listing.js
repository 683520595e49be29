// The listing: the photos that are seen well on the map, as a list, a few at a time.

import { el } from "./dom.js";
import { count, labelled } from "./words.js";

const EACH = 24;

export class Listing {
  #points;
  #pictures;
  #choose;
  #found = [];
  #from = 0;
  #list = el("ol", { class: "photos" });
  #where = el("span", { class: "note" });
  #back = this.#button("Back", -EACH);
  #more = this.#button("More", EACH);

  constructor(points, pictures, choose) {
    this.#points = points;
    this.#pictures = pictures;
    this.#choose = choose;
    this.element = el("details", { class: "listing", on: { toggle: () => this.#draw() } },
      el("summary", {}, "These photos as a list"), this.#list,
      el("div", { class: "row" }, this.#back, this.#more, this.#where));
  }

  /** The numbers of the photos that it lists. */
  show(found) {
    this.#found = found;
    this.#from = 0;
    this.#draw();
  }

  open() {
    this.element.open = true;
  }

  #button(text, step) {
    const click = () => {
      this.#from += step;
      this.#draw();
      this.#list.querySelector("button")?.focus();
    };
    return el("button", { type: "button", class: "quiet", on: { click } }, text);
  }

  #draw() {
    if (!this.element.open) return;
    const to = Math.min(this.#found.length, this.#from + EACH);
    this.#list.start = this.#from + 1;
    this.#list.replaceChildren(...Array.from(this.#found.slice(this.#from, to), (n) => this.#item(n)));
    this.#where.textContent = to ? `${count(this.#from + 1)} to ${count(to)} of ${count(this.#found.length)}` : "none";
    this.#back.hidden = this.#from === 0;
    this.#more.hidden = to === this.#found.length;
  }

  #item(n) {
    const key = this.#points.keys[n];
    return el("li", {},
      el("button", { type: "button", title: key, on: { click: () => this.#choose(n) } },
        el("span", { class: "thumb" }, this.#pictures.element(n, 48)),
        el("span", { class: "words" },
          el("bdi", { class: "name" }, labelled(this.#points.label(n))), el("bdi", { class: "key" }, key))));
  }
}

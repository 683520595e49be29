// The explorer: the map with its search, legend and list, and what they say to each other.

import { chosenPhoto, noneChosen } from "./chosen.js";
import { el } from "./dom.js";
import { legend } from "./legend.js";
import { Listing } from "./listing.js";
import { PhotoMap } from "./map.js";
import { Pictures } from "./pictures.js";
import { count, several } from "./words.js";

export class Explorer {
  #points;
  #pictures;
  #map;
  #listing;
  #query = "";
  #pressed = new Set();
  #chosen = null;
  #first = null; // of those that are seen well
  #texts; // of each point, in lower case, to search in
  #status = el("p", { role: "status", class: "note" });
  #spoken = el("p", { "aria-live": "polite", class: "unseen" });
  #panel = el("div", { class: "chosen" }, noneChosen());
  #search = el("input", { type: "search", id: "search", placeholder: "key or label", autocomplete: "off", spellcheck: "false" });

  constructor(points) {
    this.#points = points;
    this.#pictures = new Pictures(points);
    this.#listing = new Listing(points, this.#pictures, (n) => this.#choose(n, true));
    this.#map = new PhotoMap(points, this.#pictures, {
      choose: (n) => this.#choose(n, false),
      search: () => this.#search.focus(),
      escape: () => this.#choose(null, false),
      speak: (text) => (this.#spoken.textContent = text),
    });
    const hasLabels = points.about.labels.some(Boolean);
    this.element = el("div", { class: "explorer" },
      el("div", { class: "main" }, this.#tools(), this.#map.element, this.#spoken,
        el("p", { id: "map-keys", class: "note keys" },
          "Drag to move, turn the wheel to zoom, click a photo. By keys: arrows move, + and − zoom, 0 shows all, Enter chooses the photo in the middle, / searches, Escape closes.")),
      el("div", { class: "side" }, this.#panel,
        hasLabels && legend(points, (pressed) => {
          this.#pressed = pressed;
          this.#filter();
        })),
      this.#listing.element);
    this.#filter();
  }

  #tools() {
    this.#search.addEventListener("input", () => {
      this.#query = this.#search.value.trim().toLowerCase();
      this.#filter();
    });
    this.#search.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && this.#first !== null) this.#choose(this.#first, true);
      if (event.key !== "Escape") return;
      event.preventDefault();
      this.#search.value = this.#query = "";
      this.#filter();
      this.#map.element.focus();
    });
    const button = (text, name, click) =>
      el("button", { type: "button", class: "tool", "aria-label": name, title: name, on: { click } }, text);
    const pictures = el("button", { type: "button", class: "tool wide", "aria-pressed": "true" }, "Pictures");
    pictures.addEventListener("click", () => {
      const on = pictures.getAttribute("aria-pressed") !== "true";
      pictures.setAttribute("aria-pressed", String(on));
      this.#map.withPictures(on);
    });
    return el("div", { class: "tools" },
      el("label", { for: "search", class: "unseen" }, "Search for a key or a label"), this.#search, this.#status,
      el("div", { class: "buttons" },
        this.#points.about.sheets > 0 && pictures,
        button("−", "Zoom out", () => this.#map.zoom(1 / 1.6)),
        button("+", "Zoom in", () => this.#map.zoom(1.6)),
        button("⤢", "Show the whole map", () => this.#map.home())));
  }

  /** Fade what neither the search nor the legend wants, and list the rest. */
  #filter() {
    const { count: all, labelOf } = this.#points;
    if (this.#query) this.#texts ??= this.#points.keys.map((key, n) => `${key}\n${this.#points.label(n)}`.toLowerCase());
    const bright = new Uint8Array(all);
    const found = [];
    for (let n = 0; n < all; n++) {
      if (this.#pressed.size && !this.#pressed.has(labelOf[n])) continue;
      if (this.#query && !this.#texts[n].includes(this.#query)) continue;
      bright[n] = 1;
      found.push(n);
    }
    this.#first = found[0] ?? null;
    this.#map.show(bright);
    this.#listing.show(found);
    const filtered = this.#query || this.#pressed.size;
    this.#status.textContent = filtered ? `${count(found.length)} of ${several(all, "photo")}` : "";
    if (this.#query) this.#listing.open();
  }

  /** Show photo n and its neighbours; null for none. `bring`: the map moves there. */
  async #choose(n, bring) {
    this.#chosen = n;
    if (n === null) {
      this.#panel.replaceChildren(...noneChosen());
      this.#map.choose(null, []);
      return;
    }
    const nearest = await this.#points.nearest(n);
    if (this.#chosen !== n) return; // another one was chosen while the neighbours were unpacked
    const withFocus = this.#panel.contains(document.activeElement);
    const close = () => {
      this.#choose(null, false);
      this.#map.element.focus();
    };
    this.#panel.replaceChildren(
      ...chosenPhoto(this.#points, this.#pictures, n, nearest, (other) => this.#choose(other, true), close));
    if (withFocus) this.#panel.querySelector("h3").focus();
    this.#map.choose(n, nearest.map((each) => each.n));
    if (bring) this.#map.bring(n);
    this.#spoken.textContent = `Chosen: ${this.#points.label(n)} ${this.#points.keys[n]}, ${several(nearest.length, "neighbour")}`;
  }
}

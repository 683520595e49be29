// The map: dots and what lies above them, moved by hand or by keys.

import { Camera } from "./camera.js";
import { CanvasDots } from "./dots_canvas.js";
import { el } from "./dom.js";
import { listen } from "./hands.js";
import { colours, marksOf } from "./marks.js";
import { Overlay } from "./overlay.js";
import { WebglDots } from "./dots_webgl.js";
import { file, labelled } from "./words.js";

const REACH = 14; // pixels between a pointer and what it points at
const FLIGHT = 350; // milliseconds

export class PhotoMap {
  #marks; // of each point
  #points;
  #pictures;
  #to;
  #camera;
  #dots;
  #overlay;
  #colours = colours();
  #canvases = el("div", { class: "canvases", "aria-hidden": "true" });
  #tip = el("div", { class: "tip", "aria-hidden": "true", hidden: true });
  #state = { withPictures: true, chosen: null, neighbours: [], aimed: null, cross: false };
  #frame = 0;
  #flight = null;
  #spoken = 0;

  /** Calls of `to`: choose(n or null), search(), escape(), speak(text). */
  constructor(points, pictures, to) {
    this.#points = points;
    this.#pictures = pictures;
    this.#to = to;
    const ofLabel = marksOf(points.about.labels);
    this.#marks = Uint8Array.from(points.labelOf, (label) => ofLabel[label]);
    this.#camera = new Camera(points.about.home, extent(points.xy));
    this.element = el("div", {
      class: "map", tabindex: 0, role: "application", "aria-roledescription": "map", "aria-label": "Map of the photos",
      "aria-describedby": "map-keys",
      on: { blur: () => this.#aim(null, false) },
    }, this.#canvases, this.#tip);
    this.#makeCanvases((canvas, lost) => new WebglDots(canvas, points, this.#marks, lost));
    this.show(new Uint8Array(points.count).fill(1));
    listen(this.element, this.#hands());
    new ResizeObserver(() => this.#resize()).observe(this.element);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
      this.#colours = colours();
      this.#request();
    });
  }

  /** Which points are seen well (not 0); the others fade. */
  show(bright) {
    const layer = (n) => (bright[n] ? (this.#marks[n] ? 2 : 1) : 0);
    const order = new Uint32Array(this.#points.count);
    let at = 0;
    let faded = 0;
    for (const wanted of [0, 1, 2]) {
      for (let n = 0; n < order.length; n++) if (layer(n) === wanted) order[at++] = n;
      if (wanted === 0) faded = at;
    }
    Object.assign(this.#state, { order, faded });
    this.#dots.arrange(order, faded);
    this.#request();
  }

  choose(chosen, neighbours) {
    Object.assign(this.#state, { chosen, neighbours });
    this.#request();
  }

  withPictures(on) {
    this.#state.withPictures = on;
    this.#request();
  }

  zoom(factor) {
    this.#camera.zoomBy(factor);
    this.#moved();
  }

  home() {
    this.#flight = null;
    this.#camera.goHome();
    this.#moved();
  }

  /** Move the map so that photo n is well inside it. */
  bring(n) {
    const camera = this.#camera;
    const [x, y] = [this.#points.xy[2 * n], this.#points.xy[2 * n + 1]];
    const [across, down] = camera.toScreen(x, y);
    const inside = (at, size) => at > 0.12 * size && at < 0.88 * size;
    if (inside(across, camera.width) && inside(down, camera.height)) return;
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) camera.lookAt(x, y, camera.zoom);
    else this.#flight = { from: [camera.x, camera.y], to: [x, y], since: performance.now() };
    this.#request();
  }

  #makeCanvases(makeDots) {
    let below = el("canvas");
    const above = el("canvas");
    try {
      this.#dots = makeDots(below, () => this.#lost());
    } catch {
      below = el("canvas"); // the other one may have a context already
      this.#dots = new CanvasDots(below, this.#points, this.#marks);
    }
    this.element.dataset.drawnBy = this.#dots instanceof CanvasDots ? "canvas" : "webgl2";
    this.#overlay = new Overlay(above, this.#points, this.#marks, this.#pictures, () => this.#request());
    this.#canvases.replaceChildren(below, above);
  }

  #lost() {
    this.#makeCanvases((canvas) => new CanvasDots(canvas, this.#points, this.#marks));
    this.#dots.arrange(this.#state.order, this.#state.faded);
    this.#resize();
  }

  #hands() {
    const pointed = (across, down) => {
      const n = this.#at(across, down);
      this.#aim(n, false);
      this.element.classList.toggle("on-photo", n !== null);
      return n;
    };
    return {
      pan: (across, down) => {
        this.#flight = null;
        this.#camera.pan(across, down);
        this.#moved();
      },
      zoom: (factor, across, down) => {
        this.#flight = null;
        this.#camera.zoomBy(factor, across, down);
        this.#moved();
      },
      click: (across, down) => this.#to.choose(pointed(across, down)),
      hover: pointed,
      leave: () => !this.#state.cross && this.#aim(null, false),
      byKey: () => (this.#state.cross = true),
      home: () => this.home(),
      choose: () => this.#state.aimed !== null && this.#to.choose(this.#state.aimed),
      search: () => this.#to.search(),
      escape: () => {
        this.#aim(null, false);
        this.#to.escape();
      },
    };
  }

  /** The map moved: what lies in its middle is aimed at where keys move it, else nothing is. */
  #moved() {
    const { width, height } = this.#camera;
    const aimed = this.#state.cross ? this.#nearest(width / 2, height / 2, Infinity) : null;
    this.#aim(aimed, this.#state.cross);
    if (aimed === null) return;
    clearTimeout(this.#spoken);
    const { keys } = this.#points;
    this.#spoken = setTimeout(() => this.#to.speak(`${labelled(this.#points.label(aimed))}, ${keys[aimed]}`), 300);
  }

  #aim(aimed, cross) {
    if (!cross) clearTimeout(this.#spoken);
    Object.assign(this.#state, { aimed, cross });
    this.#request();
  }

  #at(across, down) {
    const inside = (box) => across >= box.left && across <= box.right && down >= box.top && down <= box.bottom;
    return this.#overlay.drawn.findLast(inside)?.n ?? this.#nearest(across, down, REACH);
  }

  /** The bright point nearest to a pixel, at most `reach` pixels from it. */
  #nearest(across, down, reach) {
    const [x, y] = this.#camera.toMap(across, down);
    const { xy } = this.#points;
    const { order, faded } = this.#state;
    let best = (reach / this.#camera.scale) ** 2;
    let found = null;
    for (let at = faded; at < order.length; at++) {
      const n = order[at];
      const far = (xy[2 * n] - x) ** 2 + (xy[2 * n + 1] - y) ** 2;
      if (far <= best) [best, found] = [far, n];
    }
    return found;
  }

  #resize() {
    const dense = Math.min(2, window.devicePixelRatio || 1);
    const { clientWidth: width, clientHeight: height } = this.element;
    for (const canvas of this.#canvases.children) {
      canvas.width = Math.max(1, Math.round(width * dense));
      canvas.height = Math.max(1, Math.round(height * dense));
    }
    this.#camera.resize(width, height);
    this.#request();
  }

  #request() {
    this.#frame ||= requestAnimationFrame((now) => {
      this.#frame = 0;
      this.#draw(now);
    });
  }

  #draw(now) {
    if (this.#flight) this.#fly(now);
    const dense = Math.min(2, window.devicePixelRatio || 1);
    const few = Math.min(13, Math.max(4, 50 / this.#points.count ** 0.23));
    const diameter = few * Math.min(3, Math.max(1, this.#camera.zoom) ** 0.3);
    this.#dots.draw(this.#camera, this.#colours, diameter, dense);
    this.#overlay.draw(this.#camera, this.#colours, dense, this.#state);
    this.#showTip();
  }

  #fly(now) {
    const { from, to, since } = this.#flight;
    const share = Math.min(1, Math.max(0, (now - since) / FLIGHT));
    const eased = 1 - (1 - share) ** 3;
    const between = (n) => from[n] + (to[n] - from[n]) * eased;
    this.#camera.lookAt(between(0), between(1), this.#camera.zoom);
    if (share === 1) this.#flight = null;
    else this.#request();
  }

  #showTip() {
    const { aimed } = this.#state;
    const tip = this.#tip;
    tip.hidden = aimed === null;
    if (aimed === null) return;
    if (tip.dataset.shows !== String(aimed)) {
      const key = this.#points.keys[aimed];
      tip.dataset.shows = aimed;
      tip.replaceChildren(
        this.#pictures.element(aimed, 96),
        el("strong", {}, el("bdi", {}, labelled(this.#points.label(aimed)))),
        el("span", {}, el("bdi", {}, file(key))),
      );
    }
    const [across, down] = this.#camera.toScreen(this.#points.xy[2 * aimed], this.#points.xy[2 * aimed + 1]);
    const { width, height } = this.#camera;
    const left = across + 34 + tip.offsetWidth > width ? across - 34 - tip.offsetWidth : across + 34;
    const top = down - tip.offsetHeight / 2;
    tip.style.left = `${Math.max(4, Math.min(width - tip.offsetWidth - 4, left))}px`;
    tip.style.top = `${Math.max(4, Math.min(height - tip.offsetHeight - 4, top))}px`;
  }
}

/** [left, bottom, right, top] of all points. */
function extent(xy) {
  const box = [Infinity, Infinity, -Infinity, -Infinity];
  for (let at = 0; at < xy.length; at += 2) {
    box[0] = Math.min(box[0], xy[at]);
    box[1] = Math.min(box[1], xy[at + 1]);
    box[2] = Math.max(box[2], xy[at]);
    box[3] = Math.max(box[3], xy[at + 1]);
  }
  return xy.length ? box : [0, 0, 0, 0];
}

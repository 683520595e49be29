// Pictures: thumbnails, cut from sheets that are decoded when something on them is to be seen.

import { bytes } from "./packed.js";
import { el } from "./dom.js";

const MOST = 64; // decoded sheets, of 1 MB each

export class Pictures {
  #about;
  #sizes;
  #sheets = new Map(); // number -> its bitmap; the one used last is last
  #waiting = new Map(); // number -> what is to be done once it is decoded
  #used = new Set(); // by this frame

  constructor({ about, sizes }) {
    this.#about = about;
    this.#sizes = sizes;
  }

  has(n) {
    return this.#sizes[2 * n] > 0;
  }

  /** Before all pictures of one frame. */
  begin() {
    this.#used.clear();
  }

  /** Width and height of picture n where its longer side is `side`. */
  extent(n, side) {
    const [width, height] = [this.#sizes[2 * n], this.#sizes[2 * n + 1]];
    const scale = side / Math.max(width, height, 1);
    return [width * scale, height * scale];
  }

  /** Draw picture n with its middle at x, y; or call `later` when that can be done, if ever. */
  draw(context, n, x, y, side, later) {
    const { across, tile } = this.#about;
    const sheet = Math.floor(n / across ** 2);
    const bitmap = this.#bitmap(sheet, later);
    if (!bitmap) return;
    const at = n % across ** 2;
    const [width, height] = [this.#sizes[2 * n], this.#sizes[2 * n + 1]];
    const left = (at % across) * tile + Math.floor((tile - width) / 2);
    const top = Math.floor(at / across) * tile + Math.floor((tile - height) / 2);
    const [wide, high] = this.extent(n, side);
    context.drawImage(bitmap, left, top, width, height, x - wide / 2, y - high / 2, wide, high);
  }

  /** An element that shows picture n, at most `side` pixels wide and high; it says nothing by itself. */
  element(n, side) {
    if (!this.has(n)) return el("span", { class: "picture none" });
    const dense = Math.min(3, window.devicePixelRatio || 1);
    const [width, height] = this.extent(n, side);
    const canvas = el("canvas", { class: "picture", width: Math.round(width * dense), height: Math.round(height * dense) });
    canvas.style.aspectRatio = `${width} / ${height}`;
    canvas.style.width = `${width}px`;
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    this.begin();
    const show = () => this.draw(context, n, canvas.width / 2, canvas.height / 2, side * dense, show);
    show();
    return canvas;
  }

  #bitmap(sheet, later) {
    const bitmap = this.#sheets.get(sheet);
    if (bitmap) {
      this.#sheets.delete(sheet);
      this.#sheets.set(sheet, bitmap);
      this.#used.add(sheet);
    } else if (this.#used.size < MOST) {
      this.#used.add(sheet);
      if (!this.#waiting.has(sheet)) this.#decode(sheet);
      this.#waiting.get(sheet).add(later);
    }
    return bitmap;
  }

  async #decode(sheet) {
    this.#waiting.set(sheet, new Set());
    await new Promise((resolve) => setTimeout(resolve)); // not in the midst of a frame
    const bitmap = await createImageBitmap(new Blob([bytes(`sheet-${sheet}`)], { type: "image/webp" }));
    this.#sheets.set(sheet, bitmap);
    for (const [old, it] of this.#sheets) {
      if (this.#sheets.size <= MOST) break;
      if (!this.#used.has(old)) {
        this.#sheets.delete(old);
        it.close();
      }
    }
    const called = this.#waiting.get(sheet);
    this.#waiting.delete(sheet);
    for (const later of called) later();
  }
}

// The camera: which part of the map is seen. Pixels are those of CSS, from the upper left.

const FARTHEST = 0.5; // times the scale that shows the home
const NEAREST = 2000;
const MARGIN = 36; // pixels around the home

export class Camera {
  width = 1;
  height = 1;
  #home;
  #all;
  #atHome = true;

  /** `home` and `all`: [left, bottom, right, top], what is seen first and where there are points. */
  constructor(home, all) {
    this.#home = home;
    this.#all = all;
    this.goHome();
  }

  /** Pixels of one unit. */
  get scale() {
    return this.zoom * this.#homeScale;
  }

  get #homeScale() {
    const [left, bottom, right, top] = this.#home;
    const wide = Math.max(1, this.width - 2 * MARGIN) / (right - left || 1);
    const high = Math.max(1, this.height - 2 * MARGIN) / (top - bottom || 1);
    return Math.min(wide, high);
  }

  resize(width, height) {
    this.width = width;
    this.height = height;
    if (this.#atHome) this.goHome();
  }

  goHome() {
    const [left, bottom, right, top] = this.#home;
    this.zoom = 1;
    this.x = (left + right) / 2;
    this.y = (bottom + top) / 2;
    this.#atHome = true;
  }

  toScreen(x, y) {
    return [this.width / 2 + (x - this.x) * this.scale, this.height / 2 - (y - this.y) * this.scale];
  }

  toMap(across, down) {
    return [this.x + (across - this.width / 2) / this.scale, this.y - (down - this.height / 2) / this.scale];
  }

  /** Move by pixels, as a hand moves the map. */
  pan(across, down) {
    this.#moveTo(this.x - across / this.scale, this.y + down / this.scale);
  }

  /** What is at a pixel stays there. */
  zoomBy(factor, across = this.width / 2, down = this.height / 2) {
    const [x, y] = this.toMap(across, down);
    this.zoom = Math.min(NEAREST, Math.max(FARTHEST, this.zoom * factor));
    const [farX, farY] = this.toMap(across, down);
    this.#moveTo(this.x + x - farX, this.y + y - farY);
  }

  lookAt(x, y, zoom) {
    this.zoom = zoom;
    this.#moveTo(x, y);
  }

  #moveTo(x, y) {
    const [left, bottom, right, top] = this.#all;
    this.x = Math.min(right, Math.max(left, x));
    this.y = Math.min(top, Math.max(bottom, y));
    this.#atHome = false;
  }
}

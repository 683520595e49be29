// The overlay: what lies above the dots. Pictures where there is room, the chosen photo with lines to
// its neighbours, the photo pointed at, and the cross in the middle while keys move the map.

import { hueOf } from "./marks.js";

const ROOM = 58; // pixels between the middles of two pictures
const SIDE = 0.8; // of that, a picture's longer side
const NARROW = 500; // pixels of a map on which there is less room
const MOST = 400; // pictures at a time

export class Overlay {
  /** Pictures drawn last, the lowest first, each with its box. */
  drawn = [];
  #context;
  #points;
  #marks;
  #pictures;
  #later;
  #candidates = { level: null, order: null, found: [] };

  /** `later` asks for another frame, once a picture is there. */
  constructor(canvas, points, marks, pictures, later) {
    this.#context = canvas.getContext("2d");
    this.#points = points;
    this.#marks = marks;
    this.#pictures = pictures;
    this.#later = later;
  }

  draw(camera, colours, dense, { order, faded, withPictures, chosen, neighbours, aimed, cross }) {
    const context = this.#context;
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, camera.width, camera.height);
    this.drawn = [];
    this.#pictures.begin();
    if (withPictures) this.#drawPictures(camera, colours, order, faded);
    if (chosen !== null) this.#drawChosen(camera, colours, chosen, neighbours);
    if (aimed !== null) this.#ring(camera, aimed, colours.ink, 9, 2);
    if (cross) this.#drawCross(camera, colours);
  }

  #place(camera, n) {
    return camera.toScreen(this.#points.xy[2 * n], this.#points.xy[2 * n + 1]);
  }

  #drawPictures(camera, colours, order, faded) {
    const taken = [];
    const { xy } = this.#points;
    const room = camera.width < NARROW ? 0.7 * ROOM : ROOM;
    const [left, top] = camera.toMap(-room, -room);
    const [right, bottom] = camera.toMap(camera.width + room, camera.height + room);
    for (const n of this.#near(camera, room, order, faded)) {
      if (taken.length === MOST) break;
      if (xy[2 * n] < left || xy[2 * n] > right || xy[2 * n + 1] < bottom || xy[2 * n + 1] > top) continue;
      const [x, y] = this.#place(camera, n);
      if (taken.some(([a, b]) => Math.abs(a - x) < room && Math.abs(b - y) < room)) continue;
      taken.push([x, y]);
      this.#picture(n, x, y, SIDE * room, colours.hues[hueOf(this.#marks[n])], 2);
    }
  }

  /**
   * The points that may have a picture: of each square of the map the first. The squares keep their
   * size while one zooms by up to a half, so pictures stay where they are.
   */
  #near(camera, room, order, faded) {
    const level = Math.floor(2 * Math.log2(camera.scale / room));
    const known = this.#candidates;
    if (known.level === level && known.order === order) return known.found;
    const square = 2 ** (-level / 2);
    const { xy } = this.#points;
    const first = new Map();
    for (let at = faded; at < order.length; at++) {
      const n = order[at];
      if (!this.#pictures.has(n)) continue;
      const key = Math.floor(xy[2 * n] / square) * 4194304 + Math.floor(xy[2 * n + 1] / square);
      if (!(first.get(key) <= n)) first.set(key, n);
    }
    const found = [...first.values()].sort((a, b) => a - b);
    this.#candidates = { level, order, found };
    return found;
  }

  #picture(n, x, y, side, colour, border) {
    const [width, height] = this.#pictures.extent(n, side);
    const box = [x - width / 2 - border, y - height / 2 - border, width + 2 * border, height + 2 * border];
    const context = this.#context;
    context.fillStyle = colour;
    context.beginPath();
    context.roundRect(...box, 3);
    context.fill();
    this.#pictures.draw(context, n, x, y, side, this.#later);
    this.drawn.push({ n, left: box[0], top: box[1], right: box[0] + box[2], bottom: box[1] + box[3] });
  }

  #drawChosen(camera, colours, chosen, neighbours) {
    const context = this.#context;
    const from = this.#place(camera, chosen);
    context.strokeStyle = colours.ink;
    context.lineWidth = 1;
    context.globalAlpha = 0.55;
    context.beginPath();
    for (const n of neighbours) {
      context.moveTo(...from);
      context.lineTo(...this.#place(camera, n));
    }
    context.stroke();
    context.globalAlpha = 1;
    for (const n of [...neighbours].reverse()) {
      if (this.#pictures.has(n)) this.#picture(n, ...this.#place(camera, n), 34, colours.ink, 1.5);
      else this.#ring(camera, n, colours.ink, 6, 1.5);
    }
    if (this.#pictures.has(chosen)) this.#picture(chosen, ...from, 64, colours.accent, 4);
    else this.#ring(camera, chosen, colours.accent, 9, 4);
  }

  #ring(camera, n, colour, radius, width) {
    const context = this.#context;
    const box = this.drawn.findLast((each) => each.n === n);
    context.strokeStyle = colour;
    context.lineWidth = width;
    context.beginPath();
    if (box) context.roundRect(box.left - 1, box.top - 1, box.right - box.left + 2, box.bottom - box.top + 2, 4);
    else context.arc(...this.#place(camera, n), radius, 0, 2 * Math.PI);
    context.stroke();
  }

  #drawCross({ width, height }, { ink }) {
    const context = this.#context;
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.beginPath();
    for (const [x, y] of [[1, 0], [0, 1]]) {
      for (const side of [-1, 1]) {
        context.moveTo(width / 2 + side * x * 5, height / 2 + side * y * 5);
        context.lineTo(width / 2 + side * x * 14, height / 2 + side * y * 14);
      }
    }
    context.stroke();
  }
}

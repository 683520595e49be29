// Dots without WebGL: each is stamped onto the canvas, which looks the same but is slower. Of many, each
// is a small square.

import { MARKS, hueOf, shapeOf } from "./marks.js";

const MANY = 8000; // dots that are stamped at most

export class CanvasDots {
  #context;
  #points;
  #marks;
  #order = new Uint32Array(0);
  #faded = 0;

  constructor(canvas, points, marks) {
    this.#context = canvas.getContext("2d");
    this.#points = points;
    this.#marks = marks;
  }

  /** See WebglDots. */
  arrange(order, faded) {
    this.#order = order;
    this.#faded = faded;
  }

  draw(camera, colours, diameter, dense) {
    const { canvas } = this.#context;
    const side = Math.ceil((diameter + 1) * dense);
    const stamps = Array.from({ length: MARKS + 1 }, (_, mark) => stamp(mark, colours, side));
    this.#context.clearRect(0, 0, canvas.width, canvas.height);
    this.#context.globalAlpha = 0.18;
    this.#stamp(camera, stamps, side, dense, 0, this.#faded);
    this.#context.globalAlpha = 0.9;
    this.#stamp(camera, stamps, side, dense, this.#faded, this.#order.length);
  }

  #stamp(camera, stamps, side, dense, from, to) {
    const { xy } = this.#points;
    const { width, height } = this.#context.canvas;
    const scale = camera.scale * dense;
    const left = (width - side) / 2 - camera.x * scale;
    const top = (height - side) / 2 + camera.y * scale;
    const many = to - from > MANY;
    let filled = null;
    for (let at = from; at < to; at++) {
      const n = this.#order[at];
      const x = left + xy[2 * n] * scale;
      const y = top - xy[2 * n + 1] * scale;
      if (x < -side || y < -side || x > width || y > height) continue;
      const { image, colour } = stamps[this.#marks[n]];
      if (!many) {
        this.#context.drawImage(image, x | 0, y | 0);
        continue;
      }
      if (colour !== filled) this.#context.fillStyle = filled = colour;
      this.#context.fillRect(x | 0, y | 0, side - 1, side - 1);
    }
  }
}

function stamp(mark, { hues, paper }, side) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = side;
  const context = canvas.getContext("2d");
  const middle = side / 2;
  const shape = new Path2D();
  if (shapeOf(mark)) {
    for (const [x, y] of [[0, -1], [1, 0], [0, 1], [-1, 0]]) {
      shape.lineTo(middle + x * (middle - 0.5), middle + y * (middle - 0.5));
    }
    shape.closePath();
  } else {
    shape.arc(middle, middle, Math.max(0.5, middle - 0.5), 0, 2 * Math.PI);
  }
  context.fillStyle = hues[hueOf(mark)];
  context.fill(shape);
  context.strokeStyle = paper;
  context.lineWidth = 0.75;
  context.stroke(shape);
  return { image: canvas, colour: hues[hueOf(mark)] };
}

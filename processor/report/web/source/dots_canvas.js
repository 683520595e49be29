// Dots without WebGL: each is stamped onto the canvas, which looks the same. Of many, the pixels are set
// one by one, without rims and soft edges: only so is a frame of 50,000 ready in time.

import { MARKS, hueOf, rgb, shapeOf } from "./marks.js";

const MANY = 8000; // dots that are stamped at most
const FAINT = 0.18;
const BRIGHT = 0.9;

export class CanvasDots {
  #context;
  #points;
  #marks;
  #order = new Uint32Array(0);
  #faded = 0;
  #image = null;

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
    const side = Math.ceil((diameter + 1) * dense);
    if (this.#order.length > MANY) this.#set(camera, colours, side, dense);
    else this.#stamp(camera, colours, side, dense);
  }

  #stamp(camera, colours, side, dense) {
    const context = this.#context;
    const stamps = Array.from({ length: MARKS + 1 }, (_, mark) => stamp(mark, colours, side));
    context.clearRect(0, 0, context.canvas.width, context.canvas.height);
    const layer = (opacity, from, to) => {
      context.globalAlpha = opacity;
      this.#each(camera, side, dense, from, to, (mark, x, y) => context.drawImage(stamps[mark], x, y));
    };
    layer(FAINT, 0, this.#faded);
    layer(BRIGHT, this.#faded, this.#order.length);
  }

  #set(camera, { hues }, side, dense) {
    const { width, height } = this.#context.canvas;
    const across = width + 2 * side; // with a margin, so that dots at the edge need no clipping
    const image = this.#imageOf(across, height + 2 * side);
    const pixels = new Uint32Array(image.data.buffer).fill(0);
    const shapes = [0, 1].map((shape) => offsets(shape, side - 1, across));
    const layer = (opacity, from, to) => {
      const inks = Array.from({ length: MARKS + 1 }, (_, mark) => ink(hues[hueOf(mark)], opacity));
      this.#each(camera, side, dense, from, to, (mark, x, y) => {
        const first = (y + side) * across + x + side;
        const colour = inks[mark];
        for (const offset of shapes[shapeOf(mark)]) pixels[first + offset] = colour;
      });
    };
    layer(FAINT, 0, this.#faded);
    layer(BRIGHT, this.#faded, this.#order.length);
    this.#context.putImageData(image, -side, -side);
  }

  /** Call draw(mark, x, y) with the upper left corner of each dot that can be seen, in whole pixels. */
  #each(camera, side, dense, from, to, draw) {
    const { xy } = this.#points;
    const { width, height } = this.#context.canvas;
    const scale = camera.scale * dense;
    const left = (width - side) / 2 - camera.x * scale;
    const top = (height - side) / 2 + camera.y * scale;
    for (let at = from; at < to; at++) {
      const n = this.#order[at];
      const x = left + xy[2 * n] * scale;
      const y = top - xy[2 * n + 1] * scale;
      if (x >= -side && y >= -side && x <= width && y <= height) draw(this.#marks[n], x | 0, y | 0);
    }
  }

  #imageOf(width, height) {
    if (this.#image?.width !== width || this.#image.height !== height) this.#image = new ImageData(width, height);
    return this.#image;
  }
}

/** Where the pixels of a shape are from its upper left corner, in an image of so many pixels across. */
function offsets(shape, side, across) {
  const found = [];
  const far = (n) => Math.abs((2 * n + 1) / side - 1);
  for (let y = 0; y < side; y++) {
    for (let x = 0; x < side; x++) {
      const inside = shape ? far(x) + far(y) <= 1 : Math.hypot(far(x), far(y)) <= 1;
      if (inside) found.push(y * across + x);
    }
  }
  return Int32Array.from(found);
}

/** A pixel of an ImageData as a number; all machines that browsers run on are little-endian. */
function ink(colour, opacity) {
  const [red, green, blue] = rgb(colour);
  return ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
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
  return canvas;
}

// Packed data: blocks of text in the page, read when they are first needed.

const text = (name) => document.getElementById(`data-${name}`).textContent;

/** What the page is about: the summary, and what is to be known of the points beforehand. */
export const shown = () => JSON.parse(text("shown"));

/** The bytes of a block in base64. */
export function bytes(name) {
  const packed = atob(text(name));
  const unpacked = new Uint8Array(packed.length);
  for (let n = 0; n < packed.length; n++) unpacked[n] = packed.charCodeAt(n);
  return unpacked;
}

async function column(name) {
  const stream = new Blob([bytes(name)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(stream).arrayBuffer();
}

const NO_COSINE = -32768;
const COSINES = 10000; // steps to 1

/** The photos on the map; number n has its place in every column. */
export class Points {
  #nearest;

  static async read(about) {
    const [keys, labels, xy, sizes] = await Promise.all(["keys", "labels", "xy", "sizes"].map(column));
    return new Points(about, JSON.parse(new TextDecoder().decode(keys)), labels, xy, sizes);
  }

  constructor(about, keys, labels, xy, sizes) {
    this.about = about;
    this.count = about.count;
    this.keys = keys;
    this.labelOf = new Int32Array(labels);
    this.xy = new Float32Array(xy);
    this.sizes = new Uint8Array(sizes);
  }

  label(n) {
    return this.about.labels[this.labelOf[n]];
  }

  /** The photos nearest to photo n by their features, as { n, cosine }, the nearest first. */
  async nearest(n) {
    this.#nearest ??= Promise.all([column("neighbours"), column("cosines")]);
    const [packed, steps] = await this.#nearest;
    const neighbours = new Int32Array(packed);
    const cosines = new Int16Array(steps);
    const each = neighbours.length / this.count;
    const found = [];
    for (let at = n * each; at < (n + 1) * each; at++) {
      const cosine = cosines[at] === NO_COSINE ? null : cosines[at] / COSINES;
      if (neighbours[at] >= 0) found.push({ n: neighbours[at], cosine });
    }
    return found;
  }
}

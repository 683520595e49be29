// Dots by WebGL2: one draw call for those that are faded, one for the others.

import { bindFramebufferInfo, createBufferInfoFromArrays, createProgramInfo, drawBufferInfo, setBuffersAndAttributes, setUniforms } from "twgl.js";
import { HUES, rgb } from "./marks.js";

const SOFTWARE = /swiftshader|llvmpipe|softpipe|software|basic render/i;

const VERTEX = `#version 300 es
in vec2 position;
in float mark;
uniform vec2 centre;
uniform vec2 scale;
uniform float size;
uniform vec3 hues[${HUES + 1}];
flat out vec3 colour;
flat out int shape;
void main() {
  int number = int(mark);
  gl_Position = vec4((position - centre) * scale, 0.0, 1.0);
  gl_PointSize = size;
  colour = hues[number == 0 ? 0 : 1 + (number - 1) % ${HUES}];
  shape = number == 0 ? 0 : (number - 1) / ${HUES};
}`;

const FRAGMENT = `#version 300 es
precision highp float;
flat in vec3 colour;
flat in int shape;
uniform float size;
uniform float opacity;
uniform vec3 paper;
out vec4 drawn;
void main() {
  vec2 at = abs(gl_PointCoord * 2.0 - 1.0);
  float inside = (1.0 - (shape == 0 ? length(at) : at.x + at.y)) * size / 2.0; // pixels from the edge
  vec3 rimmed = mix(paper, colour, clamp(inside - 0.5, 0.0, 1.0));
  drawn = vec4(rimmed, 1.0) * clamp(inside, 0.0, 1.0) * opacity;
}`;

/**
 * Raises an error where no GPU draws WebGL2: a processor is five times as fast with CanvasDots. `lost` is called when
 * the browser takes it away.
 */
export class WebglDots {
  #gl;
  #program;
  #buffers;
  #order = new Uint32Array(0);
  #faded = 0;

  constructor(canvas, points, marks, lost) {
    const gl = canvas.getContext("webgl2", { antialias: false, failIfMajorPerformanceCaveat: true });
    if (!gl || SOFTWARE.test(renderer(gl))) throw new Error("no WebGL2 by a GPU");
    this.#gl = gl;
    canvas.addEventListener("webglcontextlost", lost, { once: true });
    this.#program = createProgramInfo(gl, [VERTEX, FRAGMENT]);
    this.#buffers = createBufferInfoFromArrays(gl, {
      position: { numComponents: 2, data: points.xy },
      mark: { numComponents: 1, data: marks, normalize: false },
      indices: { numComponents: 1, data: new Uint32Array(points.count) },
    });
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
  }

  /** Which dots are drawn, the lowest first; the first `faded` of them faintly. */
  arrange(order, faded) {
    this.#order = order;
    this.#faded = faded;
    const gl = this.#gl;
    gl.bindVertexArray(null);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.#buffers.indices);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.DYNAMIC_DRAW);
  }

  draw(camera, { hues, paper }, diameter, dense) {
    const gl = this.#gl;
    bindFramebufferInfo(gl); // the canvas, in its present size
    gl.clear(gl.COLOR_BUFFER_BIT);
    gl.useProgram(this.#program.program);
    setBuffersAndAttributes(gl, this.#program, this.#buffers);
    const uniforms = {
      centre: [camera.x, camera.y],
      scale: [(2 * camera.scale) / camera.width, (2 * camera.scale) / camera.height],
      size: (diameter + 1) * dense,
      hues: hues.flatMap(parts),
      paper: parts(paper),
    };
    const bright = this.#order.length - this.#faded;
    setUniforms(this.#program, { ...uniforms, opacity: 0.18 });
    if (this.#faded) drawBufferInfo(gl, this.#buffers, gl.POINTS, this.#faded, 0);
    setUniforms(this.#program, { opacity: 0.9 });
    if (bright) drawBufferInfo(gl, this.#buffers, gl.POINTS, bright, 4 * this.#faded);
  }
}

/** What draws, by name. Chromium's own caveat does not cover SwiftShader; it alone hides the name. */
function renderer(gl) {
  const name = gl.getParameter(gl.RENDERER);
  const hidden = name === "WebKit WebGL" && gl.getExtension("WEBGL_debug_renderer_info");
  return hidden ? gl.getParameter(hidden.UNMASKED_RENDERER_WEBGL) : name;
}

/** A colour as three numbers from 0 to 1. */
const parts = (colour) => rgb(colour).map((each) => each / 255);

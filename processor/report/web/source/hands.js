// Hands: pointers, the wheel and keys on the map, as calls.

const CLICK = 6; // pixels that a pointer may move in a click
const STEP = 60; // pixels that an arrow moves the map
const KEYS = {
  ArrowLeft: ["pan", STEP, 0],
  ArrowRight: ["pan", -STEP, 0],
  ArrowUp: ["pan", 0, STEP],
  ArrowDown: ["pan", 0, -STEP],
  "+": ["zoom", 1.4],
  "=": ["zoom", 1.4],
  "-": ["zoom", 1 / 1.4],
  _: ["zoom", 1 / 1.4],
  0: ["home"],
  Home: ["home"],
  Enter: ["choose"],
  " ": ["choose"],
  "/": ["search"],
  Escape: ["escape"],
};

/**
 * Calls of `to`: pan(across, down), zoom(factor, across, down), click(across, down), hover(across, down),
 * leave(); and, by keys, pan, zoom, home, choose, search and escape, after byKey().
 */
export function listen(element, to) {
  const down = new Map(); // pointers on the map: id -> [across, down]
  let travelled = 0;

  const place = (event) => {
    const box = element.getBoundingClientRect();
    return [event.clientX - box.left - element.clientLeft, event.clientY - box.top - element.clientTop];
  };
  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    if (!down.size) travelled = 0;
    down.set(event.pointerId, place(event));
    element.setPointerCapture(event.pointerId);
  });
  element.addEventListener("pointermove", (event) => {
    const now = place(event);
    const before = down.get(event.pointerId);
    if (!before) {
      if (event.pointerType !== "touch") to.hover(...now);
      return;
    }
    travelled += Math.hypot(now[0] - before[0], now[1] - before[1]);
    const other = [...down].find(([id]) => id !== event.pointerId)?.[1];
    down.set(event.pointerId, now);
    if (other) pinch(to, before, now, other);
    else if (travelled > CLICK) to.pan(now[0] - before[0], now[1] - before[1]);
  });
  element.addEventListener("pointerup", (event) => {
    const alone = down.delete(event.pointerId) && !down.size;
    if (alone && travelled <= CLICK) to.click(...place(event));
  });
  element.addEventListener("pointercancel", (event) => down.delete(event.pointerId));
  element.addEventListener("pointerleave", () => to.leave());
  element.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === WheelEvent.DOM_DELTA_LINE ? 20 : 1;
    const turned = Math.max(-100, Math.min(100, event.deltaY * lines));
    to.zoom(Math.exp(-turned * (event.ctrlKey ? 0.01 : 0.002)), ...place(event));
  }, { passive: false });
  element.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const [name, ...rest] = KEYS[event.key] ?? [];
    if (!name) return;
    event.preventDefault();
    to.byKey();
    to[name](...rest);
  });
}

/** One of two fingers moved, the other stayed: their middle moves, their distance zooms. */
function pinch(to, before, now, other) {
  const apart = (finger) => Math.max(10, Math.hypot(finger[0] - other[0], finger[1] - other[1]));
  to.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
  to.zoom(apart(now) / apart(before), (now[0] + other[0]) / 2, (now[1] + other[1]) / 2);
}

// The faults of the slide that is shown, as strings; see legibility.py. A line of words is a rectangle: of a text
// node each of its lines, without the leading.
([least, edge]) => {
  const slide = document.querySelector("svg.bespoke-marp-active section");
  const box = slide.getBoundingClientRect();
  const faults = [], lines = [];
  const walker = document.createTreeWalker(slide, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode()); ) {
    const words = node.textContent.trim(), parent = node.parentElement;
    if (!words || parent.closest("title")) continue;
    const pixels = parseFloat(getComputedStyle(parent).fontSize) *
      (parent instanceof SVGElement ? parent.getScreenCTM().a : 1);
    if (pixels < least - 0.01) faults.push(`${pixels.toFixed(1)} pixels are too small: ${words}`);
    const range = document.createRange();
    range.selectNodeContents(node);
    for (const { left, right, top, bottom } of range.getClientRects()) {
      const leading = Math.max(0, (bottom - top - 0.75 * pixels) / 2);
      const line = { words, left, right, top: top + leading, bottom: bottom - leading };
      if (left < box.left + edge || right > box.right - edge || line.top < box.top + edge ||
          line.bottom > box.bottom - edge) faults.push(`outside the slide: ${words}`);
      lines.push(line);
    }
  }
  const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1 &&
    Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
  lines.forEach((a, n) => lines.slice(0, n).forEach((b) => {
    if (meet(a, b)) faults.push(`words meet: ${b.words} / ${a.words}`);
  }));
  const filled = (each) => each.tagName === "rect" || getComputedStyle(each).backgroundColor !== "rgba(0, 0, 0, 0)";
  const boxes = [...slide.querySelectorAll("svg rect[rx], li, td")].filter(filled)
    .map((each) => each.getBoundingClientRect());
  for (const line of lines) {
    const y = (line.top + line.bottom) / 2;
    for (const { left, right, top, bottom } of boxes)
      if (top < y && y < bottom && line.left < right && line.right > left &&
          (line.left < left + 4 || line.right > right - 4 || line.bottom > bottom))
        faults.push(`beyond its box: ${line.words}`);
  }
  for (const each of slide.querySelectorAll("img")) {
    if (!each.naturalWidth) faults.push(`no picture: ${each.alt}`);
    const picture = each.getBoundingClientRect();
    if (picture.top < box.top - 1 || picture.bottom > box.bottom + 1 || picture.right > box.right + 1)
      faults.push(`outside the slide: ${each.alt}`);
    if (lines.some((line) => meet(line, picture))) faults.push(`words over the picture: ${each.alt}`);
  }
  return [...new Set(faults)];
}

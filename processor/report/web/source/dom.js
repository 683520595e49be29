// Elements of the page, made without HTML: a text becomes a text node, whatever is in it.

const SVG = "http://www.w3.org/2000/svg";

/** An HTML element. `on` holds listeners; false, null and undefined are no children and no attributes. */
export function el(name, attributes = {}, ...children) {
  return filled(document.createElement(name), attributes, children);
}

/** An SVG element, in the same way. */
export function svg(name, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, name), attributes, children);
}

function filled(element, { on = {}, ...attributes }, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  for (const [type, listener] of Object.entries(on)) element.addEventListener(type, listener);
  element.append(...children.flat(Infinity).filter((child) => child !== false && child != null));
  return element;
}

/** A table in a box that scrolls by itself. `columns`: heads, each [text, is a number]. */
export function table(caption, columns, rows) {
  const cell = (name, content, n) => el(name, { class: columns[n][1] && "number" }, content);
  const head = columns.map(([text, isNumber]) => el("th", { scope: "col", class: isNumber && "number" }, text));
  return el("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": caption },
    el("table", {},
      el("caption", { class: "unseen" }, caption),
      el("thead", {}, el("tr", {}, head)),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((content, n) => cell("td", content, n)))))));
}

// The sections around the map: what is in the store, as figures, charts and tables.

import { storedChart, varianceChart } from "./charts.js";
import { el, table } from "./dom.js";
import { count, labelled, percent, several, time } from "./words.js";

const FIRST = 20; // rows of a long table; the others on request

/** The figures on top: [figure, what it counts]. */
export function figures(summary) {
  const of = (groups) => groups.reduce((sum, group) => sum + group.photos, 0);
  const kept = summary.variance.reduce((sum, share) => sum + share, 0);
  const tiles = [
    [count(summary.photos), summary.photos === 1 ? "photo" : "photos", null],
    [count(summary.kinds), summary.kinds === 1 ? "label" : "labels", null],
    [count(of(summary.rejects)), "rejected", of(summary.rejects) ? "#refused" : null],
    [count(of(summary.pending)), "waiting", of(summary.pending) ? "#refused" : null],
    summary.variance.length && [percent(kept), `of the variance in ${several(summary.variance.length, "component")}`, "#variance"],
  ];
  return el("dl", { class: "figures" }, tiles.filter(Boolean).map(([figure, what, link]) =>
    el("div", {}, el("dt", {}, link ? el("a", { href: link }, what) : what), el("dd", {}, figure))));
}

export function variance({ variance: shares }) {
  if (!shares.length) return section("variance", "Explained variance", nothing("No PCA has been fitted yet."));
  const sum = (many) => many.reduce((all, share) => all + share, 0);
  return section("variance", "Explained variance",
    el("p", {}, `${several(shares.length, "component")} ${shares.length === 1 ? "keeps" : "keep"} ${percent(sum(shares))} of the variance. The map shows the first two, ${percent(sum(shares.slice(0, 2)))}: photos that lie apart differ, those that lie together need not be alike.`),
    varianceChart(shares),
    el("p", { class: "note" }, "Bars: each component. Line: all up to it."));
}

export function stored({ stored: hours }) {
  if (!hours.length) return section("stored", "Photos stored", nothing("None yet."));
  const { drawing, unit, most } = storedChart(hours);
  const all = hours.reduce((sum, [, photos]) => sum + photos, 0);
  return section("stored", `Photos stored per ${unit}`,
    el("p", {}, `${several(all, "photo")} in this time, at most ${count(most)} in one ${unit}; times are UTC.`), drawing);
}

export function fits({ fits: all, captured }) {
  const drift = captured === null
    ? "How well the components still fit today's photos is not known."
    : `The components in use capture ${percent(captured, 2)} of what the best ones would of today's photos.`;
  const rows = all.map((fit) => [
    time(fit.at), count(fit.photos), count(fit.components),
    fit.moved === null ? "–" : percent(fit.moved, 2), fit.why, el("code", {}, fit.name)]);
  const columns = [["Fitted", false], ["Photos", true], ["Components", true], ["Moved", true], ["Because", false], ["Model", false]];
  return section("fits", "Drift and fits", el("p", {}, drift),
    all.length ? long("PCA models, the newest first", columns, rows) : nothing("No model yet."),
    all.length > 0 && el("p", { class: "note" }, "Moved: how far old photos' coordinates changed from the model before, of their length."));
}

export function refused({ rejects, pending }) {
  const kinds = [["Rejected, because of what is in their bytes", rejects], ["Waiting, to be tried again", pending]];
  return section("refused", "Photos without a row", kinds.map(([title, groups]) => [
    el("h3", {}, title),
    groups.length ? groups.map(reason) : nothing("None."),
  ]));
}

function reason({ reason: name, photos, advice, examples }) {
  return el("details", { class: "reason" },
    el("summary", {}, el("code", {}, name), el("span", { class: "count" }, several(photos, "photo")),
      el("span", { class: "note" }, advice)),
    el("dl", { class: "examples" }, examples.map(([key, detail]) =>
      el("div", {}, el("dt", {}, el("bdi", { class: "key" }, key)), el("dd", {}, el("bdi", {}, detail))))));
}

export function labels({ labels: all, kinds, photos }) {
  if (!kinds) {
    return section("labels", "Labels", nothing("No photo has one: a label is the name of the folder that a photo is in."));
  }
  const most = all.reduce((highest, [, each]) => Math.max(highest, each), 1);
  const meter = (each) => {
    const filled = el("span", { class: "filled" });
    filled.style.width = `${(100 * each) / most}%`;
    return el("span", { class: "meter", "aria-hidden": "true" }, filled);
  };
  const rows = all.map(([name, each]) => [
    el("bdi", {}, labelled(name)), count(each), percent(each / Math.max(1, photos)), meter(each)]);
  return section("labels", "Labels", long("Labels and their photos, the most frequent first", [["Label", false], ["Photos", true], ["Share", true], ["", false]], rows),
    kinds > all.length && el("p", { class: "note" }, `Of ${several(kinds, "label")} these have the most photos.`));
}

export function versions({ network, versions: all }) {
  return section("versions", "What made it", el("dl", { class: "versions" },
    [["network", network], ...all].map(([name, version]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, el("code", {}, version))))));
}

/** A table whose first rows are seen, the others once asked for. */
function long(caption, columns, rows) {
  const box = el("div", {}, table(caption, columns, rows.slice(0, FIRST)));
  if (rows.length > FIRST) {
    const more = el("button", { type: "button", class: "quiet" }, `Show all ${count(rows.length)}`);
    more.addEventListener("click", () => {
      box.replaceChildren(table(caption, columns, rows));
      box.firstElementChild.focus();
    });
    box.append(more);
  }
  return box;
}

export function section(id, title, ...children) {
  return el("section", { id, class: "card", "aria-labelledby": `${id}-title` }, el("h2", { id: `${id}-title` }, title), children);
}

export const nothing = (text) => el("p", { class: "note" }, text);

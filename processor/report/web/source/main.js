// The page: reads what it is about, shows the figures at once and the map as soon as it is unpacked.

import { el } from "./dom.js";
import { Explorer } from "./explorer.js";
import { Points, shown } from "./packed.js";
import { figures, fits, labels, nothing, refused, section, stored, variance, versions } from "./sections.js";
import { count, several, time } from "./words.js";

const { summary, points } = shown();
const box = el("div", { class: "unpacked" });

document.body.append(
  el("a", { class: "skip", href: "#variance" }, "Skip the map"),
  el("header", {},
    el("div", {},
      el("h1", {}, "Photos as VGG-16 sees them"),
      el("p", {}, el("bdi", {}, summary.bucket), ` · ${time(summary.at)}`)),
    figures(summary)),
  el("main", {},
    section("map", "Map", el("p", {}, explanation()), box),
    el("div", { class: "pair" }, variance(summary), stored(summary)),
    fits(summary), refused(summary), labels(summary), versions(summary)));

function explanation() {
  if (!points.count) return "";
  const each = "Each photo is where the first two principal components of its features put it.";
  if (points.population <= points.count) return each;
  return `${each} This is a sample: ${count(points.count)} of ${several(points.population, "photo")}.`;
}

async function unpack() {
  if (!points.count) {
    box.append(nothing("No photo has coordinates yet: they come with the first refit."));
    return;
  }
  box.append(nothing("Unpacking…"));
  try {
    box.replaceChildren(new Explorer(await Points.read(points)).element);
  } catch (error) {
    box.replaceChildren(nothing(`The map needs a newer browser: ${error.message}`));
    throw error;
  }
}

unpack();

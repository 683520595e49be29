// How Marp makes a self-contained page of a presentation: the theme with its typeface, and every picture inside it.
import { readFileSync } from "node:fs";

const DOCS = new URL("../docs/", import.meta.url);
const FONT = new URL(
  "node_modules/@fontsource-variable/source-sans-3/files/source-sans-3-latin-wght-normal.woff2",
  import.meta.url,
);
const TYPES = { jpg: "image/jpeg", png: "image/png", woff2: "font/woff2" };

const inside = (url) => {
  const type = TYPES[url.pathname.split(".").pop()];
  return `data:${type};base64,${readFileSync(url).toString("base64")}`;
};

// A diagram has English words; data-fr has what a French slide says instead.
const translated = (svg, language) =>
  svg.replace(/ data-fr="([^"]*)"([^>]*)>[^<]*</g, (whole, french, rest) =>
    language === "fr" ? `${rest}>${french}<` : whole,
  );

const pictures = (md) => {
  md.core.ruler.push("language", (state) => {
    state.env.language = /^lang: *(\w+)$/m.exec(state.src)?.[1] ?? "en";
  });
  md.renderer.rules.image = (tokens, index, options, env) => {
    const url = new URL(tokens[index].attrGet("src"), DOCS);
    const words = md.utils.escapeHtml(tokens[index].content);
    if (!url.pathname.endsWith(".svg")) return `<img src="${inside(url)}" alt="${words}">`;
    const svg = translated(readFileSync(url, "utf8"), env.language);
    return svg.replace("<svg ", `<svg role="img" aria-label="${words}" `);
  };
};

export default {
  html: false,
  allowLocalFiles: true,
  bespoke: { osc: false }, // keys and swipes turn the pages; buttons would lie over the source of the figures
  options: { inlineSVG: true, script: false },
  engine: ({ marp }) => {
    const theme = readFileSync(new URL("theme.css", import.meta.url), "utf8");
    marp.themeSet.add(theme.replace("FONT", inside(FONT)));
    return marp.use(pictures);
  },
};

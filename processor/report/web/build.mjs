// The build: the script and the style sheet that the page embeds, with the licences of what is in them.
// `./run page` calls it in a folder with the packages of package-lock.json; the same packages give the
// same bytes.
import { readFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const target = process.argv[2];
const { dependencies } = JSON.parse(readFileSync("package.json"));
const licences = Object.entries(dependencies)
  .map(([name, version]) => {
    const folder = join("node_modules", name);
    const text = readFileSync(join(folder, "LICENSE.md"), "utf8").trim();
    return `${name} ${version}\n\n${text}\n`;
  })
  .join("\n");

const common = {
  bundle: true,
  minify: true,
  charset: "ascii",
  legalComments: "none", // the banner has all of them
  target: ["chrome90", "firefox113", "safari16.4"],
  write: false,
};
const script = await build({
  ...common,
  entryPoints: ["source/main.js"],
  format: "iife",
  banner: { js: `/*! Contains:\n${licences}*/` },
});
const style = await build({ ...common, entryPoints: ["source/page.css"] });

mkdirSync(target, { recursive: true });
writeFileSync(join(target, "page.js"), script.outputFiles[0].contents);
writeFileSync(join(target, "page.css"), style.outputFiles[0].contents);
writeFileSync(join(target, "LICENCES.txt"), licences);

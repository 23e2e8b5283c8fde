// Builds a folder of pages: scripts and styles without their comments and line ends, a hash of the content in each name.
//
//   node build.mjs SOURCE OUT
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";

const [source, out] = process.argv.slice(2);
rmSync(out, { recursive: true, force: true });
mkdirSync(join(out, "assets"), { recursive: true });

const small = (text) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line && !line.startsWith("//") && !line.startsWith("/*"))
    .join("");

let page = readFileSync(join(source, "index.html"), "utf8");
for (const name of readdirSync(source)) {
  const end = extname(name);
  if (end !== ".js" && end !== ".css") continue;
  const text = small(readFileSync(join(source, name), "utf8"));
  const hash = createHash("sha256").update(text).digest("hex").slice(0, 12);
  const named = `assets/${name.slice(0, -end.length)}.${hash}${end}`;
  writeFileSync(join(out, named), text);
  page = page.replaceAll(name, named);
}
writeFileSync(join(out, "index.html"), page);

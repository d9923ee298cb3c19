// Makes built/page.html, the one file that is the live page, and built/page.inc, what the server must know of it.
// Same sources, same bytes: tests/page/bundle_test.py checks both without npm, and with it that a build gives them again.
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import esbuild from "esbuild";

const here = dirname(fileURLToPath(import.meta.url));
const out = process.argv[2] ?? join(here, "built");

function files(folder) {
  return readdirSync(folder, { withFileTypes: true }).flatMap((e) => (e.isDirectory() ? files(join(folder, e.name)) : [join(folder, e.name)]));
}
// Of everything that the result depends on: names and contents, sorted by name.
function sourcesDigest() {
  const all = [...files(join(here, "src")), ...["build.mjs", "package.json", "package-lock.json"].map((n) => join(here, n))];
  const digest = createHash("sha256");
  for (const name of all.map((p) => relative(here, p)).sort()) {
    const content = readFileSync(join(here, name));
    digest.update(`${name}\n${content.length}\n`).update(content);
  }
  return digest.digest("hex");
}

const common = { bundle: true, minify: true, write: false, charset: "utf8", legalComments: "none", target: ["es2022"], absWorkingDir: here, logLevel: "warning" };
const script = (await esbuild.build({ ...common, entryPoints: ["src/main.jsx"], format: "iife", jsx: "automatic", jsxImportSource: "preact" })).outputFiles[0].text.trim();
const style = (await esbuild.build({ ...common, entryPoints: ["src/style.css"] })).outputFiles[0].text.trim();
if (/<\/(script|style)/i.test(script + style)) throw new Error("the bundle would end its own element");

const sources = sourcesDigest();
const notice =
  "<!-- SPDX-License-Identifier: Apache-2.0 AND MIT. Contains Preact (Copyright 2015-present Jason Miller) and uPlot\n" +
  "     (Copyright 2022 Leon Sorokin), both MIT: see the copyright file of the package, deploy/debian/copyright.\n" +
  `     Made by agent/api/page/build.mjs; sources ${sources} -->\n`;
const put = (text, mark, what) => text.replace(mark, () => what);
let html = readFileSync(join(here, "src/index.html"), "utf8");
html = put(html, "/*STYLE*/", style);
html = put(html, "/*SCRIPT*/", script);
html = put(html, "<html", `${notice}<html`);

const hash = (text) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`;
const policy = [
  "default-src 'none'",
  `script-src ${hash(script)}`,
  `style-src ${hash(style)}`,
  "connect-src 'self'",
  "img-src data:",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join("; ");
const tag = createHash("sha256").update(html).digest("hex").slice(0, 32);

mkdirSync(out, { recursive: true });
writeFileSync(join(out, "page.html"), html);
writeFileSync(
  join(out, "page.inc"),
  `// SPDX-License-Identifier: Apache-2.0
// What goes with page.html: by which hashes a browser knows its script and its style, its tag for caches, its size.
// Written by build.mjs; do not edit.
inline constexpr std::string_view kPagePolicy =
${policy.split(/(?<=; )/).map((p) => `    "${p}"`).join("\n")};
inline constexpr std::string_view kPageTag = "${tag}";
inline constexpr std::size_t kPageBytes = ${Buffer.byteLength(html)};
`,
);
console.log(`page.html: ${Buffer.byteLength(html)} bytes, sources ${sources.slice(0, 12)}`);

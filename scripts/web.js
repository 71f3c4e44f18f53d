// Builds what the Worker's static assets are, from web/ into build/assets/: the widget, the client with its types (which
// is also the npm package: `npm publish build/assets`), and the demo page.
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdirSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, transform } from "esbuild";

const root = fileURLToPath(new URL("..", import.meta.url));
const out = `${root}build/assets/`;
const target = ["chrome123", "firefox121", "safari17.5"];

rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

/** A style sheet that is imported becomes a string, for a constructed style sheet. */
const styles = {
  name: "styles",
  setup({ onLoad }) {
    onLoad({ filter: /\.css$/ }, async ({ path }) => {
      const { code } = await transform(await readFile(path, "utf8"), { loader: "css", minify: true, target });
      return { contents: code, loader: "text" };
    });
  },
};

const common = { bundle: true, minify: true, charset: "utf8", target, outdir: out, absWorkingDir: `${root}web`, logLevel: "warning" };
await Promise.all([
  build({ ...common, entryPoints: ["widget.ts"], format: "iife", plugins: [styles] }),
  build({ ...common, entryPoints: ["client.ts"], format: "esm", target: ["es2022"] }),
  build({ ...common, entryPoints: ["demo.ts", "demo.css"], format: "iife" }),
]);
execFileSync(`${root}node_modules/.bin/tsc`, ["-p", "web/tsconfig.types.json", "--outDir", "build/types"], { cwd: root, stdio: "inherit" });
for (const file of ["client.d.ts", "element.d.ts", "widget.d.ts"]) copyFileSync(`${root}build/types/${file}`, out + file);
for (const file of ["index.html", "icon.svg", "_headers", ".assetsignore", "package.json"]) copyFileSync(`${root}web/${file}`, out + file);
copyFileSync(`${root}openapi.yaml`, `${out}openapi.yaml`);

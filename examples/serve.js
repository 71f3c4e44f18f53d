// Serves the examples, each under its own name, and passes /chat on to the service, so that page and service share an
// origin as they do in the guide: `node examples/serve.js [http://127.0.0.1:8787]`.
import { createServer, request } from "node:http";
import { readFile, readdir } from "node:fs/promises";
import { argv } from "node:process";
import { fileURLToPath, pathToFileURL } from "node:url";
import { compileScript, compileTemplate, parse } from "@vue/compiler-sfc";
import { build } from "esbuild";

/** Where a framework puts its component; a folder with an `index.html` has a page of its own. */
const PAGE = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,">
<title>edge-chat</title>
<body>
<app-chat id="app"></app-chat>
<script src="main.js"></script>
`;

/** A Vue component as a module: its script, with its template as the render function. */
const vue = {
  name: "vue",
  setup({ onLoad }) {
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const { descriptor } = parse(await readFile(path, "utf8"), { filename: path });
      const script = compileScript(descriptor, { id: path, genDefaultAs: "component" }).content;
      const template = compileTemplate({ source: descriptor.template.content, filename: path, id: path }).code;
      return { contents: `${script}\n${template}\ncomponent.render = render;\nexport default component;`, loader: "js" };
    });
  },
};

/** Bundles one example's `main` file. */
async function bundle(directory) {
  const main = (await readdir(directory)).find((file) => file.startsWith("main."));
  const { outputFiles } = await build({
    entryPoints: [`${directory}/${main}`],
    bundle: true,
    write: false,
    format: "iife",
    jsx: "automatic",
    // Angular's decorators; and zone.js, where it is used, sees no native `async`.
    target: "es2016",
    tsconfigRaw: { compilerOptions: { experimentalDecorators: true, useDefineForClassFields: false } },
    define: { "process.env.NODE_ENV": '"production"', __VUE_OPTIONS_API__: "true", __VUE_PROD_DEVTOOLS__: "false", __VUE_PROD_HYDRATION_MISMATCH_DETAILS__: "false" },
    plugins: [vue],
    logLevel: "warning",
  });
  return outputFiles[0].text;
}

/** Starts the server: `/react/` is what the folder `react` in `root` makes. */
export async function serveExamples({ service, root = fileURLToPath(new URL(".", import.meta.url)), port = 0 }) {
  const names = (await readdir(root, { withFileTypes: true })).filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const bundles = new Map();
  const server = createServer(async (incoming, outgoing) => {
    if (incoming.url.startsWith("/chat")) return forward(service, incoming, outgoing);
    const [, name, file] = incoming.url.split("/");
    try {
      if (!names.includes(name)) return outgoing.end(names.map((each) => `<p><a href="/${each}/">${each}</a>`).join("\n"));
      if (file === "main.js") {
        if (!bundles.has(name)) bundles.set(name, bundle(root + name));
        outgoing.setHeader("Content-Type", "text/javascript; charset=utf-8").end(await bundles.get(name));
      } else {
        outgoing.setHeader("Content-Type", "text/html; charset=utf-8").end(await readFile(`${root}${name}/index.html`).catch(() => PAGE));
      }
    } catch (error) {
      outgoing.writeHead(500).end(error.message);
    }
  });
  await new Promise((resolve) => server.listen(port, "127.0.0.1", resolve));
  return { names, url: `http://127.0.0.1:${server.address().port}`, stop: () => { server.closeAllConnections(); server.close(); } };
}

function forward(service, incoming, outgoing) {
  const passed = request(service + incoming.url, { method: incoming.method, headers: { ...incoming.headers, host: new URL(service).host, origin: service } }, (answer) => {
    outgoing.writeHead(answer.statusCode, answer.headers);
    answer.pipe(outgoing);
  });
  passed.on("error", () => outgoing.destroy());
  outgoing.on("close", () => passed.destroy());
  incoming.pipe(passed);
}

if (import.meta.url === pathToFileURL(argv[1]).href) {
  const { url } = await serveExamples({ service: argv[2] ?? "http://127.0.0.1:8787", port: 8790 });
  console.log(`The examples: ${url}`);
}

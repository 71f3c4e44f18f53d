// What the Worker's WebAssembly weighs, and how long workerd takes to get it going.
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { freePort } from "../../scripts/postgres.js";
import { start, stop } from "./processes.js";
import { median } from "./stats.js";
import { serve } from "./workerd.js";

const TIMES = 40;

export function weigh(build) {
  const [wasm, script] = ["index_bg.wasm", "index.js"].map((name) => readFileSync(`${build}/${name}`));
  return { raw: wasm.length, gzipped: gzipSync(wasm, { level: 9 }).length, script: gzipSync(script, { level: 9 }).length };
}

/** How long compiling and instantiating take, in ms each. `directory` is for workerd's files. */
export async function instantiate(build, directory) {
  const port = await freePort();
  const [command, args] = serve({
    directory,
    port,
    modules: [
      { name: "worker.js", type: "esModule", path: fileURLToPath(new URL("../workers/wasm.js", import.meta.url)) },
      { name: "index_bg.wasm", type: "data", path: `${build}/index_bg.wasm` },
    ],
    extraBindings: [`(name = "UNSAFE", unsafeEval = void)`],
  });
  const child = start(command, [...args, "--experimental"], { log: `${directory}/${port}.log` });
  const url = `http://127.0.0.1:${port}`;
  try {
    for (let tries = 0; tries < 200 && !(await fetch(url).catch(() => undefined)); tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    const time = async (work, times) => {
      const started = performance.now();
      const response = await fetch(`${url}/${work}?times=${times}`);
      if (!response.ok) throw new Error(`the WebAssembly of ${build} cannot be instantiated: ${await response.text()}`);
      return performance.now() - started;
    };
    // The difference to a request that does it not even once.
    const each = async (work) => {
      const rounds = [];
      for (let round = 0; round < 5; round += 1) rounds.push(((await time(work, TIMES)) - (await time(work, 0))) / TIMES);
      return median(rounds);
    };
    return { compile: await each("compile"), instantiate: await each("instantiate") };
  } finally {
    await stop(child);
  }
}

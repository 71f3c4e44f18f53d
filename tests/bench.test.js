// The benchmark's harness, for a few seconds: one server that stores and one that does not.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { Bench } from "../bench/lib/bench.js";
import { stopAll } from "../bench/lib/processes.js";
import { allServers } from "../bench/lib/servers.js";
import { newDatabase } from "./helpers/service.js";

const directory = mkdtempSync(`${tmpdir()}/edge-chat-bench-`);
after(async () => {
  await stopAll();
  rmSync(directory, { recursive: true });
});

test("the benchmark measures the deployed Worker and the floor in one run", async () => {
  const database = { directory, pids: [], newDatabase: () => newDatabase(), pooled: (url) => url };
  const bench = await Bench.start(database);
  const [edgeChat, pipe] = ["edge-chat", "pipe"].map((name) => allServers().find((server) => server.name === name));

  for (const server of [edgeChat, pipe]) {
    const running = await bench.start(server);
    const run = await bench.measure(running, { spec: { tokens: 20, first: 2, gap: 2 }, clients: 2, turns: 2 });
    assert.equal(run.turns, 4);
    assert.ok(run.cpuPerTurn > 0, `${run.cpuPerTurn} ms of CPU a turn`);
    assert.ok(run.first.every((first) => first > 0));
    await running.stop();
  }

  assert.deepEqual(await bench.countRoundTrips(edgeChat), { connections: 1, logins: 2, statements: 2 });
});

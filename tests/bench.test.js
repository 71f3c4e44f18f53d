// The benchmark's harness, for a few seconds: one server that stores and one that does not.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { after, test } from "node:test";
import { Bench } from "../bench/lib/bench.js";
import { conversation } from "../bench/lib/conversation.js";
import { stopAll } from "../bench/lib/processes.js";
import { allServers } from "../bench/lib/servers.js";
import { newDatabase } from "./helpers/service.js";

const directory = mkdtempSync(`${tmpdir()}/edge-chat-bench-`);
after(async () => {
  await stopAll();
  rmSync(directory, { recursive: true });
});

const database = { directory, pids: [], newDatabase: () => newDatabase(), pooled: (url) => url };
const [edgeChat, pipe] = ["edge-chat", "pipe"].map((name) => allServers().find((server) => server.name === name));

test("the benchmark measures the deployed Worker and the floor at the same time", async () => {
  const bench = await Bench.start(database);
  const running = [await bench.start(edgeChat), await bench.start(pipe)];
  const runs = await bench.measureTogether(running, { spec: { tokens: 20, first: 2, gap: 2 }, clients: 2, turns: 2 });
  for (const run of runs) {
    assert.equal(run.turns, 4);
    assert.ok(run.cpuPerTurn > 0, `${run.cpuPerTurn} ms of CPU a turn`);
    assert.ok(run.first.every((first) => first > 0));
  }
  for (const server of running) await server.stop();

  assert.deepEqual(await bench.countRoundTrips(edgeChat), { connections: 1, logins: 2, statements: 2 });
});

test("the model is sent the conversation whose growth is measured", async () => {
  const bench = await Bench.start(database);
  const running = await bench.start(edgeChat, { vars: { CHAT_HISTORY_MESSAGES: "10" } });
  const job = { spec: { tokens: 1 }, clients: 1, turns: 1, keep: true };
  const short = await bench.measure(running, job);
  const long = await bench.measure(running, { ...job, session: await conversation(bench, running, 20) });
  assert.ok(long.request > short.request + 9 * 300, `${long.request} bytes, and ${short.request} without a conversation`);
  await running.stop();
});

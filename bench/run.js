// `make bench`: everybody in turn, round after round, and a report in bench/results/. Settings are in bench/README.md.
import { leaveRoot } from "../scripts/postgres.js";
import { Bench } from "./lib/bench.js";
import { machine } from "./lib/machine.js";
import { report } from "./lib/report.js";
import { session } from "./lib/session.js";
import { allServers, isWanted } from "./lib/servers.js";
import { instantiate, weigh } from "./lib/wasm.js";
import { SCENARIOS } from "./scenarios.js";

leaveRoot();

const { ROUNDS = 3, MEMORY_STREAMS = 500, BENCH_SERVERS, BENCH_SCENARIOS, EDGE_CHAT_BUILDS } = process.env;
const STARTS = 5;
/** Streams that are open, and little more: a token each half second, for longer than anybody looks. */
const OPEN_STREAM = { tokens: 200, first: 5, gap: 500 };

const say = (text) => console.error(`bench: ${text}`);

await session(async (database) => {
  const began = performance.now();
  const bench = await Bench.start(database);
  const servers = allServers({ edgeChatBuilds: EDGE_CHAT_BUILDS }).filter(({ name }) => isWanted(BENCH_SERVERS, name));
  const scenarios = SCENARIOS.filter(({ id }) => isWanted(BENCH_SCENARIOS, id));
  const results = { servers, scenarios, machine: machine(database), runs: {}, startup: {}, wire: {}, memory: {}, wasm: {} };

  say("start-up");
  for (let round = 0; round < Math.min(STARTS, ROUNDS * 2); round += 1) {
    for (const server of servers) {
      const running = await bench.start(server);
      (results.startup[server.name] ??= []).push(running.startup);
      await running.stop();
    }
  }
  for (const { name, build } of servers.filter(({ build }) => build)) {
    results.wasm[name] = { ...weigh(build), ...(await instantiate(build, database.directory)) };
  }

  say("round trips to PostgreSQL");
  for (const server of servers.filter(({ stores }) => stores)) results.wire[server.name] = await bench.countRoundTrips(server);

  const running = [bench.direct];
  for (const server of servers) running.push(await bench.start(server));
  for (const server of running) await bench.warmUp(server);
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const scenario of scenarios.filter(({ rounds = Infinity }) => round < rounds)) {
      const runs = (results.runs[scenario.id] ??= {});
      // Nobody is always the first, or always behind the same other.
      const order = rotated(running, round).filter(({ kind }) => scenario.withEmpty || kind !== "empty");
      for (const servers of scenario.together ? [order] : order.map((server) => [server])) {
        for (const [index, run] of (await bench.measureTogether(servers, { ...scenario, seed: 1 + round })).entries()) {
          (runs[servers[index].name] ??= []).push(run);
          say(`round ${round + 1} of ${ROUNDS}, ${scenario.title}: ${servers[index].name}, ${run.cpuPerTurn.toFixed(2)} ms of CPU a turn`);
        }
      }
    }
  }
  for (const server of running) await server.stop?.();

  if (MEMORY_STREAMS > 0) {
    for (const server of servers.filter(({ kind }) => kind !== "empty")) {
      const fresh = await bench.start(server);
      results.memory[server.name] = await bench.openStreams(fresh, { streams: Number(MEMORY_STREAMS), spec: OPEN_STREAM });
      await fresh.stop();
      say(`${MEMORY_STREAMS} open streams: ${server.name}, ${results.memory[server.name].perStream.toFixed(0)} KiB each`);
    }
  }
  results.streams = Number(MEMORY_STREAMS);
  results.rounds = Number(ROUNDS);
  results.seconds = (performance.now() - began) / 1000;
  report(results);
});

function rotated(list, by) {
  const at = by % list.length;
  return [...list.slice(at), ...list.slice(0, at)];
}

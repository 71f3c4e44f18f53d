// `make bench-growth`: what a turn costs as replies, histories and the number of open streams grow.
import { leaveRoot } from "../scripts/postgres.js";
import { Bench } from "./lib/bench.js";
import { conversation } from "./lib/conversation.js";
import { growthReport } from "./lib/growth-report.js";
import { machine } from "./lib/machine.js";
import { session } from "./lib/session.js";
import { allServers, isWanted } from "./lib/servers.js";

leaveRoot();

const { BENCH_SERVERS, BENCH_GROWTH, EDGE_CHAT_BUILDS } = process.env;
const REPLY_TOKENS = [50, 200, 1000, 3000, 10_000];
const HISTORY_MESSAGES = [0, 10, 25, 50, 100];
const STORED_MESSAGES = [100, 1000, 10_000];
const OPEN_STREAMS = [100, 250, 500, 1000, 2000];
/** Streams whose text is there but for the last word, for longer than anybody looks. */
const HOLD = 180_000;

await session(async (database) => {
  const bench = await Bench.start(database);
  const servers = allServers({ edgeChatBuilds: EDGE_CHAT_BUILDS })
    .filter(({ name, kind }) => isWanted(BENCH_SERVERS, name) && kind !== "empty");
  const results = { machine: machine(database), series: {}, breaks: [] };

  /** Runs `work` with a server that is started for it: streams that were given up go on for a while and would disturb. */
  const withFresh = async (server, options, work) => {
    const running = await bench.start(server, options);
    try {
      return await work(running);
    } finally {
      await running.stop();
    }
  };

  /** Adds a point of a series; a server that fails has no further ones. */
  const point = async (series, server, x, measure) => {
    if (results.breaks.some((broken) => broken.series === series && broken.server === server.name)) return;
    try {
      const figures = await measure();
      ((results.series[series] ??= {})[server.name] ??= []).push({ x, ...figures });
      console.error(`bench: ${series} ${x}: ${server.name}, ${Object.entries(figures).map(([name, value]) => `${name} ${value.toFixed(2)}`).join(", ")}`);
    } catch (error) {
      results.breaks.push({ series, server: server.name, x, why: error.message.split("\n")[0].slice(0, 160) });
      console.error(`bench: ${series} ${x}: ${error.message}`);
    }
  };

  if (isWanted(BENCH_GROWTH, "reply")) {
    for (const tokens of REPLY_TOKENS) {
      for (const server of servers) {
        await point("reply", server, tokens, async () => {
          const { cpuPerTurn } = await withFresh(server, {}, async (running) => {
            await bench.warmUp(running);
            return bench.measure(running, { spec: { tokens }, clients: 4, turns: Math.max(2, Math.ceil(2000 / tokens)) });
          });
          const streams = 2 * Math.floor(Math.min(200, 400_000 / tokens) / 2);
          const { idle, open } = await withFresh(server, {}, (running) => bench.openStreams(running, { streams, spec: { tokens, hold: HOLD } }));
          // With few and long ones, V8 collects the first half's garbage while the second is opened: of both, and with it.
          return { cpuPerTurn, memory: (open - idle) / streams };
        });
      }
    }
  }

  const withHistory = (series, server, x, { setting, messages }) =>
    point(series, server, x, async () => {
      const vars = { CHAT_HISTORY_MESSAGES: String(setting) };
      let database;
      let session;
      const { cpuPerTurn, cpu, turns, request } = await withFresh(server, { vars }, async (running) => {
        database = running.database;
        session = await conversation(bench, running, messages);
        await bench.warmUp(running);
        return bench.measure(running, { spec: { tokens: 50 }, clients: 4, turns: 25, session, keep: true });
      });
      const memory = await withFresh(server, { vars, database }, (running) =>
        bench.openStreams(running, { streams: 100, spec: { tokens: 50, hold: HOLD }, session }));
      return { cpuPerTurn, databaseCpuPerTurn: cpu.postgres / turns, request, memory: memory.perStream };
    });
  if (isWanted(BENCH_GROWTH, "history")) {
    for (const server of servers.filter(({ isEdgeChat }) => isEdgeChat)) {
      for (const setting of HISTORY_MESSAGES) await withHistory("history", server, setting, { setting, messages: 200 });
      for (const messages of STORED_MESSAGES) await withHistory("stored", server, messages, { setting: 20, messages });
    }
  }

  if (isWanted(BENCH_GROWTH, "streams")) {
    for (const streams of OPEN_STREAMS) {
      for (const server of servers) {
        await point("streams", server, streams, async () => {
          // One token a second on each.
          const job = { streams, spec: { tokens: 120, first: 5, gap: 1000 } };
          const { perStream, cpuPerSecond } = await withFresh(server, {}, (running) => bench.openStreams(running, job));
          return { memory: perStream, cpuPerToken: (cpuPerSecond / streams) * 1000 };
        });
      }
    }
  }
  growthReport(results);
});

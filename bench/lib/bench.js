// The workshop: PostgreSQL, the stand-in model, the load generator and the servers, and one measured job at a time.
import { setTimeout as sleep } from "node:timers/promises";
import { empty, stored } from "./database.js";
import { cpuTime, machineTime, memory, startHelper } from "./processes.js";
import { startServer } from "./servers.js";
import { median, sum } from "./stats.js";
import { startWire } from "./wire.js";

/** What a server still does once its last reply is complete, such as ending a connection, belongs to its turns. */
const SETTLE_MS = 250;

export class Bench {
  /** `database` is what `startDatabase` gives. */
  static async start(database) {
    const [model, load] = await Promise.all([startModel(), startHelper("load")]);
    return Object.assign(new Bench(), { database, model, loads: [load], placed: 0 });
  }

  get modelUrl() {
    return `http://127.0.0.1:${this.model.port}`;
  }

  get load() {
    return this.loads[0];
  }

  /** Asking the model without a server in between. */
  get direct() {
    return { name: "direct", target: { name: "direct", kind: "direct", port: this.model.port } };
  }

  /** Starts a server with a new database, unless it is given one and an address to reach it by. */
  async start(server, { database, address, vars } = {}) {
    if (server.stores) database ??= await this.database.newDatabase(`bench_${(this.placed += 1)}`);
    address ??= server.isPooled ? this.database.pooled(database) : database;
    const running = await startServer(server, { directory: this.database.directory, modelUrl: this.modelUrl, database: address, vars });
    return { ...running, database };
  }

  /**
   * Runs a job of the load generator against a server and says what it took, of everybody. Fails if anything is amiss. The
   * database is emptied before, unless there is something to `keep`.
   */
  async measure(server, job) {
    const [run] = await this.measureTogether([server], job);
    return run;
  }

  /**
   * The same against several servers at the same time, each with a load generator of its own. What everybody but the servers
   * took is then for all of them.
   */
  async measureTogether(servers, { keep = false, ...job }) {
    const known = [];
    for (const { database } of servers) {
      if (database && !keep) await empty(database);
      known.push(database && (await stored(database, job.spec.tokens)));
    }
    while (this.loads.length < servers.length) this.loads.push(await startHelper("load"));
    await this.model.ask("stats");
    const [before, began] = [this.cpu(servers), performance.now()];
    const results = await Promise.all(servers.map(({ target }, index) => this.loads[index].ask({ ...job, target })));
    await sleep(SETTLE_MS);
    const [after, wall] = [this.cpu(servers), performance.now() - began];
    const { late, request } = await this.model.ask("stats");
    const cpu = Object.fromEntries(["postgres", "model", "load", "machine"].map((who) => [who, after[who] - before[who]]));
    const spent = after.servers.map((value, index) => value - before.servers[index]);
    // What had nothing to do with the benchmark, and may have disturbed it.
    cpu.others = Math.max(0, cpu.machine - sum(spent) - cpu.postgres - cpu.model - cpu.load);
    const runs = [];
    for (const [index, result] of results.entries()) {
      const server = servers[index];
      if (server.database) await this.check(server, job, result, known[index]);
      runs.push({ ...result, cpu: { ...cpu, server: spent[index] }, wall, late, request, cpuPerTurn: spent[index] / result.turns });
    }
    return runs;
  }

  cpu(servers) {
    return {
      servers: servers.map(({ pid }) => (pid ? cpuTime(pid) : 0)),
      postgres: sum(this.database.pids.map((pid) => cpuTime(pid, { ended: true }))),
      model: cpuTime(this.model.pid),
      load: sum(this.loads.map(({ pid }) => cpuTime(pid))),
      machine: machineTime(),
    };
  }

  async check(server, { spec }, { turns }, known) {
    const now = await stored(server.database, spec.tokens);
    const [messages, replies] = [now.messages - known.messages, now.replies - known.replies];
    if (messages !== turns || replies !== turns) {
      throw new Error(`${server.name}: ${turns} turns left ${messages} messages and ${replies} complete replies in PostgreSQL`);
    }
  }

  /** A few turns that nobody looks at: compiled code, filled pools. */
  async warmUp(server, turns = 60) {
    await this.load.ask({ target: server.target, spec: { tokens: 50 }, clients: 6, turns: Math.ceil(turns / 6), visitors: "warm-" });
    await sleep(SETTLE_MS);
  }

  /** Connections to PostgreSQL and round trips a turn, counted between a server of its own and PostgreSQL (or the pooler). */
  async countRoundTrips(server) {
    const direct = await this.database.newDatabase(`bench_${(this.placed += 1)}`);
    const wire = await startWire(server.isPooled ? this.database.pooled(direct) : direct);
    const running = await this.start(server, { database: direct, address: wire.url });
    try {
      await this.warmUp(running);
      wire.reset();
      const { turns } = await this.measure(running, { spec: { tokens: 50 }, clients: 2, turns: 20 });
      return Object.fromEntries(Object.entries(wire.counts).map(([name, count]) => [name, count / turns]));
    } finally {
      await running.stop();
      wire.stop();
    }
  }

  /**
   * Memory in KiB of a server that has just been started: idle, with so many streams open, and by how much each stream of
   * the second half added to it. The first half is not counted: with it V8 takes room for garbage, once. CPU is in ms a
   * second while all are open. With `hold` in their `spec`, the whole reply but its last word has come by then.
   */
  async openStreams(running, { streams, spec, session }) {
    await this.warmUp(running, 120);
    await sleep(1000);
    const idle = memory(running.pid);
    await this.load.ask({ target: running.target, spec, streams, session });
    const half = await this.sampleMemory(running, spec);
    await this.load.ask("go on");
    const all = await this.sampleMemory(running, spec);
    await this.load.ask("go on");
    return { idle, open: all.memory, perStream: (all.memory - half.memory) / (streams / 2), cpuPerSecond: all.cpuPerSecond };
  }

  async sampleMemory(running, { hold }) {
    if (hold) await this.quiet(running);
    const [cpu, began] = [cpuTime(running.pid), performance.now()];
    const samples = [];
    for (let count = 0; count < 5; count += 1) {
      await sleep(400);
      samples.push(memory(running.pid));
    }
    const seconds = (performance.now() - began) / 1000;
    return { memory: median(samples), cpuPerSecond: (cpuTime(running.pid) - cpu) / seconds };
  }

  /** Waits until a server has nothing to do. */
  async quiet({ name, pid }) {
    for (let tries = 0, before = cpuTime(pid); tries < 200; tries += 1) {
      await sleep(300);
      const now = cpuTime(pid);
      if (now - before < 15) return;
      before = now;
    }
    throw new Error(`${name} does not come to rest`);
  }
}

async function startModel() {
  const model = await startHelper("model");
  const { port } = await model.answer();
  return Object.assign(model, { port });
}

// The load generator, a process of its own: runs the jobs that it is sent, one at a time. `lib/processes.js` starts it; it ends with its parent.
import { Client } from "./lib/client.js";
import { ask } from "./lib/reply.js";
import { quantile, randomNumbers } from "./lib/stats.js";

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let proceed;

process.on("message", async (message) => {
  if (message === "go on") return proceed?.();
  try {
    process.send(message.streams ? await hold(message) : await turns(message));
  } catch (error) {
    process.send({ error: error.message });
  }
});
process.on("disconnect", () => process.exit());

/**
 * `clients` visitors take turns one after the other: `turns` each, or as many as they begin within `seconds`. They start
 * at random within `spread` ms and pause for up to `pause` ms, or they would all stay in step.
 */
async function turns({ target, spec, clients, turns = Infinity, seconds = Infinity, spread = 0, pause = 0, seed = 1, session, anonymous = false, visitors = "" }) {
  const random = randomNumbers(seed);
  const done = [];
  const started = performance.now();
  let last = started;
  let failed = false;
  const run = async (number, delay) => {
    const client = new Client(target);
    try {
      if (delay > 0) await sleep(delay);
      const until = started + seconds * 1000;
      for (let turn = 0; turn < turns && !failed && performance.now() < until; turn += 1) {
        if (turn > 0 && pause > 0) await sleep(random() * pause);
        const who = anonymous || session ? { token: session } : { user_id: `bench-${visitors}${number}` };
        done.push(await client.turn({ content: ask(spec), ...who }, spec));
        last = performance.now();
      }
    } catch (error) {
      failed = true;
      throw error;
    } finally {
      client.close();
    }
  };
  await Promise.all(Array.from({ length: clients }, (_, number) => run(number, random() * spread)));
  const waits = done.flatMap((turn) => turn.waits);
  return {
    turns: done.length,
    seconds: (last - started) / 1000,
    first: done.map((turn) => turn.first),
    events: done.reduce((sum, turn) => sum + turn.events, 0) / done.length,
    wait: { median: quantile(waits, 0.5), p99: quantile(waits, 0.99), max: quantile(waits, 1) },
    session: done[0]?.session,
  };
}

/**
 * Opens so many streams, a few at a time. Says when text flows on half of them and when it does on all, and waits each time
 * until it is told to go on; then it gives them up.
 */
async function hold({ target, spec, streams, session }) {
  const clients = [];
  let failure;
  const openTo = (count) => new Promise((resolve, reject) => {
    let open = clients.length;
    const next = () => {
      if (clients.length >= count) return;
      const client = new Client(target);
      clients.push(client);
      const onFirst = () => {
        open += 1;
        if (open === count) resolve();
        next();
      };
      const who = session ? { token: session } : { user_id: `bench-${clients.length}` };
      client.turn({ content: ask(spec), ...who }, spec, { timeout: 240_000, onFirst }).then(
        () => { failure = new Error(`${target.name}: a stream ended too early`); },
        (error) => reject((failure = error)),
      );
    };
    for (let started = 0; started < 24; started += 1) next();
  });
  try {
    for (const count of [streams / 2, streams]) {
      await openTo(count);
      const told = new Promise((resolve) => (proceed = resolve));
      process.send({ open: count });
      await told;
      if (failure) throw failure;
    }
    if (!clients.every((client) => client.isInStep(spec))) throw new Error(`${target.name}: a stream says something else`);
    return { turns: streams };
  } finally {
    for (const client of clients) client.close();
  }
}

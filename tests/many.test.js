// Five hundred visitors who all watch their replies being written at the same time, on one workerd.
import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";
import { startModel } from "./helpers/model.js";
import { readEvents, startService, until } from "./helpers/service.js";

const VISITORS = 500;
/** What one open stream may cost: three sockets with their buffers, and garbage that V8 has not collected yet. */
const MOST_BYTES_PER_STREAM = 1024 * 1024;

/** Resident memory of the workerd that this process started, in bytes. */
function workerMemory() {
  const status = (pid) => { try { return readFileSync(`/proc/${pid}/status`, "utf8"); } catch { return ""; } };
  const found = readdirSync("/proc").filter((name) => /^\d+$/.test(name)).map(status)
    .filter((text) => /^Name:\s+workerd/m.test(text) && text.match(/^PPid:\s+(\d+)/m)?.[1] === String(process.pid));
  return Math.max(0, ...found.map((text) => Number(text.match(/^VmRSS:\s+(\d+)/m)?.[1] ?? 0))) * 1024;
}

test(`${VISITORS} streams at once`, async (t) => {
  const model = await startModel();
  const vars = { DATABASE_TIMEOUT_MS: "30000", LLM_FIRST_TOKEN_TIMEOUT_MS: "60000", LLM_IDLE_TIMEOUT_MS: "60000" };
  const service = await startService({ model, vars });
  try {
    await service.chat({ user_id: "warm-up", content: "Hi" });
    const before = workerMemory();

    let goOn;
    const isEverybodyHere = new Promise((resolve) => { goOn = resolve; });
    model.reply = async (reply, { body }) => {
      const name = body.messages.at(-1).content;
      await reply.token(`Dear ${name}, `);
      await isEverybodyHere;
      for (const word of ["it ", "is ", "your ", "turn, ", name, "."]) await reply.token(word);
      await reply.finish();
    };
    let open = 0;
    const visit = async (name) => {
      let text = "";
      for await (const { data } of readEvents(await service.post("/chat/stream", { user_id: name, content: name }))) {
        if (!text) open += 1;
        text += data.content;
        if (data.is_final) assert.equal(data.error, undefined);
      }
      return text;
    };
    const names = Array.from({ length: VISITORS }, (_, index) => `visitor-${index}`);
    const replies = names.map(visit);
    await until(() => open === VISITORS, { seconds: 60 });
    const perStream = (workerMemory() - before) / VISITORS;
    t.diagnostic(`${open} open streams, ${(perStream / 1024).toFixed(1)} KiB of workerd's memory each`);
    goOn();
    assert.deepEqual(await Promise.all(replies), names.map((name) => `Dear ${name}, it is your turn, ${name}.`));
    assert.ok(perStream < MOST_BYTES_PER_STREAM, `${perStream} bytes per stream`);

    const turns = await service.turns();
    assert.equal(turns.filter(({ state }) => state === "complete").length, VISITORS + 1);
    const stored = Map.groupBy(await service.messages(), ({ phone_number }) => phone_number);
    for (const name of names) {
      assert.deepEqual(stored.get(`chat_${name}`).map(({ body }) => body), [name, `Dear ${name}, it is your turn, ${name}.`]);
    }
  } finally {
    await service.stop();
    model.stop();
  }
});

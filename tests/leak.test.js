// What a turn leaves behind in the isolate, which may live for days: nothing.
import assert from "node:assert/strict";
import { test } from "node:test";
import { startModel } from "./helpers/model.js";
import { startService } from "./helpers/service.js";

/** The Worker, and at `/wasm` the sizes of its memory and of its table of JavaScript objects, neither of which ever shrinks. */
const ENTRY = `
  const { Instance } = WebAssembly;
  let wasm;
  WebAssembly.Instance = function (...given) { return (wasm = new Instance(...given)); };
  const { default: Worker } = await import("./index.js");
  export default class extends Worker {
    fetch(request) {
      if (!request.url.endsWith("/wasm")) return super.fetch(request);
      const { memory, __wbindgen_externrefs: objects } = wasm.exports;
      return Response.json({ bytes: memory.buffer.byteLength, objects: objects.length });
    }
  }
`;

test("turns leave nothing behind", async () => {
  const model = await startModel();
  const service = await startService({ model, entry: ENTRY });
  const turns = async (count) => {
    const visitor = async (number) => {
      for (let turn = 0; turn < count / 8; turn += 1) {
        const message = { user_id: `visitor-${number}`, content: "Hi" };
        if (turn % 3 === 0) assert.equal((await service.chat(message)).status, 200);
        else assert.equal((await service.stream(message)).text, "Hello from the model.");
      }
    };
    await Promise.all(Array.from({ length: 8 }, (_, number) => visitor(number)));
    return (await service.fetch("/wasm")).json();
  };
  try {
    const before = await turns(240);
    const after = await turns(720);
    // It grows by 512 at a time, and one turn after the other leaves it as it is.
    assert.ok(after.objects - before.objects <= 512, `${after.objects - before.objects} objects more`);
    assert.ok(after.bytes - before.bytes <= 65536, `${after.bytes - before.bytes} bytes more`);
  } finally {
    await service.stop();
    model.stop();
  }
});

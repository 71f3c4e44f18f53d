import type { Fault } from "./client.js";

/** What the service says in each event. */
export interface EventData {
  content: string;
  is_final: boolean;
  error?: Fault;
}

/** The events of a stream. <https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream> */
export async function* readEvents(body: ReadableStream<Uint8Array>, silence: number): AsyncGenerator<{ id: string; data: EventData }> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let buffer = "";
  let id = "";
  let data = "";
  try {
    for (;;) {
      const { done, value } = await withTimeout(reader.read(), silence);
      if (done) return;
      const lines = (buffer + decoder.decode(value, { stream: true })).split("\n");
      buffer = lines.pop() ?? "";
      for (const line of lines.map((text) => text.replace(/\r$/, ""))) {
        if (line === "" && data) {
          yield { id, data: JSON.parse(data) as EventData };
          data = "";
        }
        const [, name, text = ""] = /^(id|data): ?(.*)$/s.exec(line) ?? [];
        if (name === "id") id = text;
        if (name === "data") data += text;
      }
    }
  } finally {
    reader.cancel().catch(() => {});
  }
}

function withTimeout<T>(promise: Promise<T>, milliseconds: number): Promise<T> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new TypeError("the connection went silent")), milliseconds);
    promise.then(resolve, reject).finally(() => clearTimeout(timer));
  });
}

import type { StreamEvent } from "./client.js";
import type { EventData } from "./events.js";

/** What of a reply has arrived, in bytes of UTF-8 as the events' ids (`{turn}.{bytes}`) count it. */
export class Reply {
  /** Id of the last event, for `Last-Event-ID`. */
  seen: string | undefined;
  #turn = "";
  #bytes = new Uint8Array();
  /** Where the last event of this connection ended. */
  #place: number | undefined;

  /** Another connection brings the reply, from its start or from anywhere in what is known. */
  reopen(): void {
    this.#place = undefined;
  }

  *take(id: string, data: EventData): Generator<StreamEvent> {
    const [turn = "", end = ""] = id.split(".");
    if (data.is_final) {
      // Another Worker began it anew, and it came out shorter.
      if (this.#place !== undefined && this.#place < this.#bytes.length) yield this.#replace(turn, this.#place, new Uint8Array());
      yield { type: "end", turn, ...(data.error && { error: data.error }) };
      return;
    }
    const piece = new TextEncoder().encode(data.content);
    const start = Number(end) - piece.length;
    this.#place = Number(end);
    this.seen = id;
    if (this.#turn && turn !== this.#turn) return yield this.#replace(turn, 0, piece);
    this.#turn = turn;
    if (start > this.#bytes.length) throw new TypeError("a piece of the reply is missing");
    const known = this.#bytes.subarray(start, start + piece.length);
    if (known.some((byte, index) => byte !== piece[index])) return yield this.#replace(turn, start, piece);
    const news = piece.subarray(known.length);
    if (!news.length) return;
    this.#bytes = join(this.#bytes, news);
    yield { type: "text", content: new TextDecoder().decode(news), turn };
  }

  #replace(turn: string, kept: number, piece: Uint8Array): StreamEvent {
    this.#turn = turn;
    this.#bytes = join(this.#bytes.subarray(0, kept), piece);
    return { type: "replace", content: new TextDecoder().decode(this.#bytes), turn };
  }
}

function join(head: Uint8Array, tail: Uint8Array): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(head.length + tail.length);
  whole.set(head);
  whole.set(tail, head.length);
  return whole;
}

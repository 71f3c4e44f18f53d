/**
 * A client of the chat service for browsers and for Node 20 or newer. It needs nothing but `fetch`.
 *
 * A message is sent with an `Idempotency-Key`: however often the line breaks, it takes effect once, and its reply arrives
 * without a doubled or a missing character.
 */

import { readEvents } from "./events.js";
import { Reply } from "./reply.js";

/** Where the visitor's session is kept between requests, such as `localStorage`. */
export interface TokenStorage {
  get(): string | null;
  set(token: string | null): void;
}

export interface ClientOptions {
  /** Where the service is, such as `https://chat.example.com`. */
  endpoint: string;
  /** Default: in memory, for the life of the client. */
  storage?: TokenStorage;
  /** Default: the global `fetch`. */
  fetch?: typeof fetch;
  /** How often a broken connection is tried again without anything new arriving. Default: 6, about 30 seconds. */
  retries?: number;
  /** Silence on a stream, in milliseconds, after which the connection counts as broken. Default: three heartbeats. */
  silence?: number;
}

/** What a visitor says. Strings are short for `{ content }`. */
export interface Message {
  content?: string;
  media_urls?: string[];
  audio_urls?: string[];
  user_id?: string;
  user_hash?: string;
  user_token?: string;
  turnstile_token?: string;
}

/** How a site proves who its user is. */
export type Identity = { user_id: string; user_hash: string } | { user_token: string };

export interface SendOptions {
  /** Names this message. Give the same key to repeat a message that may have arrived. Default: a new one. */
  key?: string;
  signal?: AbortSignal;
}

/** What went wrong in the middle of a reply. */
export interface Fault {
  code: string;
  message: string;
  retryable: boolean;
}

export type StreamEvent =
  /** The next piece of the reply. `turn` is the id of the message that it answers. */
  | { type: "text"; content: string; turn: string }
  /** The reply was begun anew after a failure: show `content` in the place of all that came before. */
  | { type: "replace"; content: string; turn: string }
  /** The connection broke and is tried again; nothing is lost. */
  | { type: "reconnecting"; attempt: number }
  /** The connection is there again. */
  | { type: "reconnected" }
  /** The reply is over and stored. With `error`, it broke off. */
  | { type: "end"; turn: string; error?: Fault };

/** `running` while the reply is written, `partial` when it broke off, `failed` when there was none. */
export type TurnState = "running" | "complete" | "partial" | "failed";

/** One stored message. */
export interface HistoryMessage {
  id: string;
  direction: "incoming" | "outgoing";
  content: string;
  media_urls: string[];
  audio_urls: string[];
  /** ISO 8601, UTC. */
  timestamp: string;
  state: TurnState;
}

/** Messages, oldest first. `next` opens the page before them. */
export interface HistoryPage {
  messages: HistoryMessage[];
  next: string | null;
}

/** The service refused, or could not be reached (`status` 0, code `network`). */
export class ChatError extends Error {
  override readonly name = "ChatError";
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    /** Seconds to wait before another try, if the service says so. */
    readonly retryAfter?: number,
    readonly requestId?: string,
    /** What there is of a reply that broke off. */
    readonly content?: string,
  ) {
    super(detail);
  }

  /** Whether the same request may succeed later. */
  get retryable(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  /** From a problem document, or from whatever a proxy on the way answered. */
  static async from(response: Response): Promise<ChatError> {
    const problem = (await response.json().catch(() => ({}))) as Partial<Record<"code" | "detail" | "request_id" | "content", string>>;
    const seconds = Number(response.headers.get("Retry-After") ?? NaN);
    return new ChatError(
      response.status,
      problem.code ?? `http_${response.status}`,
      problem.detail ?? `The service answered with status ${response.status}.`,
      Number.isFinite(seconds) ? seconds : undefined,
      problem.request_id,
      problem.content,
    );
  }
}

/** A new key for a message. Pages without HTTPS have no `crypto.randomUUID`. */
export function newKey(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

const TOKEN_HEADER = "X-Chat-Token";

export class ChatClient {
  readonly #endpoint: string;
  readonly #storage: TokenStorage;
  readonly #fetch: typeof fetch;
  readonly #retries: number;
  readonly #silence: number;
  #identity: Identity | undefined;

  constructor(options: ClientOptions) {
    this.#endpoint = options.endpoint.replace(/\/+$/, "");
    this.#storage = options.storage ?? memoryStorage();
    this.#fetch = options.fetch ?? ((...request) => fetch(...request));
    this.#retries = options.retries ?? 6;
    this.#silence = options.silence ?? 45_000;
  }

  /** Sends a message and waits for the whole reply. */
  async send(message: Message | string, { key = newKey(), signal }: SendOptions = {}): Promise<string> {
    for (let failures = 0; ; ) {
      try {
        const response = await this.#post("/chat/", message, key, signal);
        return ((await response.json()) as { content: string }).content;
      } catch (error) {
        signal?.throwIfAborted();
        failures += 1;
        if (error instanceof ChatError || failures > this.#retries) throw asChatError(error);
        await pause(failures, signal);
      }
    }
  }

  /** Sends a message and yields its reply as it is written, across broken connections. */
  stream(message: Message | string, { key = newKey(), signal }: SendOptions = {}): AsyncGenerator<StreamEvent, void, void> {
    // Without `Last-Event-ID`: the repetition brings the reply from its start, so that what was shown can be compared. A
    // reply that another Worker had to begin anew would otherwise be glued to the first half of the lost one.
    return this.#follow(() => this.#post("/chat/stream", message, key, signal), signal);
  }

  /** The visitor's newest reply, live if it is still being written. Yields nothing when there is none. */
  follow({ signal }: Pick<SendOptions, "signal"> = {}): AsyncGenerator<StreamEvent, void, void> {
    return this.#follow((seen) => this.#request("GET", "/chat/stream", { headers: seen ? { "Last-Event-ID": seen } : {}, signal }), signal);
  }

  /** Ends the visitor's running reply. What was written by then is kept. */
  async stop(): Promise<void> {
    await this.#request("DELETE", "/chat/stream");
  }

  /** The visitor's own messages, newest page first; empty for visitors without a session. */
  async history({ limit, before, signal }: { limit?: number; before?: string; signal?: AbortSignal } = {}): Promise<HistoryPage> {
    const query = new URLSearchParams({ ...(limit && { limit: String(limit) }), ...(before && { before }) });
    return this.#inSession(async () => {
      if (this.#storage.get() === null) return { messages: [], next: null };
      return (await (await this.#request("GET", `/chat/history?${query}`, { signal })).json()) as HistoryPage;
    });
  }

  /** Everything that is stored of the visitor. */
  async export(): Promise<unknown> {
    return (await this.#inSession(() => this.#request("GET", "/chat/me"))).json();
  }

  /** Deletes everything that is stored of the visitor, and forgets the session. */
  async erase(): Promise<void> {
    await this.#inSession(() => this.#request("DELETE", "/chat/me"));
    this.#storage.set(null);
  }

  /** Makes the visitor a user of the site, as the site's server vouches: in this session, and in those that follow it. */
  async identify(identity: Identity): Promise<void> {
    await this.#renewing(() => this.#request("POST", "/chat/session", { body: identity }));
    this.#identity = identity;
  }

  /** Forgets the session and the user. */
  reset(): void {
    this.#identity = undefined;
    this.#storage.set(null);
  }

  /**
   * Gets a session before the first message. Without one, a message whose answer got lost would be repeated as another
   * visitor's, and so be taken twice. Tabs that start at the same time wait for each other, and share it.
   */
  async #begin(vouched: Pick<Message, "turnstile_token">, signal?: AbortSignal): Promise<void> {
    const body = { ...this.#identity, ...vouched };
    const start = async () => {
      if (this.#storage.get() === null) await this.#request("POST", "/chat/session", { body, signal });
    };
    const { locks } = globalThis.navigator ?? {};
    await (locks ? locks.request(`edge-chat:${this.#endpoint}`, start) : start());
  }

  #post(path: string, message: Message | string, key: string, signal?: AbortSignal): Promise<Response> {
    const given = typeof message === "string" ? { content: message } : message;
    const { turnstile_token, ...body } = { content: "", media_urls: [], audio_urls: [], ...given };
    // Turnstile's token is good once.
    const vouched = turnstile_token === undefined ? {} : { turnstile_token };
    return this.#renewing(async () => {
      const isNew = this.#storage.get() === null && !body.user_id && !body.user_token;
      if (isNew) await this.#begin(vouched, signal);
      return this.#request("POST", path, { body: isNew ? body : { ...body, ...vouched }, headers: { "Idempotency-Key": key }, signal });
    });
  }

  /** Does what only the visitor may. A user whose session is gone gets another one. */
  #inSession<T>(act: () => Promise<T>): Promise<T> {
    return this.#renewing(async () => {
      if (this.#storage.get() === null && this.#identity) await this.#begin({});
      return act();
    });
  }

  /** Does it once more if the session had to be thrown away. */
  async #renewing<T>(act: () => Promise<T>): Promise<T> {
    try {
      return await act();
    } catch (error) {
      if (!isInvalidToken(error)) throw error;
      return act();
    }
  }

  /** One request. The answer's token is kept; one that the service does not take any more is dropped. */
  async #request(
    method: string,
    path: string,
    { body, headers, signal }: { body?: unknown; headers?: Record<string, string>; signal?: AbortSignal | undefined } = {},
  ): Promise<Response> {
    const token = this.#storage.get();
    const response = await this.#fetch(this.#endpoint + path, {
      method,
      headers: {
        ...(body !== undefined && { "Content-Type": "application/json" }),
        ...(token !== null && { [TOKEN_HEADER]: token }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
      cache: "no-store",
      credentials: "omit",
    });
    const renewed = response.headers.get(TOKEN_HEADER);
    // Unless it was changed meanwhile: whoever started over must not get the old conversation back.
    if (renewed && this.#storage.get() === token) this.#storage.set(renewed);
    if (response.ok) return response;
    const error = await ChatError.from(response);
    if (isInvalidToken(error) && token !== null && this.#storage.get() === token) this.#storage.set(null);
    throw error;
  }

  async *#follow(open: (seen: string | undefined) => Promise<Response>, signal?: AbortSignal): AsyncGenerator<StreamEvent, void, void> {
    const reply = new Reply();
    for (let failures = 0; ; ) {
      try {
        const response = await open(reply.seen);
        if (response.status === 204 || !response.body) return;
        reply.reopen();
        if (failures) yield { type: "reconnected" };
        for await (const { id, data } of readEvents(response.body, this.#silence)) {
          failures = 0;
          yield* reply.take(id, data);
          if (data.is_final) return;
        }
        throw new TypeError("the stream ended before its last event");
      } catch (error) {
        signal?.throwIfAborted();
        failures += 1;
        // What the service refuses from the start is for the caller to decide; a reply that runs is followed to its end.
        const isFinal = error instanceof ChatError && !(reply.seen && error.retryable);
        if (isFinal || failures > this.#retries) throw asChatError(error);
        yield { type: "reconnecting", attempt: failures };
        await pause(failures, signal);
      }
    }
  }
}

/** Waits longer from failure to failure, and as long as the browser knows that it is offline. */
async function pause(failures: number, signal?: AbortSignal): Promise<void> {
  const milliseconds = Math.min(500 * 2 ** (failures - 1), 8000) * (0.75 + Math.random() / 2);
  await new Promise<void>((resolve) => {
    const isOffline = globalThis.navigator?.onLine === false;
    const timer = isOffline ? undefined : setTimeout(go, milliseconds);
    globalThis.addEventListener?.("online", go);
    signal?.addEventListener("abort", go);
    function go(): void {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", go);
      signal?.removeEventListener("abort", go);
      resolve();
    }
  });
  signal?.throwIfAborted();
}

function memoryStorage(): TokenStorage {
  let token: string | null = null;
  return { get: () => token, set: (value) => { token = value; } };
}

function isInvalidToken(error: unknown): boolean {
  return error instanceof ChatError && error.code === "invalid_token";
}

function asChatError(error: unknown): ChatError {
  return error instanceof ChatError ? error : new ChatError(0, "network", `The service cannot be reached: ${String(error)}`);
}

import { ChatClient, ChatError, newKey } from "./client.js";
import type { Fault, HistoryMessage, Identity, Message, StreamEvent } from "./client.js";

/** What a visitor is about to send. */
export interface Draft {
  content: string;
  media_urls: string[];
  audio_urls: string[];
}

/** A message as it is shown. */
export interface Entry extends Draft {
  /** The service's id; a reply that was streamed into this page has none until the page asks for the history. */
  id?: string;
  direction: "incoming" | "outgoing";
  time: Date;
  /** `running` while a reply is written; `stopped` when the visitor ended it; `failed` when a message got no reply. */
  state: "running" | "complete" | "partial" | "stopped" | "failed";
  /** Code of what went wrong. */
  error?: string;
  /** Asks again, where that makes sense. */
  retry?: () => void;
}

export type Activity = "idle" | "loading" | "typing" | "reconnecting";

/** What the conversation tells whoever shows it. */
export interface Listener {
  changed(): void;
  /** A message of the visitor's was taken, or a reply came to its end. */
  settled(entry: Entry): void;
  failed(error: ChatError): void;
  /** The service wants to know that the visitor is human; resolves to Turnstile's token. */
  challenge?(): Promise<string>;
}

const PAGE = 30;

/** The visitor's conversation, without anything of how it looks. */
export class Conversation {
  entries: Entry[] = [];
  activity: Activity = "idle";
  /** Code of the error that kept the history from being loaded. */
  historyError: string | undefined;
  #next: string | null = null;
  #running: AbortController | undefined;
  #restored: Promise<void> = Promise.resolve();

  constructor(
    readonly client: ChatClient,
    readonly listener: Listener,
  ) {}

  /** Whether there are messages before the first one shown. */
  get hasEarlier(): boolean {
    return this.#next !== null;
  }

  /** Whether a reply is on its way, which the visitor can stop. */
  get isReplying(): boolean {
    return this.activity === "typing" || this.activity === "reconnecting";
  }

  /** Brings what the service has: after a reload, or when another tab went on. Follows a reply that is being written. */
  restore(): Promise<void> {
    if (!this.#running) this.#restored = this.#restore();
    return this.#restored;
  }

  async #restore(): Promise<void> {
    const turn = this.#begin("loading");
    let isLive = false;
    try {
      const { messages, next } = await this.client.history({ limit: PAGE, signal: turn.signal });
      const unsent = this.entries.filter(({ id, state, direction }) => direction === "incoming" && id === undefined && state === "failed");
      const newest = messages.findLast(({ direction }) => direction === "incoming");
      isLive = newest?.state === "running";
      const shown = messages.filter((message) => !(isLive && message.direction === "outgoing" && newest && message.id > newest.id));
      this.entries = [...shown.map(toEntry), ...unsent];
      this.#next = next;
      this.historyError = undefined;
    } catch (error) {
      if (turn.signal.aborted) return;
      this.historyError = error instanceof ChatError ? error.code : "network";
    }
    if (isLive) await this.#receive(turn, this.client.follow({ signal: turn.signal }));
    else this.#end(turn);
  }

  /** Brings the page of messages before the first one shown. */
  async loadEarlier(): Promise<void> {
    if (this.#next === null) return;
    const before = this.#next;
    try {
      const { messages, next } = await this.client.history({ limit: PAGE, before });
      if (this.#next !== before) return;
      this.#next = next;
      this.entries.unshift(...messages.map(toEntry));
      this.historyError = undefined;
    } catch (error) {
      this.historyError = error instanceof ChatError ? error.code : "network";
    }
    this.listener.changed();
  }

  /** Sends a message and shows its reply as it comes. */
  async send(draft: Draft): Promise<void> {
    await this.#restored;
    const question: Entry = { ...draft, direction: "incoming", time: new Date(), state: "running" };
    this.entries.push(question);
    await this.#ask(question, newKey());
  }

  /** Ends the running reply; what there is of it stays. */
  stop(): void {
    if (!this.#running) return;
    for (const entry of this.entries.filter(({ state }) => state === "running")) {
      entry.state = entry.direction === "incoming" ? "complete" : "stopped";
    }
    this.#abort();
    // It is over for the visitor, whether or not this arrives.
    this.client.stop().catch(() => {});
  }

  /** Forgets what is shown. */
  clear(): void {
    this.#abort();
    this.entries = [];
    this.#next = null;
    this.historyError = undefined;
    this.listener.changed();
  }

  /** Forgets it on this device. */
  reset(): void {
    this.client.reset();
    this.clear();
  }

  async erase(): Promise<void> {
    this.#abort();
    await this.client.erase();
    this.clear();
  }

  async identify(identity: Identity): Promise<void> {
    await this.client.identify(identity);
    this.clear();
  }

  async #ask(question: Entry, key: string): Promise<void> {
    const turn = this.#begin("typing");
    question.state = "running";
    delete question.error;
    delete question.retry;
    const { content, media_urls, audio_urls } = question;
    const message = { content, media_urls, audio_urls };
    const ask = (extra: Message = {}) => this.client.stream({ ...message, ...extra }, { key, signal: turn.signal });
    await this.#receive(turn, this.#vouched(ask), question, key);
  }

  /** Asks, and once more with Turnstile's token if the service wants one. */
  async *#vouched(ask: (extra?: Message) => AsyncGenerator<StreamEvent>): AsyncGenerator<StreamEvent> {
    try {
      yield* ask();
    } catch (error) {
      const { challenge } = this.listener;
      if (!(error instanceof ChatError && error.code.startsWith("turnstile_") && challenge)) throw error;
      const turnstile_token = await challenge.call(this.listener).catch(() => {
        throw error;
      });
      yield* ask({ turnstile_token });
    }
  }

  /** Shows the events of a reply, to `question` if it was asked on this page. */
  async #receive(turn: AbortController, events: AsyncGenerator<StreamEvent>, question?: Entry, key?: string): Promise<void> {
    const reply: Entry = { content: "", media_urls: [], audio_urls: [], direction: "outgoing", time: new Date(), state: "running" };
    this.entries.push(reply);
    this.#show("typing");
    let failure: ChatError | undefined;
    let fault: Fault | undefined;
    try {
      for await (const event of events) {
        if (event.type === "text") reply.content += event.content;
        if (event.type === "replace") reply.content = event.content;
        if (event.type === "end") fault = event.error;
        if ("turn" in event && question && question.id === undefined) {
          question.id = event.turn;
          question.state = "complete";
          this.listener.settled(question);
        }
        this.#show(event.type === "reconnecting" ? "reconnecting" : "typing");
      }
    } catch (error) {
      failure = error instanceof ChatError ? error : new ChatError(0, "network", String(error));
    }
    // The visitor stopped it, or there is another conversation by now.
    if (turn.signal.aborted) return;
    if (reply.content && (failure || fault)) {
      reply.state = "partial";
      // The same key would bring the same piece again.
      if (question) reply.retry = () => void this.#again(question);
    } else {
      reply.state = "complete";
    }
    if (!reply.content) this.entries = this.entries.filter((entry) => entry !== reply);
    const code = failure?.code ?? fault?.code;
    if (code && !reply.content && question) {
      question.state = "failed";
      question.error = code;
      if ((failure?.retryable ?? fault?.retryable) || code.startsWith("turnstile_")) {
        question.retry = () => void (code === "reply_interrupted" ? this.#again(question) : this.#ask(question, key ?? ""));
      }
    } else if (question) {
      question.state = "complete";
    }
    this.#end(turn);
    if (code) this.listener.failed(failure ?? new ChatError(200, code, fault?.message ?? ""));
    if (reply.content) this.listener.settled(reply);
  }

  /** The same words as a new message. */
  #again(question: Entry): Promise<void> {
    for (const entry of this.entries) delete entry.retry;
    const { content, media_urls, audio_urls } = question;
    return this.send({ content, media_urls, audio_urls });
  }

  #begin(activity: Activity): AbortController {
    this.#running = new AbortController();
    this.#show(activity);
    return this.#running;
  }

  #end(turn: AbortController): void {
    if (this.#running !== turn) return;
    this.#running = undefined;
    this.#show("idle");
  }

  #abort(): void {
    this.#running?.abort();
    this.#running = undefined;
    this.#show("idle");
  }

  #show(activity: Activity): void {
    this.activity = activity;
    this.listener.changed();
  }
}

function toEntry({ id, direction, content, media_urls, audio_urls, timestamp, state }: HistoryMessage): Entry {
  const isReply = direction === "outgoing";
  return {
    id, direction, content, media_urls, audio_urls,
    time: new Date(timestamp),
    state: isReply ? (state === "partial" ? "partial" : "complete") : state === "failed" ? "failed" : "complete",
    ...(!isReply && state === "failed" && { error: "assistant_unavailable" }),
  };
}

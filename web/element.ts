import { ChatClient, ChatError, type Identity } from "./client.js";
import { Conversation, type Draft, type Entry } from "./conversation.js";
import { chooseLanguage, LANGUAGES, type Texts } from "./texts.js";
import { tokenStorage } from "./token.js";
import { challenge } from "./turnstile.js";
import { View } from "./view.js";
import { describe } from "./message.js";
import css from "./style.css";

const RIGHT_TO_LEFT = ["ar"];

/** What each event of the widget says, in its `detail`. */
export interface EdgeChatEvents {
  "edge-chat:open": undefined;
  "edge-chat:close": undefined;
  /** The visitor's message was taken, or a reply came to its end. */
  "edge-chat:message": { direction: "incoming" | "outgoing"; content: string };
  /** Replies that arrived while the panel was closed; 0 when it was opened. */
  "edge-chat:unread": { count: number };
  "edge-chat:error": { code: string; message: string };
}

/**
 * `<edge-chat>`: a button in the corner of the page, and the chat that it opens. Its attributes are those of the script
 * tag without `data-`.
 */
export class EdgeChatElement extends HTMLElement {
  static readonly observedAttributes = [
    "endpoint", "lang", "name", "greeting", "open", "position", "color-scheme", "attachments", "user-id", "user-hash", "turnstile-sitekey",
  ];

  readonly #root = this.attachShadow({ mode: "open" });
  #view: View | undefined;
  #conversation: Conversation | undefined;
  /** Where other tabs hear that something was said here. */
  #channel: BroadcastChannel | undefined;
  #life: AbortController | undefined;
  #isIdentified = false;
  #identity: Identity | undefined;
  #unread = 0;
  #ready: Promise<void> | undefined;
  #isStale = true;
  #isScheduled = false;

  /** Opens the panel. */
  open(): void {
    this.toggleAttribute("open", true);
  }

  /** Closes the panel. A reply that is being written goes on. */
  close(): void {
    this.toggleAttribute("open", false);
  }

  get isOpen(): boolean {
    return this.hasAttribute("open");
  }

  /** Tells who the visitor is, with the proof of the site's server, and shows that user's conversation. */
  async identify(identity: Identity): Promise<void> {
    this.#identity = identity;
    await this.#identify();
  }

  /** Forgets the conversation on this device, as at a sign-out. */
  reset(): void {
    this.#identity = undefined;
    this.#isIdentified = false;
    this.#conversation?.reset();
  }

  connectedCallback(): void {
    this.#life = new AbortController();
    const { signal } = this.#life;
    const { endpoint } = this;
    const storage = tokenStorage(endpoint);
    this.#conversation = new Conversation(new ChatClient({ endpoint, storage }), {
      changed: () => this.#changed(),
      settled: (entry) => this.#settled(entry),
      failed: (error) => this.#failed(error),
      ...(this.hasAttribute("turnstile-sitekey") && { challenge: () => this.#challenge() }),
    });
    const [user_id, user_hash] = [this.getAttribute("user-id"), this.getAttribute("user-hash")];
    if (user_id && user_hash) this.#identity = { user_id, user_hash };

    this.#channel = new BroadcastChannel(storage.name);
    this.#channel.onmessage = () => this.#otherTab();
    window.addEventListener("storage", ({ key, newValue }) => {
      if (key !== storage.name) return;
      if (newValue === null) this.#conversation?.clear();
      this.#otherTab();
    }, { signal });
    for (const name of ["online", "offline"]) window.addEventListener(name, () => this.#changed(), { signal });
    this.#mount();
    // Without the focus: the visitor has not asked for it.
    if (this.isOpen) this.#toggle();
  }

  disconnectedCallback(): void {
    this.#life?.abort();
    this.#channel?.close();
    this.#conversation?.clear();
    this.#isStale = true;
  }

  attributeChangedCallback(name: string, before: string | null, now: string | null): void {
    if (!this.#view || before === now) return;
    if (name === "open") {
      if ((before === null) === (now === null)) return;
      this.#toggle();
      if (this.isOpen) this.#view.focus();
    } else if (["endpoint", "user-id", "user-hash", "turnstile-sitekey"].includes(name)) {
      this.disconnectedCallback();
      this.connectedCallback();
    } else {
      this.#mount();
    }
  }

  /** Where the service is. */
  get endpoint(): string {
    return new URL(this.getAttribute("endpoint") ?? "/", document.baseURI).href.replace(/\/+$/, "");
  }

  /** Builds the launcher and the panel, or builds them anew when an attribute has changed. */
  #mount(): void {
    const language = chooseLanguage([this.getAttribute("lang") ?? "", document.documentElement.lang, ...navigator.languages].filter(Boolean));
    const texts = LANGUAGES[language] as Texts;
    const draft = this.#view?.composer.draft ?? "";
    const hadFocus = this.matches(":focus");
    const view = new View(
      {
        texts,
        language,
        title: this.getAttribute("name") || texts.title,
        greeting: this.getAttribute("greeting") || texts.greeting,
        canAttach: this.getAttribute("attachments") !== "off",
      },
      {
        open: () => this.open(),
        close: () => this.close(),
        send: (draft) => void this.#send(draft),
        stop: () => this.#conversation?.stop(),
        loadEarlier: () => void this.#loadEarlier(),
        restore: () => void this.#restore(),
        startOver: () => this.reset(),
        download: () => void this.#download(),
        erase: () => void this.#erase(),
      },
    );
    this.#view = view;
    view.composer.draft = draft;
    // Constructed: a page's Content-Security-Policy forbids `<style>`, not this.
    const sheet = new CSSStyleSheet();
    sheet.replaceSync(css);
    this.#root.adoptedStyleSheets = [sheet];
    const frame = document.createElement("div");
    frame.className = "frame";
    frame.lang = language;
    frame.dir = RIGHT_TO_LEFT.includes(language) ? "rtl" : "ltr";
    frame.append(view.panel, view.launcher);
    this.#root.replaceChildren(frame);
    view.connect((this.#life as AbortController).signal);
    view.showUnread(this.#unread);
    this.#render();
    if (this.isOpen) view.open();
    if (hadFocus) view.focus();
  }

  #toggle(): void {
    if (this.isOpen) {
      this.#view?.open();
      this.#setUnread(0);
      if (this.#isStale) void this.#restore();
      this.#emit("edge-chat:open", undefined);
    } else {
      this.#view?.close();
      this.#emit("edge-chat:close", undefined);
    }
  }

  /** Other tabs of this site said something: show it at once, or when the panel is opened. */
  #otherTab(): void {
    this.#isStale = true;
    if (this.isOpen) void this.#restore();
  }

  #restore(): Promise<void> {
    // Not into the middle of a reply: it is looked at again when that is over.
    if (this.#conversation?.isReplying) return Promise.resolve();
    this.#isStale = false;
    this.#ready = this.#identity && !this.#isIdentified ? this.#identify().catch((error) => this.#complain(error)) : this.#conversation?.restore();
    return Promise.resolve(this.#ready);
  }

  async #identify(): Promise<void> {
    if (!this.#identity || !this.#conversation) return;
    await this.#conversation.identify(this.#identity);
    this.#isIdentified = true;
    if (this.isOpen) await this.#conversation.restore();
    else this.#isStale = true;
  }

  async #send(draft: Draft): Promise<void> {
    this.#view?.notify("");
    await this.#ready;
    await this.#conversation?.send(draft);
  }

  async #loadEarlier(): Promise<void> {
    const settle = this.#view?.keepPlace();
    await this.#conversation?.loadEarlier();
    this.#render();
    settle?.();
  }

  async #download(): Promise<void> {
    const data = await this.#conversation?.client.export().catch((error) => this.#complain(error));
    if (!data) return;
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(data, null, 2)], { type: "application/json" }));
    link.download = "chat.json";
    link.click();
    // Not at once: Safari has not read it yet.
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async #erase(): Promise<void> {
    try {
      await this.#conversation?.erase();
    } catch (error) {
      return this.#complain(error);
    }
    this.#view?.notify(this.#texts.erased);
  }

  async #challenge(): Promise<string> {
    this.#view?.notify(this.#texts.challenge);
    try {
      return await challenge(this, this.getAttribute("turnstile-sitekey") ?? "", this.#view?.look.language ?? "en");
    } finally {
      this.#view?.notify("");
    }
  }

  #settled(entry: Entry): void {
    const { direction, content } = entry;
    this.#channel?.postMessage(direction);
    this.#emit("edge-chat:message", { direction, content });
    if (direction === "incoming") return;
    if (this.#isStale && this.isOpen) void this.#restore();
    this.#view?.announce(`${this.#view.look.title}: ${content}`);
    if (!this.isOpen) this.#setUnread(this.#unread + 1);
  }

  /** For what has no message of its own to stand under. */
  #complain(error: unknown): void {
    const known = error instanceof ChatError ? error : new ChatError(0, "network", String(error));
    this.#view?.notify(describe(known.code, this.#texts));
    this.#failed(known);
  }

  #failed(error: ChatError): void {
    this.#view?.announce(describe(error.code, this.#texts));
    this.#emit("edge-chat:error", { code: error.code, message: error.message });
  }

  #setUnread(count: number): void {
    if (count === this.#unread) return;
    this.#unread = count;
    this.#view?.showUnread(count);
    this.#emit("edge-chat:unread", { count });
  }

  get #texts(): Texts {
    return (this.#view as View).look.texts;
  }

  /** Many tokens may come at once: they are shown together. */
  #changed(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    queueMicrotask(() => {
      this.#isScheduled = false;
      this.#render();
    });
  }

  #render(): void {
    if (this.#conversation) this.#view?.render(this.#conversation, navigator.onLine, this.#isIdentified);
  }

  #emit<K extends keyof EdgeChatEvents>(name: K, detail: EdgeChatEvents[K]): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true }));
  }
}

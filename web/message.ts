import type { Entry } from "./conversation.js";
import { button, h } from "./dom.js";
import { icon } from "./icons.js";
import { linkify } from "./linkify.js";
import type { Texts } from "./texts.js";

const ERRORS: Record<string, keyof Texts> = {
  network: "network",
  rate_limited: "rateLimited",
  assistant_unavailable: "unavailable",
  storage_unavailable: "unavailable",
  too_large: "tooLarge",
  forbidden_origin: "refused",
  unproven_identity: "refused",
  turnstile_failed: "challenge",
  turnstile_required: "challenge",
  reply_interrupted: "partial",
};

/** What a visitor is told about an error. */
export function describe(code: string, texts: Texts): string {
  return texts[ERRORS[code] ?? "failed"];
}

/** One message in the list. It is updated in place: a reply grows token by token. */
export class MessageView {
  readonly element: HTMLLIElement;
  readonly #text = document.createTextNode("");
  readonly #bubble: HTMLElement;
  readonly #note = h("p", { class: "note" });
  #state = "";

  constructor(
    readonly entry: Entry,
    readonly texts: Texts,
    speaker: string,
    time: Intl.DateTimeFormat,
  ) {
    this.#bubble = h("div", { class: "bubble", dir: "auto" }, this.#text);
    const links = [...entry.media_urls, ...entry.audio_urls].map((url) => h("li", {}, link(url, icon("link"), label(url))));
    const stamp = h("time", { datetime: entry.time.toISOString() }, time.format(entry.time));
    this.element = h(
      "li",
      { class: `message ${entry.direction}` },
      h("span", { class: "hidden" }, `${speaker}: `),
      this.#bubble,
      ...(links.length ? [h("ul", { class: "links" }, ...links)] : []),
      h("p", { class: "meta" }, stamp),
      this.#note,
    );
    this.update();
  }

  update(): void {
    const { content, state, error, retry, direction } = this.entry;
    const isWriting = state === "running" && direction === "outgoing";
    if (isWriting) this.#grow(content);
    const now = `${state} ${error} ${retry !== undefined} ${isWriting ? content !== "" : content}`;
    if (now === this.#state) return;
    this.#state = now;
    if (!isWriting) this.#bubble.replaceChildren(...linkify(content).map(({ text, href }) => (href ? link(href, text) : text)));
    this.#bubble.hidden = !content;
    this.element.classList.toggle("writing", isWriting);
    this.element.classList.toggle("failed", error !== undefined);
    const note =
      error !== undefined ? describe(error, this.texts)
      : state === "partial" ? this.texts.partial
      : state === "stopped" ? this.texts.stopped
      : "";
    // The dots are for the eyes; the status line says it in words.
    const dots = isWriting && !content ? [h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"))] : [];
    this.#note.replaceChildren(...dots, note, ...(retry ? [button({ class: "retry" }, retry, this.texts.retry)] : []));
    this.#note.hidden = !this.#note.hasChildNodes() || !(dots.length || note || retry);
  }

  /** Adds what is new, and leaves what a visitor may have selected as it is. */
  #grow(content: string): void {
    const shown = this.#text.data;
    if (content.startsWith(shown)) this.#text.appendData(content.slice(shown.length));
    else this.#text.data = content;
  }
}

function link(href: string, ...children: (Node | string)[]): HTMLAnchorElement {
  return h("a", { href, target: "_blank", rel: "noopener noreferrer nofollow" }, ...children);
}

/** The last part of an address's path, or its host. */
function label(url: string): string {
  const { pathname, host } = new URL(url);
  const name = pathname.split("/").findLast((part) => part !== "") ?? host;
  try {
    return decodeURIComponent(name);
  } catch {
    return name;
  }
}

import { Composer } from "./composer.js";
import type { Conversation, Draft, Entry } from "./conversation.js";
import { button, h } from "./dom.js";
import { icon } from "./icons.js";
import { MessageView, describe } from "./message.js";
import type { Texts } from "./texts.js";

/** What the visitor can do. */
export interface Actions {
  open(): void;
  close(): void;
  send(draft: Draft): void;
  stop(): void;
  loadEarlier(): void;
  restore(): void;
  startOver(): void;
  download(): void;
  erase(): void;
}

export interface Look {
  texts: Texts;
  language: string;
  title: string;
  greeting: string;
  /** Whether addresses can be attached. */
  canAttach: boolean;
}

/** Phones: the panel fills the screen, and the page behind it is out of reach. */
const PHONE = "(max-width: 480px), (max-height: 480px)";

/** The launcher and the panel. */
export class View {
  readonly launcher: HTMLButtonElement;
  readonly panel: HTMLDialogElement;
  readonly composer: Composer;
  /** Where the page, rather than the widget, keeps an element: Turnstile does not work in a shadow tree. */
  readonly challenge = h("slot", { name: "challenge" });
  readonly #phone = matchMedia(PHONE);
  readonly #badge = h("span", { class: "badge", "aria-hidden": "true" });
  readonly #status = h("p", { class: "status" });
  readonly #menu: HTMLElement;
  readonly #menuButton: HTMLButtonElement;
  readonly #startOver: HTMLButtonElement;
  readonly #banner = h("p", { class: "banner", role: "status" });
  readonly #log: HTMLElement;
  readonly #list = h("ol");
  readonly #earlier: HTMLButtonElement;
  readonly #history = h("div", { class: "history" });
  readonly #latest: HTMLButtonElement;
  /** The list grows token by token, which nobody wants read out: a screen reader gets whole sentences from here. */
  readonly #announcer = h("p", { class: "hidden", role: "status" });
  readonly #confirm = h("dialog", { class: "confirm", role: "alertdialog", "aria-labelledby": "question" });
  readonly #messages = new Map<Entry, MessageView>();
  readonly #days = new Map<string, HTMLElement>();
  readonly #time: Intl.DateTimeFormat;
  readonly #day: Intl.DateTimeFormat;
  #notice = "";
  #isAtEnd = true;

  constructor(
    readonly look: Look,
    readonly actions: Actions,
  ) {
    const { texts, title } = look;
    this.#time = new Intl.DateTimeFormat(look.language, { timeStyle: "short" });
    this.#day = new Intl.DateTimeFormat(look.language, { weekday: "long", day: "numeric", month: "long" });
    this.launcher = button({ class: "launcher", "aria-haspopup": "dialog", "aria-expanded": "false" }, () => (this.isOpen ? actions.close() : actions.open()), icon("chat"), icon("down"), this.#badge);

    this.#startOver = button({}, () => this.#ask(texts.confirmStartOver, texts.startOver, actions.startOver), texts.startOver);
    this.#menu = h(
      "div",
      { class: "menu", id: "menu", hidden: true },
      this.#startOver,
      button({}, () => { this.#showMenu(false); this.#menuButton.focus(); actions.download(); }, texts.download),
      button({ class: "danger" }, () => this.#ask(texts.confirmErase, texts.erase, actions.erase), texts.erase),
    );
    this.#menuButton = button({ class: "tool", "aria-label": texts.menu, title: texts.menu, "aria-expanded": "false", "aria-controls": "menu" }, () => this.#showMenu(this.#menu.hidden === true), icon("menu"));
    const header = h(
      "header",
      {},
      h("span", { class: "avatar", "aria-hidden": "true" }, [...title][0] ?? ""),
      h("div", { class: "who" }, h("h2", { id: "title" }, h("bdi", {}, title)), this.#status),
      this.#menuButton,
      button({ class: "tool", "aria-label": texts.close, title: texts.close }, () => actions.close(), icon("close")),
      this.#menu,
    );

    this.#earlier = button({ class: "earlier" }, actions.loadEarlier, texts.earlier);
    const greeting = h("div", { class: "message outgoing greeting" }, h("div", { class: "bubble", dir: "auto" }, look.greeting));
    this.#log = h("div", { class: "log", role: "log", "aria-live": "off", "aria-label": texts.conversation, tabindex: "0" }, this.#history, this.#earlier, greeting, this.#list);
    this.#latest = button({ class: "latest", "aria-label": texts.latest, title: texts.latest, hidden: true }, () => { this.#log.focus(); this.#scrollToEnd(); }, icon("down"));
    this.composer = new Composer(texts, actions.send, actions.stop);
    this.composer.element.classList.toggle("plain", !look.canAttach);
    this.panel = h(
      "dialog",
      { class: "panel", id: "panel", "aria-labelledby": "title", tabindex: "-1" },
      header, this.#banner, h("div", { class: "middle" }, this.#log, this.#latest), this.challenge, this.composer.element, this.#announcer, this.#confirm,
    );

    this.#log.addEventListener("scroll", () => {
      this.#isAtEnd = this.#log.scrollHeight - this.#log.scrollTop - this.#log.clientHeight < 40;
      this.#latest.hidden = this.#isAtEnd;
    });
    // A phone's back gesture closes it without asking.
    this.panel.addEventListener("close", () => {
      if (!this.isOpen) actions.close();
    });
    this.#confirm.addEventListener("close", () => this.#menuButton.focus());
    this.panel.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || event.isComposing || this.#confirm.open) return;
      event.preventDefault();
      if (this.#menu.hidden) return actions.close();
      this.#showMenu(false);
      this.#menuButton.focus();
    });
    this.panel.addEventListener("pointerdown", (event) => {
      if (!this.#menu.hidden && !event.composedPath().some((node) => node === this.#menu || node === this.#menuButton)) this.#showMenu(false);
    });
    this.showUnread(0);
  }

  get isOpen(): boolean {
    return this.panel.open;
  }

  /** Follows the screen while the widget is on the page. */
  connect(signal: AbortSignal): void {
    const fit = () => this.#fit();
    this.#phone.addEventListener("change", () => {
      if (!this.isOpen) return;
      this.panel.close();
      this.#show();
    }, { signal });
    window.visualViewport?.addEventListener("resize", fit, { signal });
    window.visualViewport?.addEventListener("scroll", fit, { signal });
  }

  open(): void {
    if (this.isOpen) return;
    this.#show();
    this.launcher.setAttribute("aria-expanded", "true");
    this.launcher.setAttribute("aria-label", this.look.texts.close);
    this.composer.fit();
    this.#isAtEnd = true;
    this.#scrollToEnd();
  }

  focus(): void {
    // On a touch screen the keyboard would cover the conversation at once.
    (matchMedia("(pointer: coarse)").matches ? this.panel : this.composer.input).focus();
  }

  close(): void {
    const hadFocus = this.panel.matches(":focus-within");
    this.#showMenu(false);
    this.#confirm.close();
    this.panel.close();
    this.launcher.setAttribute("aria-expanded", "false");
    this.showUnread(0);
    if (hadFocus) this.launcher.focus();
  }

  showUnread(count: number): void {
    const { texts } = this.look;
    this.#badge.textContent = count ? String(count) : "";
    this.launcher.classList.toggle("has-unread", count > 0);
    if (!this.isOpen) this.launcher.setAttribute("aria-label", count ? `${texts.open}. ${texts.unread.replace("{}", String(count))}` : texts.open);
  }

  /** Has a screen reader say this. */
  announce(text: string): void {
    this.#announcer.textContent = text;
  }

  /** Shows this above the conversation, until the next one; nothing, to take it away. */
  notify(text: string): void {
    this.#notice = text;
    this.#showBanner(text);
  }

  #showBanner(text: string): void {
    if (this.#banner.textContent !== text) this.#banner.textContent = text;
  }

  /** Shows the conversation as it is now. */
  render(conversation: Conversation, isOnline: boolean, isIdentified: boolean): void {
    const { texts } = this.look;
    const { entries, activity, historyError } = conversation;
    const focused = (this.panel.getRootNode() as ShadowRoot).activeElement;
    this.#status.textContent = activity === "typing" ? texts.typing : texts.assistant;
    this.#showBanner(!isOnline ? texts.offline : activity === "reconnecting" ? texts.reconnecting : this.#notice);
    this.panel.classList.toggle("loading", activity === "loading");
    this.#log.setAttribute("aria-busy", String(activity === "loading"));
    // A user's conversation belongs to their account: it would be back at once.
    this.#startOver.hidden = isIdentified;
    // Nothing to download, to delete or to begin anew.
    this.#menuButton.hidden = !entries.length;
    this.#earlier.hidden = !conversation.hasEarlier;
    this.#history.replaceChildren(...(historyError ? [h("p", {}, describe(historyError, texts)), button({ class: "retry" }, this.actions.restore, texts.retry)] : []));
    this.composer.update(conversation.isReplying);
    this.#renderList(entries);
    // The button that was pressed may be gone: the focus stays in the conversation.
    if (focused && this.isOpen && !focused.checkVisibility()) this.#log.focus();
  }

  /** Keeps the first message in its place while older ones are put before it. */
  keepPlace(): () => void {
    const fromEnd = this.#log.scrollHeight - this.#log.scrollTop;
    return () => { this.#log.scrollTop = this.#log.scrollHeight - fromEnd; };
  }

  #renderList(entries: readonly Entry[]): void {
    for (const entry of this.#messages.keys()) {
      if (!entries.includes(entry)) this.#messages.delete(entry);
    }
    const { texts, title } = this.look;
    let day = this.#day.format(new Date());
    const items = entries.flatMap((entry) => {
      let view = this.#messages.get(entry);
      if (view) view.update();
      else this.#messages.set(entry, (view = new MessageView(entry, texts, entry.direction === "incoming" ? texts.you : title, this.#time)));
      const before = day;
      day = this.#day.format(entry.time);
      return day === before ? [view.element] : [this.#dayLine(day), view.element];
    });
    // What stays is not touched: moving an element takes the focus and the selection out of it.
    const same = items.findIndex((item, index) => item !== this.#list.children[index]);
    while (this.#list.children.length > (same < 0 ? items.length : same)) this.#list.lastChild?.remove();
    if (same >= 0) this.#list.append(...items.slice(same));
    if (this.#isAtEnd) this.#scrollToEnd();
  }

  #dayLine(day: string): HTMLElement {
    let line = this.#days.get(day);
    if (!line) this.#days.set(day, (line = h("li", { class: "day" }, day)));
    return line;
  }

  #show(): void {
    if (this.#phone.matches) this.panel.showModal();
    // Not `show()`, which takes the focus; who wants it says so.
    else this.panel.open = true;
    this.#fit();
  }

  /** Keeps the composer above the on-screen keyboard. */
  #fit(): void {
    const { height, offsetTop } = window.visualViewport ?? { height: innerHeight, offsetTop: 0 };
    this.panel.style.setProperty("--height", `${height}px`);
    this.panel.style.setProperty("--top", `${offsetTop}px`);
    if (this.#isAtEnd) this.#scrollToEnd();
  }

  #scrollToEnd(): void {
    this.#log.scrollTop = this.#log.scrollHeight;
  }

  #showMenu(isShown: boolean): void {
    this.#menu.hidden = !isShown;
    this.#menuButton.setAttribute("aria-expanded", String(isShown));
    if (isShown) this.#menu.querySelector<HTMLElement>("button:not([hidden])")?.focus();
  }

  #ask(question: string, label: string, act: () => void): void {
    this.#showMenu(false);
    const cancel = button({ autofocus: true }, () => this.#confirm.close(), this.look.texts.cancel);
    const yes = button({ class: "danger" }, () => { this.#confirm.close(); act(); }, label);
    this.#confirm.replaceChildren(h("p", { id: "question" }, question), h("div", { class: "row" }, cancel, yes));
    this.#confirm.showModal();
  }
}

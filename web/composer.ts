import type { Draft } from "./conversation.js";
import { button, h } from "./dom.js";
import { icon } from "./icons.js";
import type { Texts } from "./texts.js";

/** The service's own limits. */
const MAX_URLS = 20;
const MAX_URL_BYTES = 2048;
const MAX_CHARACTERS = 8_000;
const AUDIO = /\.(aac|amr|flac|m4a|mp3|oga|ogg|opus|wav|weba)$/i;

/** Where the visitor writes: text, addresses to attach, and the button that sends or stops. */
export class Composer {
  readonly element: HTMLFormElement;
  readonly input: HTMLTextAreaElement;
  readonly #action: HTMLButtonElement;
  readonly #attach: HTMLButtonElement;
  readonly #addressRow: HTMLElement;
  readonly #address: HTMLInputElement;
  readonly #problem: HTMLElement;
  readonly #chips: HTMLElement;
  #urls: string[] = [];
  #canStop = false;

  constructor(
    readonly texts: Texts,
    readonly submit: (draft: Draft) => void,
    readonly stop: () => void,
  ) {
    this.input = h("textarea", {
      rows: "1", "aria-label": texts.message, placeholder: texts.placeholder, maxlength: String(MAX_CHARACTERS), enterkeyhint: "send", dir: "auto",
    });
    this.#action = button({ class: "action" }, () => this.#act());
    this.#address = h("input", { id: "address", type: "url", inputmode: "url", autocomplete: "off", placeholder: "https://", maxlength: String(MAX_URL_BYTES), dir: "ltr", "aria-describedby": "problem" });
    this.#problem = h("p", { id: "problem", class: "problem", role: "alert" });
    this.#addressRow = h(
      "div",
      { class: "address", hidden: true },
      h("label", { for: "address" }, texts.address),
      h("div", { class: "row" }, this.#address, button({ class: "add" }, () => this.#add(), texts.add)),
      this.#problem,
    );
    this.#chips = h("ul", { class: "chips" });
    this.#attach = button({ class: "attach", "aria-label": texts.attach, "aria-expanded": "false", title: texts.attach }, () => this.#toggleAddress(), icon("attach"));
    this.element = h("form", { class: "composer", novalidate: true }, this.#addressRow, this.#chips, h("div", { class: "row" }, this.#attach, this.input, this.#action));

    this.element.addEventListener("submit", (event) => event.preventDefault());
    this.input.addEventListener("input", () => this.#changed());
    this.input.addEventListener("keydown", (event) => {
      // Enter also chooses a word from an input method; that one is not for us.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#canStop) this.#act();
    });
    this.#address.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      if (event.key === "Enter") this.#add();
      else this.#toggleAddress();
    });
    this.#changed();
  }

  /** What the visitor has written so far. */
  get draft(): string {
    return this.input.value;
  }

  set draft(text: string) {
    this.input.value = text;
    this.#changed();
  }

  /** Whether there is a reply to stop. */
  update(canStop: boolean): void {
    if (canStop === this.#canStop) return;
    this.#canStop = canStop;
    this.#changed();
  }

  /** Makes the field as high as its text. */
  fit(): void {
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }

  #changed(): void {
    const { texts } = this;
    const kind = this.#canStop ? "stop" : "send";
    if (!this.#action.classList.contains(kind)) {
      this.#action.className = `action ${kind}`;
      this.#action.setAttribute("aria-label", texts[kind]);
      this.#action.title = texts[kind];
      this.#action.replaceChildren(icon(kind));
    }
    // Not `disabled`: it would throw the keyboard's focus away.
    this.#action.setAttribute("aria-disabled", String(!this.#canStop && this.#isEmpty));
    this.fit();
  }

  get #isEmpty(): boolean {
    return !this.input.value.trim() && !this.#urls.length;
  }

  #act(): void {
    if (this.#canStop) return this.stop();
    if (this.#isEmpty) return this.input.focus();
    const draft = {
      content: this.input.value.trim(),
      media_urls: this.#urls.filter((url) => !isAudio(url)),
      audio_urls: this.#urls.filter(isAudio),
    };
    this.input.value = "";
    this.#urls = [];
    this.#showChips();
    this.#addressRow.hidden = true;
    this.#attach.setAttribute("aria-expanded", "false");
    this.input.focus();
    this.submit(draft);
  }

  #toggleAddress(): void {
    this.#addressRow.hidden = !this.#addressRow.hidden;
    this.#attach.setAttribute("aria-expanded", String(!this.#addressRow.hidden));
    this.#report(false);
    (this.#addressRow.hidden ? this.input : this.#address).focus();
  }

  #add(): void {
    const given = this.#address.value.trim();
    const url = URL.canParse(given) ? new URL(given) : undefined;
    const isGood = url !== undefined && /^https?:$/.test(url.protocol) && url.href.length <= MAX_URL_BYTES && this.#urls.length < MAX_URLS;
    this.#report(!isGood);
    if (!isGood) return this.#address.focus();
    if (!this.#urls.includes(url.href)) this.#urls.push(url.href);
    this.#address.value = "";
    this.#showChips();
    this.#toggleAddress();
  }

  #report(isBad: boolean): void {
    this.#address.setAttribute("aria-invalid", String(isBad));
    this.#problem.textContent = isBad ? this.texts.badAddress : "";
  }

  #showChips(): void {
    this.#chips.replaceChildren(
      ...this.#urls.map((url) => {
        const remove = button({ "aria-label": this.texts.remove.replace("{}", () => url), title: url }, () => {
          this.#urls = this.#urls.filter((other) => other !== url);
          this.#showChips();
          this.input.focus();
        }, icon("close"));
        return h("li", {}, h("span", { dir: "ltr" }, url.replace(/^https?:\/\//, "")), remove);
      }),
    );
    this.#changed();
  }
}

function isAudio(url: string): boolean {
  return AUDIO.test(new URL(url).pathname);
}

/**
 * The chat widget, in one script:
 *
 *     <script src="https://chat.example.com/widget.js" data-name="Anna" async></script>
 *
 * The script's `data-` attributes are those of `<edge-chat>`, which it puts on the page. `EdgeChat` is that element.
 */
import { EdgeChatElement, type EdgeChatEvents } from "./element.js";

export type { EdgeChatElement, EdgeChatEvents };

declare global {
  interface HTMLElementTagNameMap {
    "edge-chat": EdgeChatElement;
  }
  interface HTMLElementEventMap extends ChatEventMap {}
  interface DocumentEventMap extends ChatEventMap {}
  /** The page's chat. */
  var EdgeChat: EdgeChatElement;
}

type ChatEventMap = { [K in keyof EdgeChatEvents]: CustomEvent<EdgeChatEvents[K]> };

const script = document.currentScript;
// A second script tag is served by the first.
if (!customElements.get("edge-chat")) {
  customElements.define("edge-chat", EdgeChatElement);
  // As a module, the script leaves it to the page to put the element.
  if (script instanceof HTMLScriptElement) {
    const chat = (globalThis.EdgeChat = document.createElement("edge-chat"));
    chat.setAttribute("endpoint", new URL(script.src).origin);
    for (const { name, value } of script.attributes) {
      if (name.startsWith("data-")) chat.setAttribute(name.slice(5), value);
    }
    const put = () => document.body.append(chat);
    if (document.body) put();
    else document.addEventListener("DOMContentLoaded", put);
  }
}

import { h } from "./dom.js";

const SCRIPT = "https://challenges.cloudflare.com/turnstile/v0/api.js?render=explicit";

/** <https://developers.cloudflare.com/turnstile/get-started/client-side-rendering/> */
interface Turnstile {
  render(container: HTMLElement, options: Record<string, unknown>): string;
  remove(widget: string): void;
}

/** A policy can be made once. */
let address: string | undefined;

/** Asks Turnstile for a token; its box is a child of `host`. The script is loaded when it is first needed. */
export async function challenge(host: HTMLElement, sitekey: string, language: string): Promise<string> {
  const turnstile = await load();
  const box = host.appendChild(h("div", { slot: "challenge" }));
  try {
    return await new Promise<string>((resolve, reject) => {
      const fail = () => reject(new Error("Turnstile gave no token"));
      turnstile.render(box, { sitekey, language, callback: resolve, "error-callback": fail, "expired-callback": fail });
    });
  } finally {
    box.remove();
  }
}

function load(): Promise<Turnstile> {
  const { turnstile } = globalThis as { turnstile?: Turnstile };
  if (turnstile) return Promise.resolve(turnstile);
  return new Promise((resolve, reject) => {
    const script = h("script", { async: true });
    script.src = address ??= trusted(SCRIPT);
    script.onload = () => resolve((globalThis as unknown as { turnstile: Turnstile }).turnstile);
    script.onerror = () => reject(new Error("Turnstile cannot be loaded"));
    document.head.append(script);
  });
}

/** A site that requires Trusted Types allows the policy `edge-chat`. */
function trusted(url: string): string {
  const { trustedTypes } = globalThis as {
    trustedTypes?: { createPolicy(name: string, rules: { createScriptURL(url: string): string }): { createScriptURL(url: string): string } };
  };
  return trustedTypes?.createPolicy("edge-chat", { createScriptURL: (given) => given }).createScriptURL(url) ?? url;
}

import type { TokenStorage } from "./client.js";

/**
 * Keeps the visitor's token, and nothing else, in `localStorage`, where all tabs of the site share it. Where the browser
 * blocks storage, it is kept in memory: the conversation then lasts as long as the page.
 */
export function tokenStorage(endpoint: string): TokenStorage & { name: string } {
  const name = `edge-chat:${endpoint}`;
  let memory: string | null = null;
  return {
    name,
    get() {
      try {
        return localStorage.getItem(name) ?? memory;
      } catch {
        return memory;
      }
    },
    set(token) {
      memory = null;
      try {
        if (token === null) localStorage.removeItem(name);
        else localStorage.setItem(name, token);
      } catch {
        memory = token;
      }
    },
  };
}

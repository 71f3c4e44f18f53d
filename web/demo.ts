/** The demo page: the snippet, and the switches that change the chat and the snippet at once. */
const find = <T extends HTMLElement>(selector: string) => document.querySelector<T>(selector) as T;
const settings = find<HTMLFormElement>("#settings");
const snippet = find("#snippet");
const copied = find("#copied");

function chosen(): [string, string][] {
  return [...new FormData(settings)].map(([name, value]) => [name, String(value).trim()]);
}

function show(): void {
  const attributes = chosen()
    .filter(([, value]) => value)
    .map(([name, value]) => ` data-${name}="${value.replace(/[&"]/g, (character) => (character === "&" ? "&amp;" : "&quot;"))}"`)
    .join("");
  snippet.textContent = `<script src="${location.origin}/widget.js"${attributes} async></script>`;
  find("#request").textContent = `curl -N ${location.origin}/chat/stream \\\n  -H 'Content-Type: application/json' \\\n  -d '{"content": "Hello, I want to schedule an appointment"}'`;
}

settings.addEventListener("input", () => {
  show();
  for (const [name, value] of chosen()) {
    if (value) document.querySelector("edge-chat")?.setAttribute(name, value);
    else document.querySelector("edge-chat")?.removeAttribute(name);
  }
});
settings.addEventListener("submit", (event) => event.preventDefault());
find("[data-open-chat]").addEventListener("click", () => document.querySelector("edge-chat")?.setAttribute("open", ""));
find("#copy").addEventListener("click", async () => {
  const done = await navigator.clipboard.writeText(snippet.textContent ?? "").then(() => true, () => false);
  if (!done) getSelection()?.selectAllChildren(snippet);
  find("#copy").textContent = copied.textContent = done ? "Copied" : "Selected";
});
show();

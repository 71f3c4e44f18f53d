// Debian's Chromium (apt install chromium); without it the tests that need a browser are skipped, and say so.
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";

const executablePath = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find((path) => existsSync(path));

/** For `test(name, inBrowser, ...)`. */
export const inBrowser = { skip: executablePath ? false : "there is no Chromium on this machine" };

export function launch() {
  return chromium.launch({
    executablePath,
    args: ["--no-sandbox", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
}

// Where and with what a run was made.
import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { cpus, release, totalmem } from "node:os";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../", import.meta.url));
const run = (command, ...args) => execFileSync(command, args, { cwd: root, encoding: "utf8" }).trim();

/** Commit, machine and versions; `-dirty` marks a commit with changes on top. */
export function machine(database) {
  const python = `${root}.data/bench-python/bin/python`;
  const versions = {
    workerd: run(createRequire(import.meta.url)("workerd").default, "--version").replace("workerd ", ""),
    "Node.js": process.version.slice(1),
    Rust: run("rustc", "--version").split(" ")[1],
    PostgreSQL: database.version,
    PgBouncer: database.pooler ?? "none",
    ...(existsSync(python) && { Python: run(python, "--version").split(" ")[1] }),
  };
  return {
    commit: run("git", "describe", "--always", "--dirty", "--exclude=*"),
    date: new Date().toISOString().slice(0, 10),
    cpu: cpus()[0].model,
    cores: cpus().length,
    memory: Math.round(totalmem() / 2 ** 30),
    kernel: release(),
    versions,
  };
}

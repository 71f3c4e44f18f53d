// Workers under plain workerd: no wrangler, no Miniflare, no proxy between them and the network.
import { createRequire } from "node:module";
import { writeFileSync } from "node:fs";
import { relative } from "node:path";

/** https://github.com/cloudflare/workerd/blob/main/src/workerd/server/workerd.capnp */
function config({ directory, port, modules, vars, database, flags, extraBindings }) {
  const text = JSON.stringify;
  const url = database && new URL(database);
  const bindings = [...Object.entries(vars).map(([name, value]) => `(name = ${text(name)}, text = ${text(value)})`), ...extraBindings];
  if (url) {
    bindings.push(`(name = "HYPERDRIVE", hyperdrive = (designator = "postgres", database = ${text(url.pathname.slice(1))}, ` +
      `user = ${text(url.username)}, password = ${text(url.password)}, scheme = "postgres"))`);
  }
  return `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [
    (name = "main", worker = .main),
    (name = "internet", network = (allow = ["local"])),
    ${url ? `(name = "postgres", external = (address = "${url.host}", tcp = ())),` : ""}
  ],
  sockets = [(name = "http", address = "127.0.0.1:${port}", http = (), service = "main")]
);
const main :Workerd.Worker = (
  compatibilityDate = "2026-11-01",
  compatibilityFlags = [${flags.map(text).join(", ")}],
  modules = [${modules.map(({ name, type, path }) => `(name = ${text(name)}, ${type} = embed ${text(relative(directory, path))})`).join(", ")}],
  bindings = [${bindings.join(", ")}]
);
`;
}

/** Command and arguments that serve a Worker; `directory` is where its configuration goes, `extraBindings` are in its language. */
export function serve({ directory, port, modules, flags = [], vars = {}, database, extraBindings = [] }) {
  const path = `${directory}/${port}.capnp`;
  writeFileSync(path, config({ directory, port, modules, vars, database, flags, extraBindings }));
  return [createRequire(import.meta.url)("workerd").default, ["serve", path]];
}

// The report of a run: a page of tables and one of plots, named after its date and commit.
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Figures } from "./figures.js";
import { draw } from "./plots.js";
import { median, sum } from "./stats.js";
import { targets } from "./targets.js";

const results = fileURLToPath(new URL("../results/", import.meta.url));
const PACED = ["alone", "paced", "paced-1000", "slow"];

export function report(measured) {
  const figures = new Figures(measured);
  write(figures.machine, "", panels(figures), (plots) => page(figures, plots));
}

/** Writes plots of these panels and a page that shows them: `page` is given a link to the plots. */
export function write({ date, commit }, suffix, panels, page) {
  const name = `${date}-${commit}${suffix}`;
  mkdirSync(results, { recursive: true });
  const isDrawn = draw(`${results}${name}.svg`, { title: `edge-chat ${commit}, ${date}`, panels });
  writeFileSync(`${results}${name}.md`, page(isDrawn ? `![plots](${name}.svg)` : ""));
  console.log(`bench/results/${name}.md`);
}

/** A number with three digits that matter, and its spread. */
export function show(figure) {
  if (!figure) return "";
  const [value, least, most] = figure.map((number) => (Math.abs(number) >= 100 ? number.toFixed(0) : number.toPrecision(3)));
  return least === undefined || least === most ? value : `${value} (${least} to ${most})`;
}

export function table(head, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(head), line(head.map((_, index) => (index ? "---:" : "---"))), ...rows.map(line)].join("\n");
}

function page(figures, plots) {
  const servers = figures.servers.map(({ name }) => name);
  const byScenario = (figure, scenarios = figures.scenarios) =>
    table(["", ...servers], scenarios.map(({ id, title }) => [title, ...servers.map((server) => show(figure(id, server)))]));
  const paced = figures.scenarios.filter(({ id }) => PACED.includes(id));
  const parts = [
    `# Benchmark of ${figures.machine.date}, commit ${figures.machine.commit}`,
    intro(figures.machine, `${figures.rounds} rounds in ${(figures.seconds / 60).toFixed(1)} minutes; in brackets, the least and the most of the rounds.`),
    disturbance(figures),
    plots,
    ...figures.servers.filter(({ isEdgeChat }) => isEdgeChat).map(({ name }) => targetTable(figures, name)),
    "## CPU of the serving process, ms a turn",
    byScenario((id, server) => figures.cpuPerTurn(id, server)),
    "CPU of each further token, µs:",
    perToken(figures, servers),
    "CPU of PostgreSQL and the pooler, ms a turn:",
    byScenario((id, server) => figures.databaseCpuPerTurn(id, server), figures.scenarios.filter(({ together }) => !together)),
    "## Delay of the first token over asking the model directly, ms",
    "Median of all turns, and the spread of the rounds' medians:",
    byScenario((id, server) => figures.firstToken(id, server, 0.5), paced),
    "95th percentile:",
    byScenario((id, server) => figures.firstToken(id, server, 0.95), paced),
    "## Turns a second, as many as each can take",
    byScenario((id, server) => figures.turnsPerSecond(id, server), figures.scenarios.filter(({ id }) => id.startsWith("once"))),
    "## Events a reply, and how long a token was held back",
    "A token's delay is counted from the first one's, which had its own: ms, 99th percentile.",
    events(figures, servers, paced),
    ...memoryPart(figures, servers),
    "## From start to first reply, ms",
    table(["", "median", "least", "most"], servers.map((server) => [server, ...spreadOf(figures.startup[server])])),
    "## PostgreSQL, counted at the wire, a turn",
    table(["", "connections", "round trips to log in", "round trips for statements"],
      Object.entries(figures.wire).map(([server, { connections, logins, statements }]) => [server, ...[connections, logins, statements].map((count) => count.toFixed(2))])),
    "## WebAssembly",
    table(["", "raw, KB", "gzipped, KB", "its JavaScript, gzipped, KB", "compile, ms", "instantiate, ms"],
      Object.entries(figures.wasm).map(([server, { raw, gzipped, script, compile, instantiate }]) =>
        [server, ...[raw, gzipped, script].map((bytes) => (bytes / 1000).toFixed(1)), compile.toFixed(2), instantiate.toFixed(2)])),
    "## Was anything else the limit?",
    `Share of one core, at most in any run, and how late the model's tokens were (ms, 99th percentile). What others on the machine did should be near nothing. The machine has ${figures.machine.cores} cores.`,
    helpers(figures),
  ];
  return `${parts.filter(Boolean).join("\n\n")}\n`;
}

/** What was measured on, and with what. */
export function intro({ cpu, cores, memory, kernel, versions }, what) {
  const programs = Object.entries(versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `${cpu}, ${cores} cores, ${memory} GiB, Linux ${kernel}; ${programs}. ${what} ` +
    "What is done, and how it is measured: [bench/README.md](../README.md).";
}

function targetTable(figures, server) {
  const rows = targets(figures, server);
  if (rows.length === 0) return "";
  const heading = `## Targets of ${server}`;
  return `${heading}\n\n${table(["", "is", "must be", ""], rows.map(({ what, value, limit, isMet }) => [what, value, limit, isMet ? "met" : "**not met**"]))}`;
}

function perToken(figures, servers) {
  const rows = [
    ["5 ms apart (200 tokens, over 1 token)", ["paced-1", 1], ["paced", 200]],
    ["50 ms apart (200 tokens, over 1 token)", ["paced-1", 1], ["slow", 200]],
    ["at once (1000 tokens, over 200)", ["once-200", 200], ["once-1000", 1000]],
  ];
  return table(["", ...servers], rows.map(([title, short, long]) => [title, ...servers.map((server) => show(figures.cpuPerToken(short, long, server)))]));
}

function events(figures, servers, scenarios) {
  const cell = (runs) => (runs ? `${median(runs.map((run) => run.events)).toFixed(0)} events, ${median(runs.map((run) => run.wait.p99)).toFixed(0)} ms` : "");
  const everybody = ["direct", ...servers.filter((server) => server !== "empty")];
  return table(["", ...everybody], scenarios.map(({ id, title }) => [title, ...everybody.map((server) => cell(figures.runsOf(id, server)))]));
}

function memoryPart(figures, servers) {
  const rows = servers.filter((server) => figures.memory[server]).map((server) => {
    const { idle, open, perStream } = figures.memory[server];
    return [server, (idle / 1024).toFixed(0), (open / 1024).toFixed(0), perStream.toFixed(1)];
  });
  if (rows.length === 0) return [];
  return [`## Memory with ${figures.streams} open streams`, table(["", "idle, MiB", "open, MiB", "a stream, KiB"], rows)];
}

/** Part of one core that somebody had, in per cent. */
function share(run, who) {
  return (run.cpu[who] / run.wall) * 100;
}

/** A warning, if others on the machine did more than a little. */
function disturbance({ runs }) {
  const others = Object.values(runs).flatMap((servers) => Object.values(servers).flat()).map((run) => share(run, "others"));
  const usual = median(others);
  return usual > 15 ? `**The machine was busy with other things: they had ${usual.toFixed(0)} % of a core in half of the runs, and up to ${Math.max(...others).toFixed(0)} %. Repeat this on a quiet one.**` : "";
}

function helpers(figures) {
  const most = (runs, who) => `${Math.max(...runs.map((run) => share(run, who))).toFixed(0)} %`;
  const rows = figures.scenarios.flatMap(({ id, title }) => Object.entries(figures.runs[id] ?? {}).map(([server, runs]) =>
    [`${title}: ${server}`, ...["server", "postgres", "model", "load", "others"].map((who) => most(runs, who)), Math.max(...runs.map((run) => run.late.p99)).toFixed(1)]));
  return table(["", "server", "PostgreSQL", "model", "load generator", "others", "tokens late"], rows);
}

function spreadOf(values) {
  return [median(values), Math.min(...values), Math.max(...values)].map((value) => value.toFixed(0));
}

function panels(figures) {
  const servers = figures.servers.filter(({ kind }) => kind !== "empty").map(({ name }) => name);
  const bars = (title, unit, labels, figure) => ({
    title, unit, labels: Object.values(labels),
    series: Object.fromEntries(servers.map((server) => [server, Object.keys(labels).map((id) => figure(id, server) ?? null)])),
  });
  const one = (title, unit, figure) => bars(title, unit, { "": "" }, (_, server) => figure(server));
  return [
    bars("CPU a turn of 200 tokens", "ms", { paced: "5 ms apart", slow: "50 ms apart", "once-200": "at once" }, (id, server) => figures.cpuPerTurn(id, server)),
    bars("Delay of the first token, median", "ms over asking the model", { alone: "1 client", paced: "32 clients, 5 ms", slow: "16 clients, 50 ms" },
      (id, server) => figures.firstToken(id, server, 0.5)),
    bars("Turns a second", "turns", { "once-50": "50 tokens at once", "once-200": "200 tokens at once" }, (id, server) =>
      server === "pipe" ? undefined : figures.turnsPerSecond(id, server)),
    one(`Memory of an open stream (${figures.streams} of them)`, "KiB", (server) => figures.memoryPerStream(server)),
  ].filter(({ series }) => sum(Object.values(series).map((points) => points.filter(Boolean).length)) > 0);
}

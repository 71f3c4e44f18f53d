// What edge-chat has to reach, in ratios to its peers in the same run.

const cpu = (scenario) => (figures, server) => figures.cpuPerTurn(scenario, server)?.[0];
const first = (share) => (figures, server) => figures.firstToken("paced", server, share)?.[0];
const turns = (figures, server) => figures.turnsPerSecond("once-50", server)?.[0];
const memory = (figures, server) => figures.memoryPerStream(server)?.[0];

const AGAINST = [
  { what: "CPU a turn, 200 tokens 5 ms apart, 32 clients", figure: cpu("paced"), peers: { hono: 0.5, fastapi: 0.5 } },
  { what: "CPU a turn, 200 tokens at once", figure: cpu("once-200"), peers: { fastapi: 0.5 } },
  { what: "CPU a turn, 200 tokens 50 ms apart", figure: cpu("slow"), peers: { hono: 0.8 } },
  { what: "first token, added delay at 32 clients, median", figure: first(0.5), peers: { hono: 0.5, fastapi: 0.5 } },
  { what: "first token, added delay at 32 clients, p95", figure: first(0.95), peers: { hono: 0.5, fastapi: 0.5 } },
  { what: "turns a second, 50 tokens at once", figure: turns, peers: { hono: 2, fastapi: 1.3 }, isMore: true },
  { what: "memory of an open stream", figure: memory, peers: { hono: 1, fastapi: 1 } },
];

const ABSOLUTE = [
  { what: "WebAssembly, gzipped, KB", figure: ({ wasm }, server) => wasm[server] && wasm[server].gzipped / 1000, limit: 250 },
  { what: "PostgreSQL round trips a turn", figure: ({ wire }, server) => wire[server]?.statements, limit: 2 },
];

/** Each target that there are figures for: what, the ratio or value, what it must be, and whether it is. */
export function targets(figures, server) {
  const rows = [];
  for (const { what, figure, peers, isMore } of AGAINST) {
    for (const [peer, limit] of Object.entries(peers)) {
      const [ours, theirs] = [figure(figures, server), figure(figures, peer)];
      if (ours === undefined || theirs === undefined) continue;
      const ratio = ours / theirs;
      rows.push({ what: `${what}, against ${peer}`, value: `${ratio.toFixed(2)} ×`, limit: `${isMore ? "over" : "under"} ${limit} ×`, isMet: isMore ? ratio > limit : ratio < limit });
    }
  }
  for (const { what, figure, limit } of ABSOLUTE) {
    const value = figure(figures, server);
    if (value !== undefined) rows.push({ what, value: value.toFixed(value < 10 ? 2 : 0), limit: `at most ${limit}`, isMet: value <= limit });
  }
  return rows;
}

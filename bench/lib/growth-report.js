// The report of a growth run.
import { intro, show, table, write } from "./report.js";

const SERIES = {
  reply: { title: "Reply length", unit: "tokens, all at once" },
  history: { title: "History sent along", unit: "messages (CHAT_HISTORY_MESSAGES)" },
  stored: { title: "Conversation stored, 20 messages of it sent along", unit: "messages" },
  streams: { title: "Open streams, a token a second each", unit: "streams" },
};
const FIGURES = {
  cpuPerTurn: { title: "CPU a turn", unit: "ms" },
  cpuPerToken: { title: "CPU a token", unit: "µs" },
  databaseCpuPerTurn: { title: "CPU a turn of PostgreSQL and the pooler", unit: "ms" },
  request: { title: "What the model is sent", unit: "bytes" },
  memory: { title: "Memory a turn", unit: "KiB" },
};

/** Each series with each figure that it has. */
function charts({ series }) {
  return Object.keys(SERIES).filter((name) => series[name]).flatMap((name) => {
    const known = Object.keys(Object.values(series[name])[0][0]);
    return Object.keys(FIGURES).filter((figure) => known.includes(figure)).map((figure) => ({
      heading: `${SERIES[name].title}: ${FIGURES[figure].title}, ${FIGURES[figure].unit}`,
      title: `${SERIES[name].title}: ${FIGURES[figure].title}`,
      unit: FIGURES[figure].unit,
      xlabel: SERIES[name].unit,
      series: Object.fromEntries(Object.entries(series[name]).map(([server, points]) => [server, points.map((point) => [point.x, point[figure]])])),
    }));
  });
}

export function growthReport(results) {
  const panels = charts(results);
  write(results.machine, "-growth", panels, (plots) => {
    const { date, commit } = results.machine;
    const broken = results.breaks.map(({ series, server, x, why }) => `- ${SERIES[series].title}: ${server} at ${x}: ${why}`);
    const tables = panels.map(({ heading, xlabel, series }) => {
      const servers = Object.keys(series);
      const places = [...new Set(Object.values(series).flat().map(([x]) => x))];
      const value = (server, x) => show(series[server].find((point) => point[0] === x)?.slice(1));
      return `## ${heading}\n\n${table([xlabel, ...servers], places.map((x) => [x, ...servers.map((server) => value(server, x))]))}`;
    });
    return `${[
      `# Growth, ${date}, commit ${commit}`, intro(results.machine, "One run of each."), plots, ...tables,
      `## What broke\n\n${broken.join("\n") || "Nothing."}`,
    ].filter(Boolean).join("\n\n")}\n`;
  });
}

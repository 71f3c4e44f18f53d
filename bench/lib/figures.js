// From what was measured to what is reported: one figure for each server, and the spread of it over the rounds.
import { median, quantile } from "./stats.js";

/** `[median, least, most]` over the rounds, or nothing. */
function spread(rounds) {
  return rounds?.length ? [median(rounds), Math.min(...rounds), Math.max(...rounds)] : undefined;
}

export class Figures {
  constructor(results) {
    Object.assign(this, results);
  }

  runsOf(scenario, server) {
    return this.runs[scenario]?.[server];
  }

  /** CPU of the serving process, ms a turn. */
  cpuPerTurn(scenario, server) {
    return spread(this.runsOf(scenario, server)?.map((run) => run.cpuPerTurn));
  }

  /** CPU of PostgreSQL and the pooler, ms a turn. */
  databaseCpuPerTurn(scenario, server) {
    return spread(this.runsOf(scenario, server)?.map((run) => run.cpu.postgres / run.turns));
  }

  turnsPerSecond(scenario, server) {
    return spread(this.runsOf(scenario, server)?.map((run) => run.turns / run.seconds));
  }

  /** Delay of the first text over asking the model directly, ms, at this share of the turns. */
  firstToken(scenario, server, share) {
    const [ours, direct] = [this.runsOf(scenario, server), this.runsOf(scenario, "direct")];
    if (!ours || !direct) return undefined;
    const at = (runs) => quantile(runs.flatMap((run) => run.first), share);
    const each = spread(ours.map((run, round) => at([run]) - at([direct[round]])));
    return [at(ours) - at(direct), each[1], each[2]];
  }

  /** What each further token costs, in µs of CPU: between a short and a long reply. */
  cpuPerToken([short, fewer], [long, more], server) {
    const [a, b] = [this.cpuPerTurn(short, server), this.cpuPerTurn(long, server)];
    return a && b && [((b[0] - a[0]) / (more - fewer)) * 1000];
  }

  memoryPerStream(server) {
    const memory = this.memory[server];
    return memory && [memory.perStream];
  }
}

// Processes that the benchmark starts, what they cost by the kernel's account, and their end.
import { fork, spawn } from "node:child_process";
import { once } from "node:events";
import { openSync, closeSync, readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const children = new Set();

/** Starts a program whose output goes to a file. */
export function start(command, args, { log, env, cwd } = {}) {
  const file = openSync(log, "a");
  const child = spawn(command, args, { stdio: ["ignore", file, file], env: { ...process.env, ...env }, cwd });
  closeSync(file);
  child.log = log;
  return keep(child);
}

/** Starts a module of this folder that answers each message with one of its own. */
export function startHelper(name) {
  const child = keep(fork(fileURLToPath(new URL(`../${name}.js`, import.meta.url))));
  const answers = [];
  const waiting = [];
  const settle = () => {
    while (waiting.length > 0 && answers.length > 0) {
      const { resolve, reject } = waiting.shift();
      const answer = answers.shift();
      answer.error ? reject(new Error(answer.error)) : resolve(answer);
    }
  };
  child.on("message", (answer) => { answers.push(answer); settle(); });
  child.once("exit", () => { answers.push({ error: `the benchmark's ${name} ended` }); settle(); });
  child.answer = () => new Promise((resolve, reject) => { waiting.push({ resolve, reject }); settle(); });
  child.ask = (message) => {
    child.send(message);
    return child.answer();
  };
  return child;
}

function keep(child) {
  children.add(child);
  child.once("exit", () => children.delete(child));
  child.on("error", (error) => { child.failure = error; });
  return child;
}

/** What a program has said last. */
export function lastWords(child) {
  return readFileSync(child.log, "utf8").trim().split("\n").slice(-15).join("\n");
}

export async function stop(child) {
  if (!child || !children.has(child)) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  const hardly = setTimeout(() => child.kill("SIGKILL"), 3000);
  await exited;
  clearTimeout(hardly);
}

export const stopAll = () => Promise.all([...children].map(stop));

// Whatever ends this process: nothing stays behind.
process.on("exit", () => { for (const child of children) child.kill("SIGKILL"); });

/** The sum of what `read` says of a process and all its children. */
function ofTree(pid, read) {
  let total = read(pid);
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    for (const child of readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean)) {
      try {
        total += ofTree(child, read);
      } catch (error) {
        // It has ended in the meantime.
        if (!["ENOENT", "ESRCH"].includes(error.code)) throw error;
      }
    }
  }
  return total;
}

/** CPU time of a process with its threads and children so far, in ms; with `ended`, also of its children that have ended. */
export function cpuTime(pid, { ended = false } = {}) {
  return ofTree(pid, (each) => {
    let exact = 0;
    // https://docs.kernel.org/scheduler/sched-stats.html: nanoseconds on the CPU.
    for (const thread of readdirSync(`/proc/${each}/task`)) {
      exact += Number(readFileSync(`/proc/${each}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6;
    }
    // proc_pid_stat(5): in ticks of 10 ms, but with the threads that have ended.
    const [user, system, endedUser, endedSystem] = ticks(each);
    return Math.max(exact, (user + system) * 10) + (ended && each === pid ? (endedUser + endedSystem) * 10 : 0);
  });
}

/** CPU time that the whole machine has spent so far, in ms (proc_stat(5): user, nice, system, idle, iowait, irq, softirq). */
export function machineTime() {
  const [, user, nice, system, , , irq, softirq] = readFileSync("/proc/stat", "utf8").split("\n")[0].split(/ +/).map(Number);
  return (user + nice + system + irq + softirq) * 10;
}

/** What a process has used in user and kernel mode, and its ended children. */
function ticks(pid) {
  // What stands in parentheses before them, the program's name, may hold spaces.
  return readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1).split(" ").slice(11, 15).map(Number);
}

/** Memory of a process and its children in KiB: what is theirs, and their part of what they share with others. */
export function memory(pid) {
  return ofTree(pid, (each) => Number(/^Pss: +(\d+)/m.exec(readFileSync(`/proc/${each}/smaps_rollup`, "utf8"))[1]));
}

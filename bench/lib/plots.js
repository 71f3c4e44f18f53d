// Plots by matplotlib, which lives in the environment that FastAPI needs anyway.
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const python = fileURLToPath(new URL("../../.data/bench-python/bin/python", import.meta.url));
const program = fileURLToPath(new URL("../plots/plot.py", import.meta.url));

/** Writes an SVG of a title and panels (see `plots/plot.py`). Without the Python environment there is none: `false`. */
export function draw(path, figure) {
  if (!existsSync(python) || figure.panels.length === 0) return false;
  const { status, stderr } = spawnSync(python, [program, path], { input: JSON.stringify(figure), encoding: "utf8" });
  if (status !== 0) throw new Error(`the plots could not be drawn: ${stderr}`);
  return true;
}

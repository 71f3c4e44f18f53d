"""Draws panels of bars or lines from JSON on standard input into an SVG: `plot.py FILE`."""

import json
import math
import sys

import matplotlib

matplotlib.use("svg")
# Text stays text, and the same numbers make the same file.
matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "edge-chat", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
from matplotlib import pyplot  # noqa: E402  the settings come first


def bars(axes, panel):
    series = panel["series"]
    width = 0.8 / len(series)
    for index, (name, points) in enumerate(series.items()):
        offset = (index - (len(series) - 1) / 2) * width
        places = [place + offset for place in range(len(panel["labels"]))]
        values = [point and point[0] for point in points]
        drawn = axes.bar(places, [value or 0 for value in values], width, label=name)
        axes.bar_label(drawn, [f"{value:.3g}" if value is not None else "" for value in values], fontsize=6)
        for place, point in zip(places, points):
            if point and len(point) == 3:
                axes.plot([place, place], point[1:], color="black", linewidth=0.8)
    axes.set_xticks(range(len(panel["labels"])), panel["labels"])


def lines(axes, panel):
    for name, points in panel["series"].items():
        axes.plot(*zip(*points), marker="o", markersize=3, label=name)
    axes.set_xlabel(panel["xlabel"])
    axes.set_xlim(left=0)
    axes.set_ylim(bottom=0)


def main(path):
    figure = json.load(sys.stdin)
    panels = figure["panels"]
    columns = min(2, len(panels))
    rows = math.ceil(len(panels) / columns)
    drawing, grid = pyplot.subplots(rows, columns, figsize=(5.5 * columns, 3.2 * rows + 0.4), squeeze=False)
    for axes, panel in zip(grid.flat, panels):
        (lines if "xlabel" in panel else bars)(axes, panel)
        axes.set_title(panel["title"], fontsize=9)
        axes.set_ylabel(panel["unit"])
        axes.legend(fontsize=7, frameon=False)
    for axes in list(grid.flat)[len(panels):]:
        axes.remove()
    drawing.suptitle(figure["title"])
    drawing.tight_layout()
    drawing.savefig(path, metadata={"Date": None})


main(sys.argv[1])

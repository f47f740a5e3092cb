"""Draws docs/memory_budget.svg: what a smaller memory_budget saves, and what it costs in time.

    .venv/bin/python docs/memory_budget.py --measure    half an hour; writes docs/memory_budget.json, and draws
    .venv/bin/python docs/memory_budget.py              draws what was measured

MobileNetV2-1.0@224, 10 classes, batch 1, SGD, LiteRT's builtin kernels, 1 thread, by benchmarks/memory.py's means: the
planned arena, the growth of a fresh process, and the time of a step in inferences of the stock converter's file. The
budgets go in even steps, from what the step needs without one to the least that the compiler accepts.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "benchmarks"))

from absl import app, flags, logging

FLAGS = flags.FLAGS
flags.DEFINE_bool("measure", False, "Measure before drawing.")
flags.DEFINE_integer("rounds", 30, "Steps and inferences timed for every point.", lower_bound=1)
flags.DEFINE_integer("points", 6, "Budgets of each method.", lower_bound=2)
flags.DEFINE_list("methods", ["bias", "lite_residual+bias"], "What trains; what was measured of others is kept.")

DATA = Path(__file__).with_suffix(".json")
NETWORK = "MobileNetV2-1.0@224"
COLOURS = ("#1b6ca8", "#d1603d")


def main(arguments):
    if len(arguments) > 1:
        raise app.UsageError(f"Unexpected: {arguments[1:]}")
    if FLAGS.measure:
        content = json.loads(DATA.read_text()) if DATA.exists() else {}
        for method in FLAGS.methods:
            content[method] = measure(method)
            DATA.write_text(json.dumps(content, indent=1) + "\n")
    draw(json.loads(DATA.read_text()))


def measure(method: str) -> list[dict]:
    """A point for every budget, the loosest first; bytes, and the ratio of times. All points are timed together."""
    from alternation import alternated, runner
    from fresh_process import growth
    from lowered_once import lowered_once
    from settings import SMALLEST, Setting

    points, paths = [], []
    with tempfile.TemporaryDirectory() as folder, lowered_once():

        def add(budget):
            paths.append(Path(folder) / f"{len(paths)}.tflite")
            report, options = Setting(NETWORK, method, budget=budget).export(paths[-1])
            points.append(
                {
                    "memory_budget": options.get("memory_budget"),
                    "arena_bytes": report.train_arena_bytes,
                    "inference_arena_bytes": report.infer_arena_bytes,
                    "growth_bytes": growth(paths[-1], "builtin", {"train": 1}),
                }
            )
            logging.info("%s %s", method, points[-1])

        add(None)
        add(SMALLEST)
        first, last, unit = (points[0]["arena_bytes"], points[1]["arena_bytes"], points[0]["inference_arena_bytes"])
        for i in range(1, FLAGS.points - 1):
            add((first + (last - first) * i / (FLAGS.points - 1)) / unit)

        stock = Setting(NETWORK, method).stock_file(Path(folder), 1)
        runs = [runner(path, "builtin", {"train": 1}) for path in paths]
        steps, ratios = alternated([*runs, runner(stock, "builtin")], FLAGS.rounds)
        for point, step, ratio in zip(points, steps, ratios):
            point |= {"step_ms": step, "step_inferences": ratio}
            point |= {"inference_growth_bytes": growth(stock, "builtin"), "inference_ms": steps[-1]}
    return sorted(points, key=lambda point: -point["arena_bytes"])


def draw(content: dict[str, list[dict]]) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "memory_budget"  # the same file from the same figures
    _, axes = pyplot.subplots(figsize=(8.5, 4.6), layout="constrained")
    for (method, points), colour in zip(content.items(), COLOURS):
        times = [point["step_inferences"] for point in points]
        for name, style, marker in (("growth", "--", "o"), ("arena", "-", "s")):
            sizes = [point[f"{name}_bytes"] / 1e6 for point in points]
            label = f"{method}: " + ("process growth" if name == "growth" else "planned arena")
            axes.plot(times, sizes, style, marker=marker, markersize=5, color=colour, linewidth=1.6, label=label)
        axes.annotate(
            "no budget", (times[0], points[0]["arena_bytes"] / 1e6), xytext=(6, 4), textcoords="offset points",
            fontsize=8.5, color=colour,
        )  # fmt: skip
    point = next(iter(content.values()))[0]
    for name, text in (
        ("growth", "inference without branches: growth"),
        ("arena", "inference without branches: arena"),
    ):
        height = point[f"inference_{name}_bytes"] / 1e6
        axes.axhline(height, color="#f2a93b", linestyle="--" if name == "growth" else "-", linewidth=1.4, label=text)
    axes.set(xlabel="time of a step, in inferences", ylabel="MB", ylim=(0, None))
    axes.set_title(f"{NETWORK}, batch 1, builtin kernels: memory against time", loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
    axes.figure.savefig(Path(__file__).with_suffix(".svg"), metadata={"Date": None})


if __name__ == "__main__":
    app.run(main)

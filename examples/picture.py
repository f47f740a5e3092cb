"""The demo's result as a picture: what was learned, and what it cost in memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot as plt

_COLOURS = ("#1b6ca8", "#d1603d", "#5b8c5a", "#8a6fb0", "#b8892b", "#4a4f57")


def save_picture(rows: Sequence, path: Path, title: str, batch_size: int) -> None:
    """Accuracy per epoch beside arena sizes, one colour per method.

    Args:
        rows: Have `method`, `accuracies` (before training, then after each epoch), `train_arena_bytes` and
            `infer_arena_bytes`.
        path: Of the PNG file.
        title: Stands above both halves.
        batch_size: Of both arenas.
    """
    figure, (curves, bars) = plt.subplots(1, 2, figsize=(11, 4.4), width_ratios=(3, 2), layout="constrained")
    figure.suptitle(title)
    for row, colour in zip(rows, _COLOURS, strict=False):
        accuracies = [100 * accuracy for accuracy in row.accuracies]
        label = f"{row.method}: {accuracies[0]:.0f} → {accuracies[-1]:.0f} %"
        curves.plot(range(len(accuracies)), accuracies, color=colour, marker="o", markersize=4, label=label)
    curves.set(xlabel="epochs of training in LiteRT", ylabel="accuracy on held-out images (%)", ylim=(0, 102))
    curves.grid(alpha=0.3)
    curves.legend(title="method", loc="lower right")

    kilobytes = [rows[0].infer_arena_bytes / 1000] + [row.train_arena_bytes / 1000 for row in rows]
    names = ["inference"] + [row.method for row in rows]
    drawn = bars.barh(names, kilobytes, color=("#9aa5b1", *_COLOURS[: len(rows)]))
    bars.bar_label(drawn, fmt="{:,.0f}", padding=3)
    bars.invert_yaxis()
    bars.set(xlabel=f"arena of a step at batch {batch_size} (KB)")
    bars.margins(x=0.15)
    for axes in (curves, bars):
        axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=140)
    plt.close(figure)

"""The memory of a training step over its time, as a picture."""

from typing import Any

from tinytl_keras._text import shorten
from tinytl_keras.memory.report import STORED, WORKING, WORKSPACE, MemoryReport

_COLOURS = {STORED: "#1b6ca8", WORKING: "#b9c4ce", WORKSPACE: "#d1603d"}
_LABELS = {STORED: "stored for the backward pass", WORKING: "working maps", WORKSPACE: "kernels' workspace"}
_ARENA, _INFERENCE, _TEXT = "#30353b", "#f2a93b", "#4a4f57"
_TENSORS = 9  # that are named
_NAME_WIDTH = 34
_TICKS = 18
_BESIDE = 1.02  # where the legend begins, in widths of the axes


def plot(report: MemoryReport, axes: Any = None) -> Any:
    """Draws a report, see `MemoryReport.plot`."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "MemoryReport.plot() draws with matplotlib, which is not installed. Install it: pip install matplotlib, or "
            'pip install "tinytl-keras[train]". print(report) and report.to_json() do without.'
        ) from error
    if axes is None:
        _, axes = pyplot.subplots(figsize=(12.5, 5), layout="constrained")
    unit, scale = report.unit
    edges = range(len(report.moments) + 1)
    below = [0.0] * len(report.moments)
    for role, colour in _COLOURS.items():
        counts = [getattr(moment, f"{role}_bytes") / scale for moment in report.moments]
        if any(counts):
            above = [a + b for a, b in zip(below, counts)]
            axes.stairs(above, edges, baseline=below, fill=True, color=colour, label=_LABELS[role], linewidth=0)
            below = above
    lines = (
        (report.arena_bytes, "arena of the step", _ARENA, "-"),
        (report.inference_arena_bytes, "arena of inference", _INFERENCE, "--"),
    )
    for count, name, colour, style in lines:
        if count:
            label = f"{name}, {count / scale:,.2f} {unit}"
            axes.axhline(count / scale, color=colour, linestyle=style, linewidth=1.6, label=label)
    highest = max(report.arena_bytes or 0, report.moments[report.peak_index].live_bytes) / scale
    axes.set(xlim=(0, len(report.moments)), ylim=(0, 1.13 * highest), ylabel=f"live {unit}")
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(_title(report), loc="left", fontsize=11, color=_ARENA)
    _name_passes(report, axes)
    _name_ticks(report, axes)
    _mark_peak(report, axes)
    return axes


def _title(report: MemoryReport) -> str:
    share = report.trainable_parameters / max(1, report.trainable_parameters + report.frozen_parameters)
    samples = "1 sample" if report.batch_size == 1 else f"{report.batch_size} samples"
    title = f"{report.model}, {samples}: {share:.1%} of the parameters train"
    if report.accounting == "paper":
        return f"{title}; the paper's accounting"
    return f"{title}, in {report.arena_bytes / report.inference_arena_bytes:.2f} x the arena of inference"


def _name_passes(report: MemoryReport, axes: Any) -> None:
    border, end = report.forward_moments, len(report.moments)
    if 0 < border < end:
        axes.axvline(border, color=_ARENA, linestyle=":", linewidth=1.2)
    height = {"transform": axes.get_xaxis_transform(), "va": "top", "ha": "center", "color": _TEXT}
    for name, first, last in (("forward", 0, border), ("backward", border, end)):
        if last - first > 0.05 * end:
            axes.text((first + last) / 2, 0.99, name, **height)


def _name_ticks(report: MemoryReport, axes: Any) -> None:
    """Says at even distances which block, or layer outside of blocks, runs there."""
    blocks = {layer.name: layer.block or layer.name for layer in report.layers}
    count = len(report.moments)
    places = sorted({round((i + 0.5) * count / _TICKS) for i in range(_TICKS)} & set(range(count)))
    names = [blocks.get(report.moments[i].layer, report.moments[i].layer) for i in places]
    axes.set_xticks([i + 0.5 for i in places], [shorten(name, 22) for name in names], rotation=40, ha="right")
    axes.tick_params(axis="x", labelsize=8, rotation_mode="anchor")


def _mark_peak(report: MemoryReport, axes: Any) -> None:
    """Marks the peak, and names beside the axes what is live there."""
    unit, scale = report.unit
    index = report.peak_index
    moment = report.moments[index]
    axes.plot(index + 0.5, moment.live_bytes / scale, marker="v", color=_ARENA, markersize=7, clip_on=False, zorder=5)
    axes.legend(
        loc="upper left", bbox_to_anchor=(_BESIDE, 1.02), borderaxespad=0, frameon=False, fontsize=9, labelcolor=_TEXT
    )
    named, rest = report.largest_at_the_peak(_TENSORS)
    rows = [(_COLOURS[p.role], p.nbytes, f"{shorten(p.name, _NAME_WIDTH)} {_shape(p.only)}".rstrip()) for p in named]
    if rest:
        rows.append(("none", sum(part.nbytes for part in rest), f"{len(rest)} more"))
    style = {"transform": axes.transAxes, "fontsize": 8.5, "color": _TEXT, "va": "center"}
    top, step = 0.6, 0.058
    heading = f"▼ peak, {moment.live_bytes / scale:,.2f} {unit}, in {shorten(moment.layer, _NAME_WIDTH)}"
    axes.text(_BESIDE, top, heading, **{**style, "weight": "bold"})
    for i, (colour, count, name) in enumerate(rows, start=1):
        y = top - i * step
        axes.plot(_BESIDE + 0.008, y, marker="s", color=colour, markersize=5, transform=axes.transAxes, clip_on=False)
        axes.text(_BESIDE + 0.075, y, f"{count / scale:,.2f}", **{**style, "ha": "right"})
        axes.text(_BESIDE + 0.085, y, name, **style)


def _shape(tensor: Any) -> str:
    if tensor is None or tensor.role == WORKSPACE:
        return ""
    return f"{'×'.join(map(str, tensor.shape))}{'' if tensor.dtype == 'float32' else ' ' + tensor.dtype}"

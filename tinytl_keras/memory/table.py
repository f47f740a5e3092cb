"""A memory report as text."""

from collections.abc import Iterator, Sequence

from tinytl_keras._text import shorten
from tinytl_keras.memory.report import LayerMemory, MemoryReport

_LAYER_ROW = "{:<36} {:>10} {:>10} {:>12} {:>10}"
_TENSOR_ROW = "{:<36} {:>10}  {:<9}  {}"
_NAME_WIDTH = 36
_TABLE_WIDTH = len(_LAYER_ROW.format(*[""] * 5))
_TENSORS = 8  # that are named


def table(report: MemoryReport) -> str:
    """The totals, a row for each block or layer outside of blocks, and what is live at the peak; 90 columns at most."""
    return "\n".join((*_totals(report), "", *_layers(report), "", *_peak(report)))


def _totals(report: MemoryReport) -> Iterator[str]:
    kind = "the paper's accounting" if report.accounting == "paper" else "the compiled step"
    samples = "1 sample" if report.batch_size == 1 else f"{report.batch_size} samples"
    yield f"Memory of a training step with {samples}, {kind}: {shorten(report.model, _NAME_WIDTH)}"
    yield ""
    rows = [*report.parts, ("total", report.total_bytes)]
    width = max(len(name) for name, _ in rows)
    for name, count in rows:
        yield f"{name:<{width}}  {count:>15,} bytes"
    yield f"trainable: {report.trainable_parameters:,} parameters; frozen: {report.frozen_parameters:,} parameters"
    yield f"most live activations, of one sample: {report.peak_activation_bytes:,} bytes"
    if report.inference_arena_bytes:
        ratio = report.arena_bytes / report.inference_arena_bytes
        yield f"the step's arena is {ratio:.2f} x that of inference: {report.inference_arena_bytes:,} bytes"


def _layers(report: MemoryReport) -> Iterator[str]:
    yield _LAYER_ROW.format(f"layer or block ({report.unit[0]})", "forward", "stored", "from here", "peak")
    yield "-" * _TABLE_WIDTH
    for name, rows in _by_block(report.layers):
        forward, stored = sum(row.forward_bytes for row in rows), sum(row.stored_bytes for row in rows)
        counts = (forward, stored, rows[0].reach_bytes, max(row.peak_bytes for row in rows))
        yield _LAYER_ROW.format(shorten(name, _NAME_WIDTH), *(_amount(report, count) for count in counts))
    yield "stored: for the backward pass; from here: by it and all behind; peak: live while it runs"


def _peak(report: MemoryReport) -> Iterator[str]:
    moment = report.moments[report.peak_index]
    when = "forward" if report.peak_index < report.forward_moments else "backward"
    runs = shorten(f"{moment.layer} ({moment.operator})", _NAME_WIDTH)
    yield f"live at the peak, {when}, in {runs}: {moment.live_bytes:,} bytes"
    named, rest = report.largest_at_the_peak(_TENSORS)
    for part in named:
        of = f"{part.only.dtype} {list(part.only.shape)}" if part.only else ""
        row = _TENSOR_ROW.format(shorten(part.name, _NAME_WIDTH), _amount(report, part.nbytes), part.role, of)
        yield row.rstrip()
    if rest:
        total = _amount(report, sum(part.nbytes for part in rest))
        yield _TENSOR_ROW.format(f"{len(rest)} more", total, "", "").rstrip()


def _by_block(layers: Sequence[LayerMemory]) -> list[tuple[str, list[LayerMemory]]]:
    """Neighbours of one block together; a layer outside of blocks alone."""
    groups: list[tuple[str, list[LayerMemory]]] = []
    for layer in layers:
        if layer.block and groups and groups[-1][1][-1].block == layer.block:
            groups[-1][1].append(layer)
        else:
            groups.append((layer.block or layer.name, [layer]))
    return groups


def _amount(report: MemoryReport, count: int) -> str:
    name, size = report.unit
    return f"{count / size:,.{3 if name == 'MB' else 2}f}" if count else "-"

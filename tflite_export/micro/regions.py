"""Which operators go row by row: whatever makes the arena smaller, taken from where it is fullest."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from tflite_export.graph import Graph, Op, Tensor
from tflite_export.micro.memory import fullest
from tflite_export.micro.rows import row_plan
from tflite_export.micro.rowwise import is_rowwise, maps

_TOGETHER, _LARGEST = 3, 5  # buffers that are tried together, of so many
_FURTHER = 8  # operators
_MOST_OPERATORS = 127  # of a region: a tinytl_row_event numbers its nodes by seven bits
_ARITHMETIC = ("add", "subtract", "multiply", "scale", "quantize_bias")
_WEIGHT_GRADIENTS = ("bias_gradient", "conv_kernel_gradient", "depthwise_kernel_gradient", "update")


def in_order_for_rows(ops: Sequence[Op]) -> tuple[Op, ...]:
    """`ops` in an order in which those that go row by row follow one another, as far as they depend on nothing else;
    otherwise in the given order."""
    written = {tensor: i for i, op in enumerate(ops) for tensor in op.outputs}
    waits = [{written[t] for t in op.inputs if t in written} for op in ops]
    for update, value_readers in _updates(ops):
        waits[written[update.inputs[0]]] |= value_readers - {written[update.inputs[0]]}
    left = dict.fromkeys(range(len(ops)))
    done: set[int] = set()
    order = []
    while left:
        ready = (i for i in left if waits[i] <= done)
        first = next(ready)
        chosen = first
        if not _first_class(ops[first]):
            chosen = next((i for i in ready if _first_class(ops[i])), first)
        order.append(ops[chosen])
        done.add(chosen)
        del left[chosen]
    return _biases_late(order)


def _biases_late(order: Sequence[Op]) -> tuple[Op, ...]:
    """What a bias is in int32 is made right before the layer that reads it: it takes room in the arena."""
    biases = {op.outputs[0]: op for op in order if op.kind == "quantize_bias"}
    late: list[Op] = []
    for op in order:
        late += [biases.pop(tensor) for tensor in op.inputs if tensor in biases]
        if op.kind != "quantize_bias":
            late.append(op)
    return tuple(late)


def _updates(ops: Sequence[Op]):
    """Every update, which may be done where its gradient is made, and who reads the value that it changes."""
    reads = {op.attributes["variable"]: op.outputs[0] for op in ops if op.kind == "READ_VARIABLE"}
    for op in ops:
        if op.kind == "update":
            value = reads[op.attributes["variable"]]
            yield op, {i for i, reader in enumerate(ops) if value in reader.inputs}


def _first_class(op: Op) -> bool:
    """What goes row by row, and what takes the gradient of a weight where its operands are at hand."""
    return _of_weights(op) or is_rowwise(op) or op.kind in _WEIGHT_GRADIENTS


def _of_weights(op: Op) -> bool:
    """Reads of variables, and the arithmetic on vectors that the converter leaves between a beta and a bias."""
    vector = bool(op.outputs) and all(len(t.shape) == 1 for t in op.outputs) and op.kind in _ARITHMETIC
    return op.kind == "READ_VARIABLE" or vector


def with_regions(graph: Graph, target: int = 0) -> Graph:
    """`graph` with regions as operators "rows" until its tensors take no more than `target` bytes at once, or until no
    region makes that less."""
    runs = _runs(graph)
    run_of = {op: i for i, run in enumerate(runs) for op in run}
    merged: list[tuple[Op, ...]] = []
    made: dict[tuple[Op, ...], Op] = {}  # what each region has become
    current, tried = graph, set()
    peak, live = fullest(current)
    while peak[0] > target:
        better = None
        for region in _candidates(graph, live, runs, run_of, merged):
            if region in tried or len(region) > _MOST_OPERATORS:
                continue
            tried.add(region)
            candidate = [*(other for other in merged if not set(other) & set(region)), region]
            changed = _with(graph, candidate, made)
            lower, still = fullest(changed)
            if lower < peak:
                better = candidate, changed, lower, still
                break
        if better is None:
            break
        merged, current, peak, live = better
        tried = set()
    return current


def _candidates(graph: Graph, live, runs, run_of, merged):
    """Regions that would do without one of the buffers that are live, the largest first; then without several; then
    that go on beyond: what leaves a region after a few operators more may be much smaller."""
    found = [_around(graph, tensors, runs, run_of, merged) for tensors in live]
    found = [region for region in found if region is not None]
    yield from found
    for count in range(2, _TOGETHER + 1):
        for chosen in itertools.combinations(found[:_LARGEST], count):
            run = runs[run_of[chosen[0][0]]]
            if all(run_of[region[0]] == run_of[chosen[0][0]] for region in chosen):
                places = [run.index(op) for region in chosen for op in (region[0], region[-1])]
                yield _with_merged(run, min(places), max(places), merged)
    for further in range(1, _FURTHER + 1):
        for region in found[:_LARGEST]:
            run = runs[run_of[region[0]]]
            first, last = run.index(region[0]), run.index(region[-1])
            for before in range(further + 1):
                start, end = max(0, first - before), min(len(run) - 1, last + further - before)
                yield _with_merged(run, start, end, merged)


def _with_merged(run, first: int, last: int, merged) -> tuple[Op, ...]:
    """The operators from `first` to `last` of a run, and the regions that they touch."""
    for region in merged:
        places = [run.index(op) for op in region if op in run]
        if places and min(places) <= last and max(places) >= first:
            first, last = min(first, *places), max(last, *places)
    return tuple(run[first : last + 1])


def _runs(graph: Graph) -> list[list[Op]]:
    runs: list[list[Op]] = [[]]
    for op in graph.ops:
        if _of_weights(op):
            continue
        if is_rowwise(op):
            runs[-1].append(op)
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if len(run) > 1]


def _around(graph: Graph, tensors: tuple[Tensor, ...], runs, run_of, merged) -> tuple[Op, ...] | None:
    """The operators from the one that writes `tensors`, which share a buffer, to the last one that reads them, and the
    regions that they touch: if all are of one run, so that the buffer need not be whole."""
    using = [op for op in graph.ops if any(t in op.outputs[:1] or t in op.inputs for t in tensors)]
    if len(using) < 2 or not using[0].outputs or using[0].outputs[0] not in tensors:
        return None
    if any(op not in run_of for op in using) or len({run_of[op] for op in using}) > 1:
        return None
    if any(t in op.inputs and t not in maps(op) for op in using for t in tensors):
        return None
    run = runs[run_of[using[0]]]
    return _with_merged(run, run.index(using[0]), run.index(using[-1]), merged)


def _with(graph: Graph, regions: Sequence[tuple[Op, ...]], made: dict[tuple[Op, ...], Op]) -> Graph:
    last = {region[-1]: region for region in regions}
    inside = {op for region in regions for op in region}
    ops = []
    for op in graph.ops:
        if op in last:
            region = last[op]
            if region not in made:
                made[region] = _rows(region, graph)
            ops.append(made[region])
        elif op not in inside:
            ops.append(op)
    return graph.replace(ops=tuple(ops))


def _rows(region: tuple[Op, ...], graph: Graph) -> Op:
    members = set(region)
    others = [op for op in graph.ops if op not in members]
    made = {tensor for op in region for tensor in op.outputs}
    read = {tensor for op in others for tensor in op.inputs} | set(graph.outputs.values())
    leaving = tuple(t for op in region for t in op.outputs if t in read)
    outputs = {t for op in region for t in op.outputs[1:]}
    inputs = dict.fromkeys(
        t for op in region for t in op.inputs if t is not None and not t.is_constant and t not in made
    )
    plan = row_plan(region, [t for t in leaving if t not in outputs])
    saved = tuple(t for op in region for t in op.outputs[1:] if t not in leaving)
    return Op("rows", tuple(inputs), (*leaving, *saved), {"plan": plan}, region[-1].origin)

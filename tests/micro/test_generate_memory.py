"""The arena of generated programs, and regions that go row by row."""

from __future__ import annotations

import ctypes
import itertools

import numpy as np
import pytest

from tests.micro import bindings, networks
from tflite_export import losses, lowering
from tflite_export._export import forward_graph
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Op, Tensor
from tflite_export.micro.build import build
from tflite_export.micro.calibration import Calibration
from tflite_export.micro.memory import views
from tflite_export.micro.params import params
from tflite_export.micro.rows import Move, Row
from tflite_export.micro.rowwise import pad_top, window
from tflite_export.micro.workspace import workspace_bytes

CASES = {"bias": False, "lite_residual+bias": False, "full": False, "bias int8": True, "lite_residual+bias int8": True}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    """A canonical forward graph, and what its int8 activations are calibrated on."""
    model = networks.prepared(networks.inverted_residuals(32, 30), request.param.removesuffix(" int8"))
    graph = forward_graph(lowering.lower(model, 1, lowering.trainable_variables(model)), ExportOptions())
    return graph, Calibration(networks.pictures(model, 4)) if CASES[request.param] else None


def built(case, target=0):
    canonical, calibration = case
    loss = losses.resolve("sparse_categorical_crossentropy", 0.0, "linear", 5)
    return build(canonical, [v.name for v in canonical.variables], loss, target=target, calibration=calibration)


@pytest.mark.parametrize("target", [0, 1 << 30])
def test_no_buffer_overlaps_one_that_is_still_needed(case, target):
    """Told from the operators alone: between a tensor's write and its last read, only operators that may work in place
    on it write to its bytes."""
    program = built(case, target)
    for graph, memory in ((program.train, program.train_memory), (program.infer, program.infer_memory)):
        span = {}
        for i, op in enumerate(graph.ops):
            for tensor in op.outputs:
                span.setdefault(tensor, [i, i])
            for tensor in op.inputs:
                if tensor in span:
                    span[tensor][1] = i
        spans = [(t, *span[t]) for t in span if t in memory.offsets]
        for (a, a_first, a_last), (b, b_first, b_last) in itertools.combinations(spans, 2):
            low, high = memory.offsets[a], memory.offsets[a] + a.nbytes
            apart = memory.offsets[b] >= high or memory.offsets[b] + b.nbytes <= low
            if apart or a_last < b_first or b_last < a_first:
                continue
            later = graph.ops[max(a_first, b_first)]
            earlier = a if a_first < b_first else b
            ends = a_last if earlier is a else b_last
            in_place = ends == max(a_first, b_first) and earlier in later.inputs
            assert in_place or earlier in views(later) or _same_bytes(graph, a, b), (a, b)
        assert all(offset + size <= memory.total_bytes for offset, size in memory.workspaces.values())


def _same_bytes(graph, a, b) -> bool:
    """Whether one is the other reshaped."""
    source = {op.outputs[0]: op.inputs[0] for op in graph.ops if op.kind == "reshape"}

    def root(tensor):
        while tensor in source:
            tensor = source[tensor]
        return tensor

    return root(a) is root(b)


def test_every_row_is_made_once_from_rows_that_are_there(case):
    """Follows the events as the C function does, with the number of the row in place of the row."""
    regions = [op.attributes["plan"] for op in built(case).train.ops if op.kind == "rows"]
    if not regions:
        pytest.skip("this network has no region")
    for plan in regions:
        buffers = [{} for _ in plan.nodes]
        number = {t: i for i, node in enumerate(plan.nodes) for t in node.tensors}
        made = [0] * len(plan.nodes)
        for event in plan.events:
            if isinstance(event, Move):
                rows = buffers[event.node]
                for i in range(event.count):
                    rows[i] = rows[event.start + i]
                continue
            assert isinstance(event, Row)
            node = plan.nodes[event.node]
            assert event.row == made[event.node]
            assert event.out < plan.heights[event.node]
            first, end = window(node.op, 0, event.row)
            source = number.get(node.op.inputs[0])
            found = [event.inputs[0] + i if source is None else buffers[source][event.inputs[0] + i]
                     for i in range(event.rows)]  # fmt: skip
            assert found == list(range(first, end))
            buffers[event.node][event.out] = event.row
            made[event.node] += 1
        assert made == [node.shape[0] for node in plan.nodes]


@pytest.mark.parametrize(
    "size, stride, top, height", [(3, 1, 1, 7), (3, 2, 0, 8), (5, 2, 2, 9), (7, 3, 3, 10), (2, 2, 0, 6)]
)
def test_windows_are_those_of_the_convolution(size, stride, top, height):
    """Told from the definition: output row o reads input row o stride - top + tap."""
    out = (height + 2 * top - size) // stride + 1
    x, y = Tensor("x", (1, height, 4, 2)), Tensor("y", (1, out, 4, 2))
    kernel = Tensor("kernel", (2, size, 1, 2))
    attributes = {"stride": (stride, 1), "padding": ((top, top), (0, 0)), "groups": 1, "activation": "NONE"}
    pairs = [(o, o * stride - top + tap) for o in range(out) for tap in range(size)]
    forward = Op("conv", (x, kernel, None), (y,), attributes)
    for o in range(out):
        rows = sorted({i for o_, i in pairs if o_ == o and 0 <= i < height})
        assert window(forward, 0, o) == (rows[0], rows[-1] + 1)
        assert pad_top(forward, o) == sum(1 for o_, i in pairs if o_ == o and i < 0)
    backward = Op("conv_input_gradient", (y, kernel), (x,), attributes)
    for i in range(height):
        rows = sorted({o for o, i_ in pairs if i_ == i})
        if not rows:
            continue
        first, end = window(backward, 0, i)
        assert set(rows) <= set(range(first, end))
        # on a picture of this one row, output row `first` reads it with its tap number pad_top
        assert (first, i) == (first, first * stride - top + pad_top(backward, i))


def test_workspaces_are_what_the_kernels_ask_for(case, tmp_path_factory):
    kernels = bindings.build(tmp_path_factory.mktemp("library"))
    seen = set()
    for op in built(case, 1 << 30).train.ops:
        if op.kind.removesuffix("_input_gradient") not in ("conv", "depthwise"):
            continue
        kind, text = params(op)
        ending = "_s8" if op.inputs[0].dtype == "int8" else ""
        function = getattr(kernels, kind.replace("params", "workspace_bytes") + ending)
        function.restype = ctypes.c_size_t
        numbers = text.replace("{", "").replace("}", "").split(",")
        values = np.array([0 if "TINYTL" in number else int(number) for number in numbers], np.int32)
        assert function(values.ctypes.data_as(ctypes.c_void_p)) == workspace_bytes(op), op
        seen.add(kind)
    assert len(seen) >= 2

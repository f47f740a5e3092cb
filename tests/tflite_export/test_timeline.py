"""What is live, against sums made by hand and against an independent count on compiled networks."""

import numpy as np
import pytest

import tinytl_keras
from tests.tflite_export.models import plain_cnn, residual_network
from tflite_export import losses, lowering, optimizers
from tflite_export._export import compile_model
from tflite_export.arena import plan, shared_buffers
from tflite_export.builder import Builder, constant
from tflite_export.export_options import ExportOptions
from tflite_export.graph import Graph, Tensor
from tflite_export.passes.canonical import canonicalise
from tflite_export.timeline import STORED, WORKING, WORKSPACE, first_backward, timeline
from tflite_export.training import final_layer, training_step
from tflite_export.updates import OptimizerState
from tflite_export.workspace import litert_workspace, micro_workspace


def step() -> Graph:
    """A forward pass of four operators, the loss's gradient, and a backward pass of two."""
    b = Builder()
    x, y, learning_rate = Tensor("x", (1, 16)), Tensor("y", (1, 16)), Tensor("learning_rate", (1,))
    target = b.unary("ABS", y)  # 0: depends on the labels alone
    root = b.unary("EXP", x)  # 1
    mask = b.compare("GREATER", root, constant(1))  # 2
    wide = b.op("CONCATENATION", (root, root), (1, 32), axis=1)  # 3
    logits = b.op("SLICE", (wide,), (1, 16))  # 4
    error = b.unary("NEG", b.op("SQUARED_DIFFERENCE", (logits, target), (1, 16)))  # 5, 6
    gradient = b.select(mask, error, constant(0))  # 7
    change = b.unary("COS", gradient)  # 8
    inputs = {"x": x, "y": y, "learning_rate": learning_rate}
    return Graph("train", inputs, {"change": change}, tuple(b.ops))


def test_live_bytes_by_hand():
    """Inputs, 64 + 64 + 4 bytes, are never freed in LiteRT; a float map has 64 bytes, the mask 16."""
    result = timeline(step())
    assert (first_backward(step()), result.backward) == (5, 5)
    inputs = 64 + 64 + 4
    assert result.live_bytes() == {
        STORED: [64, 64, 64 + 16, 80, 64 + 16 + 64, 144, 16, 16, 0],
        WORKING: [
            inputs,  # 0: and the target
            inputs + 64,  # 1: root
            inputs + 64,  # 2: root, mask
            inputs + 64 + 128,  # 3: root, wide
            inputs + 128,  # 4: wide, logits
            inputs + 64,  # 5: the difference
            inputs + 128,  # 6: and its negative
            inputs + 128,  # 7: negative, gradient
            inputs + 128,  # 8: gradient, change
        ],
        WORKSPACE: [0] * 9,
    }


def test_the_target_is_stored_like_a_map():
    """It is written before the backward pass and read in it; a label that is read as it is stays an input."""
    result = timeline(step())
    stored = {tensor.name: buffer.stored for buffer in result.buffers for tensor in buffer.tensors if buffer.stored}
    assert stored == {"abs": (0, 5), "greater": (2, 7), "slice": (4, 5)}


def test_a_graph_without_labels_has_no_backward_pass():
    b = Builder()
    x = Tensor("x", (1, 4))
    y = b.unary("EXP", b.unary("NEG", x))
    result = timeline(Graph("infer", {"x": x}, {"output": y}, tuple(b.ops)))
    assert result.backward == 2
    assert result.live_bytes()[STORED] == [0, 0]


def test_a_buffer_is_stored_as_long_as_it_holds_a_stored_value():
    """MUL works in place on the stored map; a RESHAPE of it in the backward pass is still the stored value."""
    b = Builder()
    x, y = Tensor("x", (2, 8)), Tensor("y", (2, 8))
    kept = b.unary("EXP", x)  # 0
    logits = b.unary("NEG", kept)  # 1
    error = b.op("SQUARED_DIFFERENCE", (logits, y), (2, 8))  # 2
    flat = b.reshape(kept, (16,))  # 3
    total = b.sum(flat, [0])  # 4
    other = b.unary("EXP", logits)  # 5: read after the backward pass began, and then overwritten
    changed = b.mul(other, constant(np.full((2, 8), 2)))  # 6
    last = b.unary("COS", b.add(changed, error))  # 7, 8
    graph = Graph("train", {"x": x, "y": y}, {"last": last, "total": total}, tuple(b.ops))
    (buffer,) = [buffer for buffer in timeline(graph).buffers if kept in buffer.tensors]
    assert buffer.tensors == (kept, flat)
    assert buffer.stored == (0, 4)
    assert [buffer.content(time) for time in (0, 2, 3, 4)] == [0, 0, 1, 1]
    (buffer,) = [buffer for buffer in timeline(graph).buffers if other in buffer.tensors]
    assert changed in buffer.tensors and buffer.stored is None


@pytest.mark.parametrize("method", ["bias", "full"])
@pytest.mark.parametrize("build", [residual_network, plain_cnn])
def test_the_backward_pass_of_a_step_begins_behind_its_forward_pass(build, method):
    """Before scheduling, the check of the input and the operators of the forward graph come first: none of them may
    count as backward, and the gradient at the logits must."""
    model = tinytl_keras.convert(build(), method)
    variables = lowering.trainable_variables(model)
    forward = canonicalise(lowering.lower(model, 2, variables))
    loss = losses.resolve("sparse_categorical_crossentropy", 0.0, *final_layer(forward))
    optimizer = optimizers.resolve("adam")
    graph = training_step(forward, loss, optimizer, OptimizerState.of(optimizer, variables))
    begin = first_backward(graph)
    assert begin >= len(forward.ops)
    assert {op.origin for op in graph.ops[1 + len(forward.ops) : begin + 1]} == {"loss"}


@pytest.mark.parametrize("form", ["builtin", "xnnpack", "micro"])
@pytest.mark.parametrize("method", ["bias", "lite_residual+bias", "full"])
def test_sums_of_a_compiled_step(form, method):
    """Live bytes counted anew, operator by operator, from the readers of every tensor."""
    model = tinytl_keras.convert(residual_network(), method)
    runtime = {"runtime": "micro"} if form == "micro" else {"kernels": form}
    compiled = compile_model(model, ExportOptions(batch_size=2, infer_batch_size=2, optimizer="adam", **runtime))
    (graph,) = compiled.training
    graph = graph.branches[0] if form == "micro" else graph
    runtime = "micro" if form == "micro" else "litert"
    result = timeline(graph, runtime)
    live = result.live_bytes()
    stored, working = count(graph, runtime, result.backward)
    assert live[STORED] == stored
    assert live[WORKING] == working
    assert live[WORKSPACE] == [sum(WORKSPACES[runtime](op)) for op in graph.ops]
    totals = [sum(counts) for counts in zip(*live.values())]
    for time in (0, result.backward, totals.index(max(totals)), len(graph.ops) - 1):
        assert sum(buffer.nbytes for buffer in result.live(time)) == stored[time] + working[time]
    assert max(totals) <= result.arena_bytes == plan(graph, runtime).total_bytes
    assert 2 * stored[result.backward] > working[result.backward]


WORKSPACES = {"litert": litert_workspace, "micro": micro_workspace}


def count(graph, runtime, begin):
    """The bytes that are stored and working, by operator, told from the writer and the readers of every tensor."""
    never = len(graph.ops)
    written = dict.fromkeys(graph.inputs.values(), -1)
    written |= {tensor: i for i, op in enumerate(graph.ops) for tensor in op.outputs}
    reads = {tensor: [] for tensor in written}
    for i, op in enumerate(graph.ops):
        for tensor in op.inputs:
            if tensor in reads:
                reads[tensor].append(i)
    outputs = set(graph.outputs.values())
    for tensor in outputs:
        reads[tensor].append(never)

    shared = shared_buffers(graph) if runtime == "litert" else {}
    buffers = {tensor: [tensor] for tensor in written if tensor not in shared}
    contents = {tensor: tensor for tensor in written}  # the tensor that first had the same content
    for tensor in sorted(shared, key=written.__getitem__):
        buffers[shared[tensor].owner].append(tensor)
        if not shared[tensor].modifies:
            contents[tensor] = contents[shared[tensor].source]

    stored, working = [0] * never, [0] * never
    for owner, tensors in buffers.items():
        last = max([written[owner], *(i for t in tensors for i in reads[t])])
        if runtime == "litert" and (owner in graph.inputs.values() or owner in outputs or last == written[owner]):
            last = never
        until = {}  # of each content, its last read
        for tensor in tensors:
            content = contents[tensor]
            until[content] = max([until.get(content, -1), *reads[tensor]])
        nbytes = owner.nbytes if runtime == "litert" else -(-owner.nbytes // 16) * 16
        for time in range(max(0, written[owner]), min(last, never - 1) + 1):
            holds = any(written[t] < begin <= end and written[t] <= time <= end for t, end in until.items())
            (stored if holds else working)[time] += nbytes
    return stored, working
